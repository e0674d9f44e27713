"""Depth fusion: the kernel against its twin, exact spheres, blocks that agree, closure of what nobody saw, clear
refusals."""

from __future__ import annotations

import numpy as np
import pytest

from nerf_plugin.cameras import Camera
from nerf_plugin.mesh import MeshError, keep_components, merge, require_solid
from nerf_plugin.mesh.fusion import bottom_of, camera_up, depth_view, distances, fuse_block, plan_blocks, plan_lattice
from nerf_plugin.mesh.reference import distance_slow

RADIUS, CENTER = 0.6, np.array([0.05, -0.03, 0.02])


def look_from(position, size=96):
    """A camera at `position` that looks at the origin, z up."""
    back = np.asarray(position, float) / np.linalg.norm(position)
    right = np.cross([0, 0, 1], back)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(back, right), back], axis=1)
    return Camera(size, size, 1.3 * size, 1.3 * size, size / 2, size / 2, rotation, np.asarray(position, float))


def sphere_depth(camera):
    """Exact distance along each ray to the sphere, 0 where it misses."""
    rows, columns = np.mgrid[: camera.height, : camera.width]
    origin, directions = camera.rays(columns.ravel(), rows.ravel())
    offset = origin.astype(float) - CENTER
    b = directions.astype(float) @ offset
    root = b**2 - (offset @ offset - RADIUS**2)
    return np.where(root > 0, -b - np.sqrt(np.maximum(root, 0)), 0).reshape(camera.height, camera.width)


def ring(heights, count=12, distance=3.0):
    for height in heights:
        for angle in 2 * np.pi * (np.arange(count) + height) / count:
            flat = np.sqrt(1 - height**2)
            yield look_from(distance * np.array([flat * np.cos(angle), flat * np.sin(angle), height]))


@pytest.fixture(scope="module")
def all_around():
    return [depth_view(sphere_depth(camera), camera) for camera in ring([-0.9, -0.5, 0, 0.5, 0.9])]


@pytest.fixture(scope="module")
def from_above():
    return [depth_view(sphere_depth(camera), camera) for camera in ring([0.3, 0.6, 0.9])]


def surface(views, resolution=48, size=48, **settings):
    plan = plan_lattice(views, resolution, **settings)
    return merge([fuse_block(views, plan, block) for block in plan_blocks(plan, size)])


def test_the_kernel_agrees_with_its_twin(from_above):
    plan = plan_lattice(from_above, 40)
    block = plan_blocks(plan)[0]
    values = distances(from_above, plan, block)
    seed = 11
    rng = np.random.default_rng(seed)
    compared = 0
    for index in rng.integers(0, values.shape, (400, 3)):
        if plan["state"][tuple((index + block["start"]) // 8)] != 2:
            continue
        point = np.asarray(block["lo"]) + block["voxel"] * (index + block["start"])
        assert values[tuple(index)] == pytest.approx(distance_slow(point, from_above, plan["band"]), abs=1e-5), (
            f"seed {seed}"
        )
        compared += 1
    assert compared > 100


def test_a_sphere_comes_back_within_a_tenth_of_a_voxel(all_around):
    mesh = surface(all_around)
    facts = require_solid(mesh)
    error = np.linalg.norm(mesh.vertices - CENTER, axis=1) - RADIUS
    voxel = 1.2 * 1.04 / 48
    assert np.abs(error).mean() < 0.1 * voxel and np.abs(error).max() < 0.6 * voxel
    assert facts["genus"] == 0 and facts["components"] == 1


def test_blocks_of_any_size_give_the_same_mesh(from_above):
    meshes = [surface(from_above, 40, size) for size in (48, 16, 11)]
    for other in meshes[1:]:
        assert np.array_equal(meshes[0].vertices, other.vertices)
        assert np.array_equal(meshes[0].faces, other.faces)


def test_what_nobody_saw_is_closed_and_capped_flat(from_above):
    mesh = keep_components(surface(from_above))
    require_solid(mesh)
    lowest = mesh.vertices[:, 2].min()
    seen = CENTER[2] + RADIUS * np.sin(np.arcsin(0.3) - np.arccos(RADIUS / 3))
    # The last pixel inside the outline has its centre up to half a pixel inside; its ray, which falls by 0.3, meets the
    # sphere that much nearer, and so higher.
    pixel = 3 / next(ring([0.3])).fx
    above = 0.5 * pixel + 0.3 * np.sqrt(RADIUS * pixel)
    assert seen - 0.5 * pixel < lowest < seen + above
    flat = np.abs(mesh.vertices[:, 2] - lowest) < 1e-6
    assert flat.sum() > 50
    uncapped = keep_components(surface(from_above, cap=False))
    require_solid(uncapped)
    assert uncapped.volume() > mesh.volume()


def test_the_bottom_is_where_the_sides_end_not_the_lowest_stray_point():
    rng = np.random.default_rng(3)
    sides, stray = rng.uniform(-0.8, 1.0, 60_000), rng.uniform(-0.82, -0.8, 60)
    for heights in (sides, np.concatenate([sides, stray])):
        assert bottom_of(heights, 0.01) == pytest.approx(-0.8, abs=0.005)
    tip = -0.8 + np.sqrt(rng.uniform(0, 1, 60_000))  # an upturned cone: there is always less of it further down
    assert bottom_of(tip, 0.001) < -0.77


def test_an_underside_seen_at_grazing_angles_is_capped_and_one_looked_at_is_not():
    def plane(heights):
        return plan_lattice([depth_view(sphere_depth(camera), camera) for camera in ring(heights)], 40)["cap"]

    assert plane([-0.3, 0.3, 0.6]) is not None, "the lowest cameras see the sphere's bottom from 2 degrees below it"
    assert plane([-0.6, 0.3, 0.6]) is None


def test_a_thin_plate_keeps_its_thickness():
    """A plate thinner than the band: what one side says must not push the other away."""
    half, thick = np.array([0.5, 0.5]), 0.06

    def depth(camera):
        rows, columns = np.mgrid[: camera.height, : camera.width]
        origin, directions = camera.rays(columns.ravel(), rows.ravel())
        lo, hi = np.array([-half[0], -half[1], -thick / 2]), np.array([half[0], half[1], thick / 2])
        a, b = (lo - origin) / directions, (hi - origin) / directions
        near, far = np.minimum(a, b).max(axis=1), np.maximum(a, b).min(axis=1)
        return np.where(near < far, near, 0).reshape(camera.height, camera.width)

    views = [depth_view(depth(camera), camera) for camera in ring([-0.8, -0.4, 0.4, 0.8])]
    mesh = surface(views, 64, cap=False)
    middle = np.linalg.norm(mesh.vertices[:, :2], axis=1) < 0.3
    assert np.abs(mesh.vertices[middle, 2]).mean() == pytest.approx(thick / 2, abs=0.004)


def test_up_is_the_cameras_up():
    assert camera_up([depth_view(np.zeros((96, 96)), c) for c in ring([0.3])]).tolist() == [0, 0, 1]


def test_views_without_anything_opaque_are_refused():
    with pytest.raises(MeshError, match=r"no view sees anything opaque.*transparent"):
        plan_lattice([depth_view(np.zeros((96, 96)), c) for c in ring([0.3])])
    with pytest.raises(MeshError, match="no surface"):
        plan_lattice([])


def test_damaged_depth_is_refused():
    camera = look_from([3, 0, 1])
    with pytest.raises(MeshError, match="does not match a camera of 96x96"):
        depth_view(np.ones((4, 4)), camera)
    with pytest.raises(MeshError, match="not finite"):
        depth_view(np.full((96, 96), np.nan), camera)
