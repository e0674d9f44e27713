"""Every kernel agrees with its slow twin, and the twin's gradients with finite differences."""

import os

import numpy as np
import pytest

from nerf_plugin import reference
from nerf_plugin.cameras import Camera, look_at
from nerf_plugin.grid import Grid
from nerf_plugin.harmonics import LINES, lanes, width
from nerf_plugin.kernels import lattice, march, pixels, smooth, update
from nerf_plugin.training.views import camera_row

SEED = int(os.environ.get("DAF_TEST_SEED", np.random.SeedSequence().entropy % 2**32))


@pytest.fixture
def rng():
    print(f"DAF_TEST_SEED={SEED}")
    return np.random.default_rng(SEED)


def random_grid(rng, bricks=(3, 4, 3), fill=0.35):
    cells = rng.random([4 * b for b in bricks]) < fill
    cells[4:8, 4:8, :] = False
    return Grid.from_cells(cells, np.zeros(3), 1.0, np.zeros(3), 1.0, bricks)


def random_rays(rng, grid, count):
    centre = np.array(grid.resolution) / 2
    origins = centre + rng.normal(size=(count, 3)) * 10
    goals = centre + rng.uniform(-5, 5, (count, 3))
    directions = goals - origins
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.concatenate([origins, directions], 1).astype(np.float32)


def halves(rows):
    return np.ascontiguousarray(rows, np.float16).view(np.uint16).ravel()


