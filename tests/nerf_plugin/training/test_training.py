"""Training as map and reduce: what a round reads, that cutting changes no bit, and that it learns."""

import hashlib
import mmap
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mapreduce import BadInput
from mapreduce.blobs import map_file
from nerf_plugin.cameras import Camera, look_at
from nerf_plugin.grid import Grid, lattice
from nerf_plugin.training import (
    PRESETS,
    Level,
    Rows,
    Scratch,
    Settings,
    finer_grid,
    first_rows,
    initial,
    levels,
    map_task,
    plan,
    prepare_view,
    reduce_task,
    resample,
)  # fmt: skip
from nerf_plugin.training.local import train_views
from nerf_plugin.training.schedule import CHUNK, rung
from nerf_plugin.training.settings import LARGE
from nerf_plugin.training.tasks import gather_rays, parts_of
from nerf_plugin.training.views import draw

SMALL = Settings((Level(16, 12, 2048), Level(32, 16, 4096)), hull_resolution=24)
BOUNDS = np.array([[-1.0] * 3, [1.0] * 3])


def photo(camera):
    """A ball of radius 0.7, coloured by its normal, straight alpha; exact, without anti-aliasing."""
    xs, ys = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    origin, d = camera.rays(xs.ravel(), ys.ravel())
    b = d @ origin
    inside = b**2 - (origin @ origin - 0.49)
    hit = inside > 0
    t = -b - np.sqrt(np.maximum(inside, 0))
    normal = (origin + t[:, None] * d) / 0.7
    image = np.zeros((camera.height, camera.width, 4), np.uint8)
    image[..., :3] = np.where(hit[:, None], np.rint((normal * 0.4 + 0.5) * 255), 0).reshape(*image.shape[:2], 3)
    image[..., 3] = hit.reshape(image.shape[:2]) * 255
    return image


def cameras(count, size=48):
    spiral = np.arange(count) + 0.5
    z = 1 - 2 * spiral / count
    angle = spiral * np.pi * (3 - 5**0.5)
    at = 3 * np.stack([np.cos(angle) * np.sqrt(1 - z**2), np.sin(angle) * np.sqrt(1 - z**2), z], 1)
    return [Camera.from_matrix(look_at(p, (0, 0, 0)), size, size, size * 1.2) for p in at]


@pytest.fixture(scope="module")
def views():
    return [prepare_view(SMALL, i, camera, photo(camera)) for i, camera in enumerate(cameras(14))]


@pytest.fixture(scope="module")
def trained(views):
    return train_views(SMALL, views, BOUNDS)


def test_it_learns(trained):
    held_out = Camera.from_matrix(look_at((1.5, -2.2, 1.1), (0, 0, 0)), 48, 48, 57.6)
    image = photo(held_out) / 255.0
    expected = image[..., :3] * image[..., 3:] + 1 - image[..., 3:]
    error = np.mean((trained.render(held_out).rgb - expected) ** 2)
    assert -10 * np.log10(error) > 24
    assert trained.render(held_out).depth[24, 24] == pytest.approx(np.sqrt(1.5**2 + 2.2**2 + 1.1**2) - 0.7, abs=0.1)


@pytest.mark.parametrize(("smooth", "degree"), [(0.0, 1), (1e-3, 1), (1e-3, 2)])
def test_cutting_into_parts_changes_no_bit(views, trained, smooth, degree):
    settings = replace(SMALL, smooth=smooth, smooth_start=0.3, degree=degree)
    whole = train_views(settings, views, BOUNDS) if smooth else trained
    other = train_views(replace(settings, parts=7), views, BOUNDS)
    assert hashlib.sha256(other.to_bytes()).digest() == hashlib.sha256(whole.to_bytes()).digest()


