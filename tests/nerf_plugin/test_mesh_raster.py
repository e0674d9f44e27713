"""The z-buffer sees what a ray through each pixel's centre meets first."""

from __future__ import annotations

import numpy as np

from nerf_plugin.mesh import decimate, merge
from nerf_plugin.mesh.blocks import blocks, extract_block, iso_level
from nerf_plugin.mesh.raster import corner_values, rasterize, ray_lengths
from nerf_plugin.mesh.reference import rasterize_slow
from tests.nerf_plugin.analytic import Sphere
from tests.nerf_plugin.test_mesh_fusion import look_from


def sphere():
    field = Sphere(24)
    level = iso_level(field.voxel)
    return merge([extract_block(field, b, level) for b in blocks(field.lo, field.voxel, field.resolution)])


def test_the_kernel_agrees_with_its_twin():
    seed = 9
    rng = np.random.default_rng(seed)
    vertices, faces = rng.normal(scale=0.6, size=(24, 3)), rng.integers(0, 24, (20, 3)).astype(np.int32)
    camera = look_from([2.5, 1.0, 0.7], size=24)
    fast, (face, depth) = rasterize(vertices, faces, camera), rasterize_slow(vertices, faces, camera)
    assert (face >= 0).sum() > 50
    assert np.array_equal(fast["face"], face), f"seed {seed}"
    assert np.allclose(fast["depth"], depth, rtol=1e-5)


def test_weights_bring_back_the_place_that_a_pixel_sees():
    rng = np.random.default_rng(4)
    vertices, faces = rng.normal(scale=0.6, size=(24, 3)), rng.integers(0, 24, (20, 3)).astype(np.int32)
    camera = look_from([2.5, 1.0, 0.7], size=48)
    raster = rasterize(vertices, faces, camera)
    seen = raster["face"] >= 0
    rows, columns = np.nonzero(seen)
    origin, directions = camera.rays(columns, rows)
    distance = (raster["depth"] * ray_lengths(camera))[seen]
    assert np.allclose(corner_values(raster, faces, vertices)[seen], origin + distance[:, None] * directions, atol=1e-4)


def test_values_of_corners_are_mixed_as_numpy_mixes_them():
    rng = np.random.default_rng(5)
    vertices, faces = rng.normal(scale=0.6, size=(24, 3)), rng.integers(0, 24, (20, 3)).astype(np.int32)
    raster = rasterize(vertices, faces, look_from([2.5, 1.0, 0.7], size=48))
    values, seen = rng.normal(size=(24, 2)), raster["face"] >= 0
    u, v = raster["bary"][seen][:, :1].astype(np.float64), raster["bary"][seen][:, 1:].astype(np.float64)
    a, b, c = (values[faces[raster["face"][seen], i]] for i in range(3))
    mixed = corner_values(raster, faces, values)
    np.testing.assert_array_equal(mixed[seen], a * u + b * v + c * (1 - u - v))
    assert not mixed[~seen].any()


def test_a_triangle_behind_the_camera_is_not_seen():
    camera = look_from([2.0, 0.0, 0.0], size=16)
    behind = np.array([[3.0, -1, -1], [3.0, 1, -1], [3.0, 0, 1]])
    assert (rasterize(behind, np.array([[0, 1, 2]], np.int32), camera)["face"] < 0).all()


def test_of_a_closed_surface_the_faces_that_look_away_need_not_be_tried():
    mesh = decimate(sphere(), 800)
    camera = look_from([2.5, 1.0, 0.7], size=48)
    every, some = (rasterize(mesh.vertices, mesh.faces, camera, closed=closed) for closed in (False, True))
    assert (every["face"] >= 0).sum() > 200
    for name in every:
        np.testing.assert_array_equal(every[name], some[name])
