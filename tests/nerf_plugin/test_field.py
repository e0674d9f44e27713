"""A field answers for its file: same bytes again, damage refused, density and colour where they belong."""

import tracemalloc

import numpy as np
import pytest

from nerf_plugin.cameras import Camera, look_at
from nerf_plugin.field import Field, FieldError
from nerf_plugin.grid import Grid, lattice


def ball(resolution=40, radius=0.6):
    """A red ball of radius 0.6 around the origin, bluish where seen along +x; hard inside, nothing outside."""
    lo, voxel, bricks = lattice(np.full(3, -1.0), np.full(3, 1.0), resolution)
    centres = [lo[a] + (np.arange(4 * bricks[a]) + 0.5) * voxel for a in range(3)]
    r = np.sqrt(sum(x**2 for x in np.meshgrid(*centres, indexing="ij")))
    grid = Grid.from_cells(r < radius + 3 * voxel, lo, voxel, lo, voxel, bricks)
    distance = np.linalg.norm(grid.lo + grid.voxels() * grid.voxel, axis=1) - radius
    rows = np.zeros((grid.rows, 16), np.float32)
    rows[:, 0] = np.clip(-distance / voxel * 10, -10, 10)
    rows[:, 1:4] = [8, -8, -8]
    rows[:, 7] = 12
    return Field(grid, rows, density=60.0, shift=0.0)


@pytest.fixture(scope="module")
def field():
    return ball()


def test_density_and_colour(field):
    sigma = field.sigma(np.array([[0, 0, 0], [0, 0.5, 0], [0, 0, 0.66], [0.9, 0.9, 0.9], [5, 5, 5]]))
    assert sigma.dtype == np.float32
    np.testing.assert_allclose(sigma[:2], 600, rtol=1e-3)
    assert sigma[2] < 1 and not sigma[3:].any()
    along = field.color(np.zeros((2, 3)), np.array([[1.0, 0, 0], [-1.0, 0, 0]]))
    expected = 1 / (1 + np.exp(-np.array([8 * 0.28209479, -8 * 0.28209479, -8 * 0.28209479 + 12 * 0.48860251])))
    np.testing.assert_allclose(along[0], expected, rtol=1e-3)
    assert along[0, 2] > 0.9 > 0.1 > along[1, 2]


def test_render(field):
    camera = Camera.from_matrix(look_at((0, -3, 0), (0, 0, 0)), 33, 31, 40.0)
    view = field.render(camera, background=(0.0, 1.0, 0.0))
    assert view.rgb.shape == (31, 33, 3) and view.alpha.shape == view.depth.shape == (31, 33)
    assert view.alpha[15, 16] > 0.999 and view.alpha[0, 0] == 0
    assert view.depth[15, 16] == pytest.approx(2.4, abs=2 * field.voxel) and view.depth[0, 0] == 0
    np.testing.assert_array_equal(view.rgb[0, 0], [0, 1, 0])
    covered = view.alpha.sum() / (np.pi * (40 * 0.6 / np.sqrt(9 - 0.36)) ** 2)
    assert covered == pytest.approx(1, abs=0.08)


def test_the_part_within_a_box_is_the_same_there_and_nothing_beyond(field):
    part = field.within(np.array([[-1.0, -1.0, -1.0], [0.2, 1.0, 1.0]]))
    rng = np.random.default_rng(4)
    points = rng.uniform(-1, 1, (4000, 3))
    here, beyond = points[:, 0] < 0.2 - field.voxel, points[:, 0] > 0.2 + field.voxel
    np.testing.assert_array_equal(part.sigma(points[here]), field.sigma(points[here]))
    along = np.array([0.0, 0.0, 1.0])
    np.testing.assert_array_equal(part.color(points[here], along), field.color(points[here], along))
    assert field.sigma(points[beyond]).any() and not part.sigma(points[beyond]).any()
    camera = Camera.from_matrix(look_at((3, 0, 0), (0, 0, 0)), 33, 31, 40.0)
    assert part.render(camera).depth[15, 16] == pytest.approx(2.8, abs=2 * field.voxel), "the cut is a wall"


def test_trace_agrees_with_rays_through_sigma(field):
    # Brute force along one oblique ray, from the public functions alone.
    origin, direction = np.array([-2.0, 0.1, 0.3]), np.array([0.96, 0.0, -0.28])
    out = field.trace(origin, direction[None], step=0.05)
    t = np.arange(0, 4, 0.002)
    sigma = field.sigma(origin + t[:, None] * direction).astype(float)
    through = np.exp(-np.concatenate([[0], np.cumsum(sigma * 0.002)]))
    assert out[0, 3] == pytest.approx(1 - through[-1], abs=1e-3)
    assert out[0, 4] == pytest.approx(t[np.argmax(through < 0.5)], abs=0.01)