def run_kernel(
    grid, rows, rays, target, back, step, scale, shift, lambda_a=0.0, lambda_p=0.0, lambda_d=0.0, seed=-1, stop=0.0
):
    size = rows.shape[1]
    grads = np.zeros(grid.rows * size, np.float32)
    touched = np.zeros(len(grid.places), np.uint64)
    out, back_grad = np.zeros(len(rays) * 5, np.float32), np.zeros(len(rays) * 3, np.float32)
    work, corner = march.scratch()
    figures = march.march(
        halves(rows), grads, touched, grid.table, grid.shape, grid.first, grid.present,
        grid.occupied, grid.box, rays.ravel(), target.astype(np.float32).ravel(), back.astype(np.float32).ravel(),
        back_grad, len(rays), seed, step, scale, shift, lambda_a, lambda_p, lambda_d, stop, True, out, work, corner,
        LINES[size // 16],
    )  # fmt: skip
    return out.reshape(-1, 5), grads.reshape(-1, size), back_grad.reshape(-1, 3), touched, figures


@pytest.fixture
def degree():
    return 1


both_degrees = pytest.mark.parametrize("degree", [1, 2])


@pytest.fixture
def scene(rng, degree):
    grid = random_grid(rng)
    rows = rng.normal(size=(grid.rows, width(degree))).astype(np.float16).astype(float)
    rays = random_rays(rng, grid, 24)
    target = rng.random((24, 4))
    target[::2, 3] = 1
    return grid, rows, rays, target, rng.random((24, 3))


def test_one_sample_by_hand():
    # One alive cell, voxel values all alike, a ray along x through its middle, one sample of one voxel:
    # tau = 2 softplus(1 - 1) = 2 ln 2, alpha = 3/4; red = sigmoid(0.28209479 * 4 + 0.48860251 * 2) = 0.891341...
    cells = np.zeros((4, 4, 4))
    cells[1, 1, 1] = 1
    grid = Grid.from_cells(cells, np.zeros(3), 1.0, np.zeros(3), 1.0, (1, 1, 1))
    assert grid.rows == 8
    rows = np.zeros((8, 16))
    rows[:, 0], rows[:, 1], rows[:, 5] = 1.0, 4.0, 2.0
    rays = np.array([[-2, 1.5, 1.5, 1, 0, 0]], np.float32)
    out, grads, _, _, (loss, alive, _) = run_kernel(
        grid, rows, rays, np.zeros((1, 4)), np.zeros((1, 3)), 1.0, 2.0, -1.0
    )
    assert alive == 1
    red = 1 / (1 + np.exp(-(0.28209479 * 4 + 0.48860251 * 2)))
    np.testing.assert_allclose(out[0], [0.75 * red, 0.375, 0.375, 0.75, 3.5], rtol=1e-6)
    np.testing.assert_allclose(loss, (0.75 * red) ** 2 + 2 * 0.375**2, rtol=1e-6)
    # dL/dx = (1 - alpha) (c . e) * 2 sigmoid(0) at each corner an eighth; dL/dy_red = alpha e c (1 - c) * SH / 8.
    error = np.array([0.75 * red, 0.375, 0.375])
    np.testing.assert_allclose(grads[:, 0], 0.25 * (np.array([red, 0.5, 0.5]) @ error) / 8, rtol=1e-5)
    np.testing.assert_allclose(grads[:, 1], 0.28209479 * 0.75 * error[0] * red * (1 - red) / 8, rtol=1e-5)
    np.testing.assert_allclose(grads[:, 4], 0.75 / 8, rtol=1e-5)
    np.testing.assert_allclose(grads[:, 8], 1 / 8, rtol=1e-5)
    # Colour moves by T (c - 0) * dtau/dx with T = 1/4 and dtau/dx = 2 sigmoid(0) = 1, at each corner an eighth; with a
    # single sample the sum over all is that sample.
    np.testing.assert_allclose(grads[:, 12], (red**2 + 0.5) / 16 / 8, rtol=1e-5)


def test_harmonics_of_degree_2_by_hand():
    # As above, seen along (2, 3, 6) / 7: red has 2 of xy, 1 of 3 z^2 - 1; green 3 of yz; blue 2 of xz, -1 of x^2 - y^2.
    cells = np.zeros((4, 4, 4))
    cells[1, 1, 1] = 1
    grid = Grid.from_cells(cells, np.zeros(3), 1.0, np.zeros(3), 1.0, (1, 1, 1))
    rows = np.zeros((8, 32))
    rows[:, 0], rows[:, 17], rows[:, 16], rows[:, 22], rows[:, 27], rows[:, 31] = 1, 2, 1, 3, 2, -1
    along = np.array([2, 3, 6]) / 7
    ray = np.array([[*(1.5 - 0.5 * along), *along]], np.float32)
    out, grads, *_ = run_kernel(grid, rows, ray, np.zeros((1, 4)), np.zeros((1, 3)), 1.0, 2.0, -1.0)
    zonal = 0.31539157 * (3 * 36 - 49) / 49
    raw = [2 * 1.09254843 * 6 / 49 + zonal, 3 * 1.09254843 * 18 / 49, 2 * 1.09254843 * 12 / 49 + 0.54627422 * 5 / 49]
    color = 1 / (1 + np.exp(-np.array(raw)))
    np.testing.assert_allclose(out[0, :4], [*(0.75 * color), 0.75], rtol=1e-5)
    slope = 0.75 * (0.75 * color) * color * (1 - color)
    np.testing.assert_allclose(grads[:, [16, 20, 24]].sum(0), slope * zonal, rtol=1e-5)
    np.testing.assert_allclose(grads[:, 17:20].sum(0), slope * 1.09254843 * 6 / 49, rtol=1e-5)
    assert not grads[:, 28].any()


@both_degrees
@pytest.mark.parametrize("step", [0.5, 1.0])
def test_march_agrees_with_its_twin(scene, step):
    grid, rows, rays, target, back = scene
    args = (step, 0.7 * step, -0.3, 0.4, 0.2, 0.1, 17)
    out, grads, back_grad, touched, figures = run_kernel(grid, rows, rays, target, back, *args)
    twin = reference.march(grid, rows, rays, target, back, *args)
    assert figures[1] > 20
    np.testing.assert_allclose(out, twin["out"], rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(grads, twin["grads"], rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(back_grad, twin["back_grad"], rtol=2e-3, atol=1e-5)
    rows = np.flatnonzero(grads[:, 8])
    bricks = np.searchsorted(grid.first, rows, side="right") - 1
    assert (touched[bricks] >> (rows - grid.first[bricks]).astype(np.uint64) & np.uint64(1)).all()


@both_degrees
def test_twin_gradient_is_the_derivative_of_its_loss(scene, rng, degree):
    grid, rows, rays, target, back = scene
    args = (1.0, 0.9, -0.3, 0.4, 0.0, 0.3, 5)
    grads = reference.march(grid, rows, rays, target, back, *args)["grads"]
    seen = np.flatnonzero(grads[:, 8] > 0.5)
    for row, lane in zip(rng.choice(seen, 12 * degree), rng.choice(lanes(degree), 12 * degree)):
        ends = []
        for sign in (1, -1):
            moved = rows.copy()
            moved[row, lane] += sign * 1e-4
            ends.append(float(reference.march(grid, moved, rays, target, back, *args)["loss"]))
        assert grads[row, lane] == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-4, abs=1e-8)


def test_curvature_bounds_the_gauss_newton_matrix(scene):
    """Of one ray: J by finite differences of its colour and opacity; its row sums are no more than the curvature, and
    are that where samples do not work against each other."""
    grid, rows, rays, target, back = scene
    lambda_a = 0.4
    for number in range(8):
        one = (rays[number : number + 1], target[number : number + 1], back[number : number + 1])
        args = (1.0, 0.9, -0.3, lambda_a)
        grads = reference.march(grid, rows, *one, *args)["grads"]
        seen = np.flatnonzero(grads[:, 8])
        jacobian = np.zeros((4, len(seen)))
        for place, row in enumerate(seen):
            ends = []
            for sign in (1, -1):
                moved = rows.copy()
                moved[row, 0] += sign * 1e-4
                ends.append(reference.march(grid, moved, *one, *args)["out"][0, :4])
            jacobian[:, place] = (ends[0] - ends[1]) / 2e-4 * np.array([1, 1, 1, lambda_a**0.5])
        sums = np.abs(jacobian.T @ jacobian).sum(1)
        assert (sums <= grads[seen, 12] * (1 + 1e-5) + 1e-12).all()
        lengths = np.linalg.norm(jacobian, axis=0)
        assert (grads[seen, 12] >= lengths * lengths.sum() * (1 - 1e-5)).all()


def test_background_gradient_is_the_derivative(scene):
    grid, rows, rays, target, back = scene
    args = (1.0, 0.9, -0.3, 0.4)
    slope = reference.march(grid, rows, rays, target, back, *args)["back_grad"][3, 1]
    ends = []
    for sign in (1, -1):
        moved = back.copy()
        moved[3, 1] += sign * 1e-4
        ends.append(float(reference.march(grid, rows, rays, target, moved, *args)["loss"]))
    assert slope == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-5)


def test_point_loss_gradient_is_the_derivative_with_weights_held(scene, rng):
    grid, rows, rays, target, back = scene
    with_it = reference.march(grid, rows, rays, target, back, 1.0, 0.9, -0.3, 0.0, 0.5)
    without = reference.march(grid, rows, rays, target, back, 1.0, 0.9, -0.3)
    extra = with_it["grads"] - without["grads"]
    assert (extra[:, [0, 4, 8, 12]] == 0).all()
    row = int(np.abs(extra[:, 2]).argmax())
    ends = []
    for sign in (1, -1):
        moved = rows.copy()
        moved[row, 2] += sign * 1e-4
        ends.append(float(reference.march(grid, moved, rays, target, back, 1.0, 0.9, -0.3, 0.0, 0.5)["point_loss"]))
    assert extra[row, 2] == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-4)