def test_tasks_in_any_order_with_any_scratch_give_the_same_packets(views):
    box, grid, rows = initial(SMALL, views, BOUNDS)
    now = plan(SMALL, 3, len(views))
    shared = Scratch()
    rows = Rows(rows, grid.first)
    backwards = [list(map_task(SMALL, now, t, box, grid, rows, views, shared)[0]) for t in (3, 2, 1, 0)][::-1]
    for task in range(4):
        alone, figures = map_task(SMALL, now, task, box, grid, rows, views)
        assert figures["rays"] > 0
        assert [packet.tobytes() for packet in alone] == [packet.tobytes() for packet in backwards[task]]


@pytest.mark.parametrize(("smooth", "degree"), [(0.0, 1), (1e-3, 1), (1e-3, 2)])
def test_ranges_that_lie_apart_change_no_bit(views, smooth, degree):
    """As an engine maps them: with items between that mean nothing."""
    settings = replace(SMALL, smooth=smooth, degree=degree)
    box, grid, rows = initial(settings, views, BOUNDS)
    rows[:, 0] = np.random.default_rng(1).normal(size=grid.rows)
    now = plan(settings, 3, len(views))
    gaps = (128, 7, 0, 300)
    pieces, starts, at = [], [], 0
    for gap, (_, _, start, stop) in zip(gaps, grid.ranges(4), strict=True):
        pieces += [np.full((gap, rows.shape[1]), np.nan, np.float16), rows[start:stop]]
        starts.append(at + gap)
        at += gap + stop - start
    found = []
    for some in (Rows(rows, grid.first), Rows.apart(grid, np.concatenate(pieces), starts)):
        packets = [list(map_task(settings, now, task, box, grid, some, views)[0]) for task in range(4)]
        new = [reduce_task(settings, now, grid, part, some, [p[part] for p in packets]) for part in range(4)]
        found.append(([[p.tobytes() for p in some] for some in packets], [part.tobytes() for part in new]))
    assert found[0] == found[1]


def test_a_range_is_the_same_in_any_blocks(views, monkeypatch):
    settings = replace(SMALL, smooth=1e-3)
    box, grid, rows = initial(settings, views, BOUNDS)
    rows[:, 0] = np.random.default_rng(1).normal(size=grid.rows)
    now = plan(settings, 3, len(views))
    old = Rows(rows, grid.first)
    packets = [list(map_task(settings, now, task, box, grid, old, views)[0])[1] for task in range(4)]
    found = []
    for block in (1 << 30, 7, 1):
        monkeypatch.setattr("nerf_plugin.training.tasks.BLOCK", block)
        found.append(reduce_task(settings, now, grid, 1, old, packets).tobytes())
    begin, end, start, stop = grid.ranges(settings.parts)[1]
    assert end - begin > 7 and found[0] != rows[start:stop].tobytes() and found == found[:1] * 3


def test_what_is_called_final_is_all_of_it_from_the_front_and_does_not_change(views):
    box, grid, rows = initial(SMALL, views, BOUNDS)
    now, old = plan(SMALL, 0, len(views)), Rows(rows, grid.first)
    told = []

    def final(part):
        told.append((part.ctypes.data, part.nbytes, part.tobytes()))

    def check(array):
        place, whole = array.ctypes.data, b""
        for address, size, content in told:
            assert address == place
            place, whole = place + size, whole + content
        assert whole == array.tobytes()
        told.clear()

    packets, _ = map_task(SMALL, now, 0, box, grid, old, views, final=final)
    first = next(packets)
    check(first)
    for packet in packets:
        check(packet)
    check(reduce_task(SMALL, now, grid, 0, old, [first], final=final))


def test_inputs_stay_untouched(views):
    box, grid, rows = initial(SMALL, views, BOUNDS)
    rows.flags.writeable = False
    now = plan(SMALL, 0, len(views))
    old = Rows(rows, grid.first)
    packets, _ = map_task(SMALL, now, 0, box, grid, old, views)
    start, stop = grid.ranges(SMALL.parts)[0][2:]
    new = reduce_task(SMALL, now, grid, 0, old, [next(packets)])
    assert (new != rows[start:stop]).any() and not rows.any()


def test_a_dirty_scratch_is_wiped():
    scratch = Scratch()
    scratch.gradients(5)[:] = 1  # a task that failed midway never called clean
    assert not scratch.gradients(4).any()