def test_same_bytes_again(field, tmp_path):
    field.save(tmp_path / "a.field")
    again = Field.load(tmp_path / "a.field")
    again.save(tmp_path / "b.field")
    assert (tmp_path / "a.field").read_bytes() == (tmp_path / "b.field").read_bytes()
    points = np.random.default_rng(0).uniform(-1, 1, (100, 3))
    np.testing.assert_array_equal(field.sigma(points), again.sigma(points))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.field", "b.field"]


def glossy(field):
    """The ball with some harmonics of degree 2, the same everywhere."""
    rows = np.array(field.of_degree(2).rows)
    rows[:, 16:] = np.random.default_rng(3).normal(size=16)
    return Field(field.grid, rows, field.density, field.shift)


def test_harmonics_of_degree_2_are_kept_in_the_file(field, tmp_path):
    shiny = glossy(field)
    shiny.save(tmp_path / "a.field")
    again = Field.load(tmp_path / "a.field")
    assert (shiny.degree, again.degree, field.degree) == (2, 2, 1)
    assert again.to_bytes() == shiny.to_bytes() and len(shiny.to_bytes()) > len(field.to_bytes())
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 3))
    directions = np.random.default_rng(1).normal(size=(50, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    colors = again.color(points, directions)
    np.testing.assert_array_equal(colors, shiny.color(points, directions))
    assert np.abs(colors - field.color(points, directions)).mean() > 0.01


def test_a_picture_has_the_colours_that_points_have(field):
    shiny = glossy(field)
    directions = np.random.default_rng(2).normal(size=(40, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    out = shiny.trace(-3 * directions, directions, (0.0, 0.0, 0.0))
    np.testing.assert_allclose(out[:, :3], shiny.color(np.zeros((40, 3)), directions), atol=2e-3)


def test_a_field_of_another_degree(field):
    shiny = glossy(field)
    points, along = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 3)), np.array([0.6, 0.0, 0.8])
    np.testing.assert_array_equal(field.of_degree(2).color(points, along), field.color(points, along))
    assert shiny.of_degree(1).to_bytes() == field.to_bytes() and field.of_degree(1).to_bytes() == field.to_bytes()
    flat = shiny.of_degree(0)
    np.testing.assert_array_equal(flat.color(points, along), flat.color(points, -along))
    assert (field.color(points, along) != field.color(points, -along)).any()


def test_a_degree_that_is_not_known_is_refused(field):
    newer = field.to_bytes().replace(b'"sh_degree": 1', b'"sh_degree": 3', 1)
    with pytest.raises(FieldError, match="degree 3"):
        Field.from_bytes(newer)
    swapped = field.to_bytes().replace(b'"sh_degree": 1', b'"sh_degree": 2', 1)
    with pytest.raises(FieldError, match="damaged"):
        Field.from_bytes(swapped)


def test_saving_takes_little_memory(tmp_path):
    field = ball(170)
    tracemalloc.start()
    try:
        field.save(tmp_path / "ball.field")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    data = (tmp_path / "ball.field").read_bytes()
    assert data == field.to_bytes() and peak < len(data) / 2


def test_damage_is_refused(field):
    good = field.to_bytes()
    for bad in (
        b"",
        b"PNG" + good,
        good[: len(good) // 2],
        good.replace(b'"voxel": ', b'"vixel": ', 1),
        good.replace(b'"type": "<u8"', b'"type": "<u4"', 1),
        good.replace(b'"bricks": [', b'"bricks": [9', 1),
    ):
        with pytest.raises(FieldError, match=r"a\.field.*(Train|copy)"):
            Field.from_bytes(bad, "a.field")


def test_missing_corner_is_refused(field):
    grid = field.grid
    broken = Grid(grid.lo, grid.voxel, grid.bricks, grid.places, grid.occupied.copy(), grid.occupied)
    broken.present[0] = 0
    damaged = Field(broken, np.zeros((broken.rows, 16), np.float32), 1.0, 0.0).to_bytes()
    with pytest.raises(FieldError, match="corner"):
        Field.from_bytes(damaged)


def test_rows_must_fit_the_grid(field):
    with pytest.raises(FieldError, match="voxels"):
        Field(field.grid, np.zeros((3, 16), np.float32), 1.0, 0.0)