def test_early_stop_changes_little(scene):
    grid, rows, rays, target, back = scene
    full = run_kernel(grid, rows, rays, target, back, 1.0, 3.0, 0.0)
    short = run_kernel(grid, rows, rays, target, back, 1.0, 3.0, 0.0, stop=1e-3)
    assert short[4][1] < full[4][1]
    np.testing.assert_allclose(short[0][:, :4], full[0][:, :4], atol=1.1e-3)


def test_rays_that_miss_see_the_background(scene):
    grid, rows, _, target, back = scene
    rays = np.array([[-50, 0, 0, -1, 0, 0], [0, 0, -9, 0, 1, 0], [500, 500, 500, 0, 0, 1]], np.float32)
    out, grads, *_ = run_kernel(grid, rows, rays, target[:3], back[:3], 1.0, 1.0, 0.0)
    np.testing.assert_array_equal(out[:, :3], back[:3].astype(np.float32))
    assert not out[:, 3:].any() and not grads.any()


def test_same_input_same_bits(scene):
    grid, rows, rays, target, back = scene
    first = run_kernel(grid, rows, rays, target, back, 1.0, 1.0, 0.0, seed=3)
    again = run_kernel(grid, rows, rays, target, back, 1.0, 1.0, 0.0, seed=3)
    other = run_kernel(grid, rows, rays, target, back, 1.0, 1.0, 0.0, seed=4)
    assert first[1].tobytes() == again[1].tobytes() != other[1].tobytes()