def test_a_cleared_scratch_holds_nothing_and_serves_again():
    scratch = Scratch()
    scratch.gradients(5)[:] = 1
    scratch.clear()
    assert not len(scratch._grads)
    assert not scratch.gradients(5).any()


@pytest.mark.skipif(sys.platform != "linux" or mmap.PAGESIZE > 4096, reason="reads /proc, with pages of 4 KiB")
def test_photos_that_rays_were_drawn_from_do_not_stay_resident(views, tmp_path):
    """Else a process would in time hold all of its photos. Mapped as blobs are, on pages of their own."""
    pages = np.zeros((len(views), 16384), np.uint8)
    for view, page in zip(views, pages, strict=True):
        page[: 48 * 48 * 4] = view["rungs"]["0"]["pixels"].reshape(-1)
    (tmp_path / "photos").write_bytes(pages)
    photos = np.frombuffer(map_file(tmp_path / "photos"), np.uint8).reshape(pages.shape)
    settings = Settings((Level(48, 1, 1 << 16),), tasks=1)
    assert rung((48, 48), 48) == 0
    mapped = []
    for view, page in zip(views, photos, strict=True):
        image = view["rungs"]["0"] | {"pixels": page[: 48 * 48 * 4].reshape(48, 48, 4)}
        mapped.append(view | {"rungs": {"0": image}})
    assert photos.any() and resident(tmp_path / "photos") == pages.size // 1024
    grid = initial(SMALL, views, BOUNDS)[1]
    found = gather_rays(settings, plan(settings, 0, len(views)), 0, grid, mapped)
    assert resident(tmp_path / "photos") <= pages.size // 2048, "8 of the 16 KiB of each are whole pages that were read"
    expected = gather_rays(settings, plan(settings, 0, len(views)), 0, grid, views)
    for a, b in zip(found[:2], expected[:2], strict=True):
        np.testing.assert_array_equal(a, b)