@both_degrees
def test_interpolate_and_inside(rng, degree):
    grid, size = random_grid(rng), width(degree)
    rows = rng.normal(size=(grid.rows, size)).astype(np.float16)
    points = rng.uniform(-1, 17, (300, 3)).astype(np.float32)
    out, alive = np.empty((300, size), np.float32), np.empty(300, np.uint8)
    lattice.interpolate(
        halves(rows), size, grid.table, grid.shape, grid.first, grid.present, points, -2.0, out, LINES[degree]
    )
    np.testing.assert_allclose(out, reference.interpolate(grid, rows, points, -2.0), rtol=1e-4, atol=1e-5)
    lattice.inside(grid.table, grid.shape, grid.occupied, points, alive)
    dense = np.pad(grid.alive(), 2)
    cells = np.clip(np.floor(points).astype(int) + 2, 0, np.array(dense.shape) - 1)
    np.testing.assert_array_equal(alive, dense[tuple(cells.T)])


def everything(grid):
    """Words that name all rows of each brick."""
    return np.array([(1 << int(word).bit_count()) - 1 for word in grid.present], np.uint64)


def packet_of(grads, grid, start, stop, touched=None, size=16):
    touched = everything(grid) if touched is None else touched
    words = np.empty(stop - start, np.uint64)
    records = np.empty(update.count_touched(touched, start, stop) * (size + 2), np.int8)
    n = update.pack(grads, touched, grid.first, start, stop, words, records, LINES[size // 16])
    return {"words": words, "records": records[: n * (size + 2)]}


def merge(total, grid, start, packet, size=16):
    update.merge(total, grid.first, start, packet["words"], packet["records"], LINES[size // 16])


def random_grads(rng, grid, size=16):
    grads = (rng.normal(size=(grid.rows, size)) * 10.0 ** rng.integers(-3, 3, (grid.rows, 1))).astype(np.float32)
    grads[:, [4, 8, 12]] = np.abs(grads[:, [4, 8, 12]])
    grads[:, 28:29] = 0
    grads[rng.random(grid.rows) < 0.5] = 0
    return grads


@both_degrees
def test_pack_and_merge_agree_with_their_twins(rng, degree):
    grid, size = random_grid(rng), width(degree)
    start, stop, low, high = grid.ranges(3)[1]
    packets = []
    for _ in range(2):
        grads = random_grads(rng, grid, size)
        flat, touched = grads.ravel().copy(), everything(grid)
        packet = packet_of(flat, grid, start, stop, touched, size)
        assert not flat.reshape(-1, size)[low:high].any() and not touched[start:stop].any() and touched[:start].all()
        assert (flat.reshape(-1, size)[high:] == grads[high:]).all()
        expected = grads[low:high][grads[low:high, 8] > 0]
        found = packet["records"].reshape(-1, size + 2)
        np.testing.assert_array_equal(found, [reference.pack(row) for row in expected])
        packets.append(packet)
    total = np.zeros((high - low) * size, np.float32)
    for packet in packets:
        merge(total, grid, start, packet, size)
    np.testing.assert_array_equal(total.reshape(-1, size), reference.merge(grid, start, high - low, packets, size))


@both_degrees
def test_packed_gradients_are_near_and_where_they_were(rng, degree):
    grid, size = random_grid(rng), width(degree)
    grads = random_grads(rng, grid, size)
    grads[:8, 8] = 1e-9, 1e-6, 1e9, 0, 2**-14, 0.3, 1, 77
    grads[3] = 0
    packet = packet_of(grads.ravel().copy(), grid, 0, len(grid.places), size=size)
    total = np.zeros(grads.size, np.float32)
    merge(total, grid, 0, packet, size)
    total = total.reshape(-1, size)
    np.testing.assert_array_equal(total[:, 8] > 0, grads[:, 8] > 0)
    np.testing.assert_allclose(total[3:, 8], grads[3:, 8], rtol=2**-4 * 1.01, atol=8e-6)
    np.testing.assert_allclose(total[3:, 12], grads[3:, 12].clip(0, 240), rtol=2**-4 * 1.01, atol=4e-8)
    np.testing.assert_allclose(total[:, 0], grads[:, 0], rtol=2**-7)
    for some in (reference.COLORS, reference.MORE)[:degree]:
        peak = np.abs(grads[:, some]).max(1, keepdims=True)
        assert (np.abs(total - grads)[:, some] <= peak * 2**-7).all()
    np.testing.assert_allclose(total[:, 4], grads[:, 4], rtol=2**-4 * 1.01, atol=4e-6)


@pytest.mark.parametrize("scale", [0.0, 1e-36, 1e30])
def test_packing_has_no_overflow(scale):
    grads, one = np.full(32, scale, np.float32), np.ones(1, np.uint64)
    grads[8], grads[28] = 1, 0
    records, total = np.empty(34, np.int8), np.zeros(32, np.float32)
    assert update.pack(grads, one.copy(), np.zeros(1, np.int32), 0, 1, one.copy(), records, LINES[2]) == 1
    update.merge(total, np.zeros(1, np.int32), 0, one, records, LINES[2])
    np.testing.assert_allclose(total[reference.COLORS + reference.MORE], scale if scale > 1e-28 else 0.0, rtol=2**-6)
    assert np.isfinite(total).all()


@pytest.mark.parametrize(("fill", "degree"), [(0.05, 1), (0.35, 1), (1.0, 1), (0.35, 2)])
def test_smooth_agrees_with_its_twin_range_by_range(rng, fill, degree):
    grid = random_grid(rng, fill=fill)
    rows = rng.normal(size=(grid.rows, width(degree))).astype(np.float16).astype(float)
    grads = rng.normal(size=(grid.rows, width(degree))).astype(np.float32)
    found = []
    for start, stop, low, high in grid.ranges(3):
        part = grads[low:high].copy()
        smooth.smooth(halves(rows), part.reshape(-1), start, stop, grid.table, grid.shape, grid.first, grid.present,
                      grid.places, 0.3, LINES[degree])  # fmt: skip
        found.append(part)
    found = np.concatenate(found)
    np.testing.assert_allclose(found, reference.smooth(grid, rows, grads, 0.3), rtol=1e-5, atol=1e-5)
    assert (found != grads).sum() > grid.rows / 4
    assert (found == grads)[grads[:, 8] <= 0].all()


def test_smooth_twin_is_the_derivative_of_the_squared_differences(rng):
    grid = random_grid(rng, bricks=(2, 2, 2))
    rows = rng.normal(size=(grid.rows, 16))
    numbers = reference.row_numbers(grid)
    weight = np.zeros((grid.rows, 16))
    weight[:, 8] = 2.0
    gradient = reference.smooth(grid, rows, weight, 0.3)[:, 0]
    pairs = [
        (row, numbers[near])
        for (x, y, z), row in numbers.items()
        for near in ((x + 1, y, z), (x, y + 1, z), (x, y, z + 1))
        if near in numbers
    ]

    def energy(raw):
        return 2.0 * 0.3 / 2 * sum((raw[a] - raw[b]) ** 2 for a, b in pairs)

    for row in rng.choice(grid.rows, 5, replace=False):
        ahead, behind = rows[:, 0].copy(), rows[:, 0].copy()
        ahead[row] += 1e-3
        behind[row] -= 1e-3
        assert gradient[row] == pytest.approx((energy(ahead) - energy(behind)) / 2e-3, abs=1e-6)


@both_degrees
@pytest.mark.parametrize("damp", [(0.0, 0.0), (0.6, 5.0), (30.0, 0.2)])
def test_step_agrees_with_its_twin(rng, damp, degree):
    old = rng.normal(size=(200, width(degree))).astype(np.float16)
    old[:, [4, 8]] = np.abs(old[:, [4, 8]])
    old[::3, [4, 8]] = 0
    total = rng.normal(size=(200, width(degree))).astype(np.float32)
    total[:, [4, 8, 12]] = np.abs(total[:, [4, 8, 12]])
    total[:, 28:29] = 0
    total[::5] = 0
    new = np.empty_like(old)
    rates = (0.5, 0.25, 0.125, 0.3)
    twin = reference.step(old, total, *rates, *damp, 0.01, 0.9)
    update.step(halves(old), total.ravel(), *rates, *damp, 0.01, 0.9, new.view(np.uint16).ravel(), LINES[degree])
    assert not total.any()
    np.testing.assert_allclose(new, twin.astype(np.float16), rtol=2e-3, atol=1e-5)
    assert (new[::5] == old[::5]).all()


def test_first_step_by_hand():
    # First touch: the moment is the squared gradient, so density moves by its rate against the gradient's sign; colour
    # moments are the mean of squares: (9 + 0 + 0) / 3 = 3, so red moves by rate * 3 / sqrt(3). Roots are kept.
    total, new = np.zeros(16, np.float32), np.empty(16, np.uint16)
    total[[0, 1, 4, 8]] = [-2.0, 3.0, 0.5, 1.0]
    update.step(np.zeros(16, np.uint16), total, 0.1, 0.2, 1.0, 0.0, 0.0, 0.0, 0.0, 0.9, new, LINES[1])
    found = new.view(np.float16)[[0, 1, 2, 4, 8, 12]]
    np.testing.assert_allclose(found, [0.1, -0.2 * 3**0.5, 0, 2, 3**0.5, 0.5], rtol=1e-3)


def test_a_stiff_voxel_takes_a_newton_step_by_hand():
    # No rate is in the way: density moves by gradient / (damp * (curvature + 12 * prior * trilinear weight)) =
    # 2 / (0.5 * (3 + 12 * 0.125 * 2)) = 2/3; colour 0.5 has (c (1 - c))^2 = 1/16, so red moves by
    # 3 / (0.25 * 0.28209479 * 8 / 16), its harmonic by half of that for the same gradient.
    total, new = np.zeros(16, np.float32), np.empty(16, np.uint16)
    total[[0, 1, 4, 5, 8, 12]] = [-2.0, 3.0, 8.0, 3.0, 2.0, 3.0]
    update.step(np.zeros(16, np.uint16), total, 1e9, 1e9, 0.5, 0.0, 0.5, 0.25, 0.125, 0.9, new, LINES[1])
    red = 3 / (0.25 * 0.28209479 * 0.5)
    np.testing.assert_allclose(new.view(np.float16)[[0, 1, 5, 12]], [2 / 3, -red, -red / 2, 8], rtol=1e-3)


def test_coefficients_of_degree_2_have_a_rate_of_their_own_by_hand():
    # Colour's moment is 1 and its rate 0.2: what has a gradient of 6 moves by 0.2 * 0.5 * 6 in degree 2, and by
    # 0.2 * 0.25 * 6 in degree 1.
    old, total, new = np.zeros(32, np.float16), np.zeros(32, np.float32), np.empty(32, np.uint16)
    old[[16, 18]] = 4.0
    total[[1, 2, 3, 5, 8, 18, 24]] = [1.0, 1.0, 1.0, 6.0, 1.0, -6.0, 6.0]
    update.step(old.view(np.uint16), total, 1.0, 0.2, 0.25, 0.5, 0.0, 0.0, 0.0, 0.9, new, LINES[2])
    found = new.view(np.float16)[[1, 5, 16, 17, 18, 24, 28]]
    np.testing.assert_allclose(found, [-0.2, -0.3, 4, 0, 4.6, -0.6, 0], rtol=1e-3)
    assert not total.any()


def test_rows_saturate():
    total, new = np.zeros(16, np.float32), np.empty(16, np.uint16)
    total[[0, 4, 8]] = 1e9
    update.step(np.zeros(16, np.uint16), total, 1e9, 0.2, 1.0, 0.0, 0.0, 0.0, 0.0, 0.9, new, LINES[1])
    assert new.view(np.float16)[[0, 4, 12]].tolist() == [-65504, 65504, 65504]


def test_brick_table(rng):
    cells = np.zeros((24, 20, 28))
    cells[tuple(rng.integers(0, 20, (3, 3)))] = 1
    grid = Grid.from_cells(cells, np.zeros(3), 1.0, np.zeros(3), 1.0, (6, 5, 7))
    np.testing.assert_array_equal(grid.table.reshape(7, 6, 8), reference.brick_distances(grid))


def test_carve(rng):
    camera = Camera.from_matrix(look_at((3, 2, 1), (0.2, 0, 0)), 20, 16, 18.0)
    mask = (rng.random((16, 20)) < 0.5).astype(np.uint8)
    keep = np.ones((12, 13, 14), np.uint8)
    lo = np.array([-1.5, -1.6, -1.4])
    lattice.carve(keep, 0, lo, 0.25, camera_row(camera), mask)
    twin = reference.carve(np.ones_like(keep), lo, 0.25, camera, mask)
    np.testing.assert_array_equal(keep, twin)
    slab = np.ones((5, 13, 14), np.uint8)
    lattice.carve(slab, 4, lo, 0.25, camera_row(camera), mask)
    np.testing.assert_array_equal(slab, twin[4:9])


def test_count_seen():
    camera = Camera.from_matrix(look_at((1.5, 1, 0.5), (0.2, 0, 0)), 20, 16, 18.0)
    seen = np.zeros((12, 13, 14), np.uint16)
    lo = np.array([-1.5, -1.6, -1.4])
    lattice.count_seen(seen, 0, lo, 0.25, camera_row(camera), 20, 16, 0.8)
    twin = reference.count_seen(seen.shape, lo, 0.25, camera, 0.8)
    assert 0 < twin.sum() < reference.count_seen(seen.shape, lo, 0.25, camera, 0.0).sum() < twin.size
    np.testing.assert_array_equal(seen, twin)


def test_mark_cells(rng):
    cells = (rng.random((7, 6, 8)) < 0.4).astype(np.uint8)
    offset, ratio = np.array([-0.3, 0.2, 0.0]), 0.55
    grid = Grid.from_cells(cells, np.zeros(3), 1.0, offset, ratio, (3, 3, 4))
    alive = reference.mark_cells(cells, offset, ratio, grid.resolution)
    np.testing.assert_array_equal(grid.alive(), alive)
    corners = {tuple(np.add(cell, c)) for cell in np.argwhere(alive) for c in np.ndindex(2, 2, 2)}
    assert {tuple(v) for v in grid.voxels()} == corners


def test_pixel_kernels(rng):
    image = rng.integers(0, 256, (17, 22, 4), dtype=np.uint8)
    out = np.empty_like(image)
    pixels.premultiply(image, out)
    np.testing.assert_array_equal(out, reference.premultiply(image))
    half = np.empty((8, 11, 4), np.uint8)
    pixels.halve(image, half)
    np.testing.assert_array_equal(half, reference.halve(image))
    mask = (rng.random((17, 22)) < 0.1).astype(np.uint8)
    wide = np.empty_like(mask)
    pixels.dilate(mask, 2, wide)
    np.testing.assert_array_equal(wide, reference.dilate(mask, 2))
    order = np.empty(mask.size, np.int32)
    for tile in (8, 4):
        n = pixels.tile_order(wide, tile, order)
        np.testing.assert_array_equal(order[:n], reference.tile_order(wide, tile))


def test_chunks_are_taken_in_order(rng):
    candidates = rng.integers(0, 10**6, 21).astype(np.int32)
    order = np.array([3, 5, 0, 2], np.int32)
    out = np.full(16, -1, np.int32)
    n = pixels.take_chunks(candidates, order, 4, out)
    np.testing.assert_array_equal(out[:n], np.concatenate([candidates[4 * c : 4 * c + 4] for c in order]))


def test_rays_are_the_cameras(rng):
    camera = Camera.from_matrix(look_at((3, 2, 1), (0.2, 0, 0)), 20, 16, 18.0)
    image = rng.integers(0, 256, (16, 20, 4), dtype=np.uint8)
    chosen = rng.integers(0, 320, 9).astype(np.int32)
    rays, target = np.empty(11 * 6, np.float32), np.empty(11 * 4, np.float32)
    lo = np.array([-1.0, -2.0, -3.0])
    pixels.rays_of_pixels(image.ravel(), 20, chosen, camera_row(camera), lo, 0.5, rays, target, 2)
    origin, directions = camera.rays(chosen % 20, chosen // 20)
    np.testing.assert_allclose(rays.reshape(-1, 6)[2:, 3:], directions, atol=1e-6)
    np.testing.assert_allclose(rays.reshape(-1, 6)[2:, :3], np.tile((origin - lo) / 0.5, (9, 1)), rtol=1e-6)
    np.testing.assert_allclose(target.reshape(-1, 4)[2:], image.reshape(-1, 4)[chosen] / 255, rtol=1e-6)