def resident(path):
    """KiB of a file's mappings."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    return sum(int(next(x for x in lines if x.startswith("Rss")).split()[1]) for x in lines if x.endswith(str(path)))


def test_rounds_cover_every_view_alike():
    settings = Settings((Level(16, 40, 1024),), tasks=3)
    for count in (1, 2, 7, 100, 1000):
        seen = np.zeros(count, int)
        for number in range(settings.rounds):
            now = plan(settings, number, count)
            members = [v for task in range(3) for v in now.views(count, task, 3)]
            assert len(set(members)) == len(members)
            rays = len(members) * now.chunks * now.chunk
            assert rays <= 4 * 1024 or count == 1
            seen[members] += 1
        assert seen.max() - seen.min() <= 1


@pytest.mark.parametrize(("pixel", "cells"), [(0, 32), (8.0, 32), (1.0, 48), (0.5, 96), (0.1, 160)])
def test_the_finest_grid_follows_the_pixels(views, pixel, cells):
    """The ball is 1.4 wide and 3 away, a pixel 1 / 57.6 of that: it is 27 pixels wide, and the box 1.4 + 2 voxels."""
    box = np.array([[-1.25] * 3, [1.25] * 3])  # 48 pixels
    settings = replace(SMALL, pixel=pixel, most=160)
    assert levels.finest(settings, views, box) == cells
    fitted = settings.fitted(cells)
    assert [level.resolution for level in fitted.levels] == [16, cells]
    assert {rung((48, 48), level.resolution) for level in fitted.levels} <= {int(r) for r in rungs_of(settings)}


def rungs_of(settings):
    return prepare_view(settings, 0, cameras(1)[0], photo(cameras(1)[0]))["rungs"]


def test_densities_are_smoothed_once_it_is_time(views):
    """What the prior is for: the same rays leave less difference between neighbours."""
    settings = replace(SMALL, smooth=1e-3, smooth_start=0.3)
    started = [plan(settings, n, len(views)).smooth > 0 for n in range(settings.rounds)]
    assert started == sorted(started) and started.index(True) == 13
    plainly, smoothly = (train_views(s, views, BOUNDS) for s in (SMALL, settings))
    points = np.random.default_rng(1).uniform(-0.6, 0.6, (4000, 3))
    rough, even = (np.abs(np.diff([np.log1p(f.sigma(points + d)) for d in (0, 0.08)], axis=0)).mean()
                   for f in (plainly, smoothly))  # fmt: skip
    assert even < 0.8 * rough


def test_rates_fall_over_the_whole_run():
    settings = PRESETS["standard"]
    plans = [plan(settings, n, 100) for n in range(settings.rounds)]
    rates = [now.rate_sigma / settings.stride(settings.levels[now.level]) for now in plans]
    assert rates[0] == settings.rate_sigma and (np.diff(rates) < 0).all()
    assert rates[-1] == pytest.approx(settings.rate_sigma * settings.rate_end ** plans[-1].done, rel=1e-9)
    assert plans[-1].done > 0.98
    levels = [plan(settings, n, 100).level for n in range(settings.rounds)]
    assert [levels.count(i) for i in range(len(settings.levels))] == [level.rounds for level in settings.levels]
    with pytest.raises(IndexError):
        plan(settings, settings.rounds, 100)


def test_steps_are_bold_and_damped_at_the_last_resolution_alone():
    plainly = replace(SMALL, levels=(Level(16, 3, 2048), Level(32, 2, 2048), Level(32, 4, 4096)))
    boldly = replace(plainly, bold=4.0, damp_sigma=0.6, damp_color=0.2)
    before, after = ([plan(s, n, 30) for n in range(9)] for s in (plainly, boldly))
    ratios = [b.rate_sigma / a.rate_sigma for a, b in zip(before, after, strict=True)]
    np.testing.assert_allclose(ratios, [1] * 3 + [4] * 6)
    assert [(now.damp_sigma, now.damp_color) for now in after] == [(0.0, 0.0)] * 3 + [(0.6, 0.2)] * 6


def test_rates_of_rounds_that_are_larger_than_steady_grow_with_their_rays():
    """So half as many rounds go as far."""
    settings = Settings((Level(16, 3, 3072, 1024), Level(32, 3, 512, 1024), Level(32, 3, 3072, 1024)), bold=4.0)
    assert [settings.stride(level) for level in settings.levels] == [3.0, 4.0, 12.0]
    assert plan(settings, 8, 30).rate_color == pytest.approx(
        12 * settings.rate_color * settings.rate_end ** (16.5 / 19.5)
    )


def test_a_stream_reads_every_pixel_once_an_epoch():
    candidates = np.arange(1000, dtype=np.int32) * 3
    settings = Settings((Level(16, 100, 3 * CHUNK),), tasks=1)
    rounds = [plan(settings, n, 1) for n in range(12)]
    assert rounds[0].chunks == 3
    drawn = [draw(settings, 5, now, candidates) for now in rounds]
    first = np.concatenate(drawn)[:1000]
    assert sorted(first) == candidates.tolist() and (first != candidates).any()
    np.testing.assert_array_equal(drawn[4], draw(settings, 5, rounds[4], candidates))
    assert (drawn[0] != draw(settings, 6, rounds[0], candidates)).any()


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_going_on_ends_with_half_of_the_rates_that_a_run_ends_with(preset):
    settings = PRESETS[preset]
    further = settings.going_on(0.0)
    whole, more = ([plan(s, n, 100) for n in range(s.rounds)] for s in (settings, further))
    assert more[0].rate_sigma == pytest.approx(0.3 * settings.rate_sigma)
    larger = settings.levels[-1].rays / further.levels[-1].rays  # rounds of a run, whose rates are larger with them
    assert more[-1].rate_sigma == pytest.approx(0.5 * whole[-1].rate_sigma / larger, rel=0.1)
    assert further.rays == pytest.approx(settings.levels[-1].rounds * settings.levels[-1].rays)
    assert further.levels[-1].stride == 1
    assert not any(now.damp_sigma or now.damp_color for now in more)


def test_quadratic_harmonics_come_with_the_last_level_where_there_is_room():
    settings = replace(SMALL, degree=2, roomy=1000)
    assert [settings.degree_at(0, 10), settings.degree_at(1, 1000), settings.degree_at(1, 1001)] == [1, 2, 1]
    assert replace(settings, degree=0).degree_at(1, 10) == 0


def test_large_rounds_keep_four_tiles_together():
    candidates = np.arange(400 * 256, dtype=np.int32)
    for rays, size in ((LARGE // 2, CHUNK), (LARGE, 4 * CHUNK)):
        now = plan(Settings((Level(16, 100, rays),), tasks=1), 0, 20)
        drawn = draw(SMALL, 0, now, candidates)
        assert now.chunk == size and (drawn[::size] % size == 0).all()
        assert (np.diff(drawn.reshape(-1, size), axis=1) == 1).all()


def test_harmonics_wait_until_the_surface_is_there():
    """Colours that depend on the view explain a wrong surface too, so they come after it."""
    settings = PRESETS["standard"]
    rates = [plan(settings, n, 100).rate_sh for n in range(settings.rounds)]
    assert rates[0] < 0.1 * rates[-1] and rates == sorted(rates)
    begin = sum(level.rounds for level in settings.levels[:2])
    found = rates.index(settings.rate_sh)
    assert begin <= found < begin + settings.levels[2].rounds, "with the first rounds of the grid of full resolution"
    assert plan(settings.going_on(-3.0), 0, 100).rate_sh == settings.rate_sh


def test_a_degree_has_the_rates_of_its_harmonics():
    settings = replace(PRESETS["standard"], rate_sh2=0.25, sh2_start=0.7)
    last = settings.rounds - 1
    rates = [[plan(replace(settings, degree=d), n, 100) for n in (0, 3 * last // 4, last)] for d in (0, 1, 2)]
    assert [now.rate_sh for now in rates[0]] == [0, 0, 0]
    assert [now.rate_sh2 for now in rates[0] + rates[1]] == [0] * 6
    assert [now.rate_sh for now in rates[1]] == [now.rate_sh for now in rates[2]]
    assert [now.rate_sh2 for now in rates[2]] == [0, 0, 0.25 * settings.rate_sh]
    assert plan(replace(settings, degree=2).going_on(-3.0), 0, 100).rate_sh2 == 0.25 * settings.rate_sh


def test_degree_0_is_the_same_from_all_sides_and_degree_2_is_not(views):
    for degree in (0, 2):
        field = train_views(replace(SMALL, degree=degree), views, BOUNDS)
        assert field.degree == max(1, degree)
        linear, quadratic = field.rows[:, [5, 9, 13]], field.rows[:, 16:]
        assert bool(linear.any()) == bool(quadratic.any()) == (degree == 2)
        held_out = Camera.from_matrix(look_at((1.5, -2.2, 1.1), (0, 0, 0)), 48, 48, 57.6)
        image = photo(held_out) / 255.0
        expected = image[..., :3] * image[..., 3:] + 1 - image[..., 3:]
        assert -10 * np.log10(np.mean((field.render(held_out).rgb - expected) ** 2)) > 24


def test_without_masks_the_surroundings_begin_clear():
    bounds = np.array([[-1.0, -0.5, -0.25], [1.0, 0.5, 0.75]])
    cells = np.ones((16, 16, 16), bool)
    grid = Grid.from_cells(cells, np.full(3, -2.0), 0.25, np.full(3, -2.0), 0.25, (4, 4, 4))
    rows = first_rows(replace(SMALL, raw_around=-6.0), bounds, grid)
    world = grid.lo + grid.voxels() * grid.voxel
    around = (np.abs(world - bounds.mean(0)) > np.diff(bounds, axis=0) / 2).any(1)
    assert 0 < around.sum() < len(rows) and not rows[:, 1:].any()
    np.testing.assert_array_equal(rows[:, 0], np.where(around, -6.0, 0.0))
    pieces = [first_rows(replace(SMALL, raw_around=-6.0), bounds, grid, *cut[:2]) for cut in grid.ranges(3)]
    np.testing.assert_array_equal(np.concatenate(pieces), rows)
    assert not first_rows(SMALL, bounds, grid).any()


def test_without_masks_the_rounds_see_more_at_first():
    settings = PRESETS["draft"]
    calm = settings.without_masks()
    assert calm.rounds == settings.rounds
    assert [level.rays for level in calm.levels] == [32768, 98304]


def test_without_masks_a_run_has_levels_of_its_own_if_there_are_any():
    apart = (Level(8, 30, 4096), Level(16, 40, 1 << 20))
    settings = replace(SMALL, unmasked=apart)
    assert settings.without_masks().levels == apart
    assert settings.scaled(0.5).without_masks().levels == (Level(8, 15, 4096), Level(16, 40, 1 << 19))


def test_a_shorter_run_takes_smaller_rounds_before_fewer():
    """Those that are larger than steady first of all."""
    levels = (Level(8, 100, 16384), Level(8, 40, 98304, 49152), Level(16, 184, 262144), Level(32, 90, 786432, 393216))
    sizes = {f: [(x.rounds, x.rays) for x in Settings(levels).scaled(f).levels] for f in (0.001, 0.25, 0.5, 0.75, 1, 2)}
    assert sizes == {
        0.001: [(1, 16384), (1, 49152), (1, 131072), (1, 131072)],
        0.25: [(25, 16384), (20, 49152), (92, 131072), (135, 131072)],
        0.5: [(50, 16384), (40, 49152), (184, 131072), (180, 196608)],
        0.75: [(75, 16384), (53, 55296), (184, 196608), (120, 442368)],
        1: [(100, 16384), (40, 98304), (184, 262144), (90, 786432)],
        2: [(200, 16384), (80, 98304), (368, 262144), (180, 786432)],
    }


def test_rungs_halve_until_a_pixel_is_about_a_voxel():
    assert [rung((400, 400), n) for n in (64, 128, 256, 384)] == [2, 1, 0, 0]
    assert rung((1920, 1080), 256) == 2


def test_hull_holds_the_ball_and_little_more(views):
    box, grid, _ = initial(SMALL, views, BOUNDS)
    voxels = grid.lo + grid.voxels() * grid.voxel
    assert (np.linalg.norm(voxels, axis=1) < 1.1).mean() > 0.95
    inside = np.argwhere(grid.alive()).astype(float) * grid.voxel + grid.lo + grid.voxel / 2
    assert len(inside) * grid.voxel**3 > 4 / 3 * np.pi * 0.7**3
    assert (np.abs(box) > 0.7).all() and np.abs(box).mean() < 0.95


def test_masks_without_common_ground_are_refused(views):
    empty = [{**view, "mask": np.zeros_like(view["mask"])} for view in views]
    with pytest.raises(BadInput, match=r"no point of the bounding box in common.*daf nerf check"):
        initial(SMALL, empty, BOUNDS)


def test_a_box_that_no_photo_shows_is_refused():
    views = [prepare_view(SMALL, i, camera, np.full((48, 48, 4), 255, np.uint8)) for i, camera in enumerate(cameras(3))]
    with pytest.raises(BadInput, match=r"is seen by 3 photos.*daf nerf check"):
        initial(SMALL, views, BOUNDS + 100)


def test_ranges_are_few_where_rows_are():
    assert [parts_of(SMALL, rows) for rows in (0, 140_000, 280_000, 10**6)] == [1, 1, 2, SMALL.parts]
    many = SMALL.shared_by(32)
    assert [parts_of(many, rows) for rows in (0, 20_000, 280_000, 10**6)] == [1, 1, 16, 32]
    assert SMALL.shared_by(2).parts == SMALL.parts


def test_opaque_photos_keep_what_enough_views_see():
    views = [prepare_view(SMALL, i, camera, np.full((48, 48, 4), 255, np.uint8)) for i, camera in enumerate(cameras(3))]
    box, grid, _ = initial(replace(SMALL, seen_by=2), views, BOUNDS)
    assert (box[0] < -1).all() and (box[1] > 1).all()
    middles = grid.lo + (np.argwhere(grid.alive()) + 0.5) * grid.voxel
    assert len(middles) > 100
    for view in views:
        assert np.linalg.norm(middles - view["camera"][9:12], axis=1).min() > 0.3 * 3 - 2 * grid.voxel


@pytest.mark.parametrize("size", [16, 32])
def test_resampling_keeps_a_linear_field_and_can_be_cut(size):
    lo, voxel, bricks = lattice(np.full(3, -1.0), np.full(3, 1.0), 20)
    grid = Grid.from_cells(np.ones([4 * b for b in bricks]), lo, voxel, lo, voxel, bricks)
    rows = np.ones((grid.rows, size), np.float16)
    rows[:, 0] = 5 + (grid.lo + grid.voxels() * grid.voxel) @ [1, 2, 3]
    settings = Settings((Level(20, 1, 64), Level(37, 1, 64)))
    finer = finer_grid(settings, 1, np.array([[-1.0] * 3, [1.0] * 3]), grid, rows)
    new = resample(grid, rows, finer)
    world = finer.lo + finer.voxels() * finer.voxel
    well_inside = (np.abs(world) < 1 - voxel).all(1)
    np.testing.assert_allclose(new[well_inside, 0], 5 + world[well_inside] @ [1, 2, 3], atol=1e-2)
    assert not new[:, [4, 8, 12]].any() and (new[well_inside][:, [1, size - 1]] == 1).all()
    pieces = [resample(grid, rows, finer, a, b) for a, b, _, _ in finer.ranges(5)]
    assert np.concatenate(pieces).tobytes() == new.tobytes()


def test_the_step_to_a_finer_grid_is_the_same_in_any_pieces(monkeypatch):
    seed = int(np.random.default_rng().integers(1 << 32))
    print("seed", seed)
    rng = np.random.default_rng(seed)
    settings = Settings((Level(20, 1, 64), Level(40, 1, 64)))
    lo, voxel, bricks = lattice(BOUNDS[0], BOUNDS[1], 20)
    grid = Grid.from_cells(rng.random((20, 20, 20)) < 0.3, lo, voxel, lo, voxel, bricks)
    rows = rng.normal(0, 3, (grid.rows, 16)).astype(np.float16)
    rows[:, 12] = rng.random(grid.rows)
    found = []
    for piece in (1 << 30, 7):
        monkeypatch.setattr(levels, "PIECE", piece)
        finer = finer_grid(settings, 1, BOUNDS, grid, rows)
        found.append((finer.present.tobytes(), finer.occupied.tobytes(), resample(grid, rows, finer).tobytes()))
    assert found[0] == found[1] and len(found[0][2]) > 1000


def test_what_no_ray_saw_or_is_clear_is_pruned():
    lo, voxel, bricks = lattice(np.full(3, -1.0), np.full(3, 1.0), 20)
    grid = Grid.from_cells(np.ones([4 * b for b in bricks]), lo, voxel, lo, voxel, bricks)
    x, y, _ = (grid.lo + grid.voxels() * grid.voxel).T
    rows = np.zeros((grid.rows, 16), np.float16)
    rows[:, 0], rows[:, 12] = np.where(x < 0, 20, -20), y < 0
    finer = finer_grid(Settings((Level(20, 1, 64), Level(40, 1, 64))), 1, np.array([[-1.0] * 3, [1.0] * 3]), grid, rows)
    left = finer.lo + finer.voxels() * finer.voxel
    assert (left[:, :2].max(0) < 3 * voxel).all() and left[:, :2].min() < -0.9


def test_a_plain_grid_comes_back(views):
    _, grid, _ = initial(SMALL, views, BOUNDS)
    again = Grid.from_plain(grid.to_plain())
    np.testing.assert_array_equal(again.table, grid.table)
    assert again.rows == grid.rows and [r[3] for r in again.ranges(4)][-1] == grid.rows
