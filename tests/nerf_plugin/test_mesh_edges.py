"""Edges in pictures tell where a surface ends, without any texture on it."""

from __future__ import annotations

import numpy as np
import pytest

from nerf_plugin.mesh import decimate, require_solid
from nerf_plugin.mesh.edges import hinges, sweep
from nerf_plugin.mesh.raster import rasterize
from nerf_plugin.mesh.reference import sweep_slow
from nerf_plugin.texture.relief import lift
from tests.nerf_plugin.analytic import Sphere, Torus
from tests.nerf_plugin.test_mesh_decimate import surface
from tests.nerf_plugin.test_mesh_fusion import ring


@pytest.fixture(scope="module")
def ball():
    return decimate(surface(Sphere(32)), 3000)


def coverage(mesh, camera, fine):
    """(the raster, samples (H fine, W fine, 1) 0 or 255, pixels (H,W,1))."""
    raster = rasterize(mesh.vertices, mesh.faces, camera, fine, closed=True)
    samples = np.where(raster["face"] >= 0, 255, 0).astype(np.float32)[..., None]
    return raster, samples, samples.reshape(camera.height, fine, camera.width, fine, 1).mean(axis=(1, 3))


def asked(wrong, right, cameras):
    """What the outlines of `right` say about `wrong`, in all pictures."""
    total, normals, hinge = np.zeros((len(wrong.vertices), 2)), wrong.vertex_normals(), hinges(wrong.faces)
    for camera in cameras:
        raster, samples, picture = coverage(wrong, camera, 2)
        lack = coverage(right, camera, 4)[2] - picture
        trust = np.ones(lack.shape[:2], np.float32)
        sweep(wrong, normals, hinge, camera, raster, 2, samples, lack, trust, total)
    return total


def test_each_edge_of_a_closed_surface_is_a_hinge_of_its_two_faces(ball):
    found = hinges(ball.faces)
    assert len(found) == 3 * len(ball.faces) // 2
    assert len(np.unique(np.sort(found[:, :2], axis=1), axis=0)) == len(found)
    for side in (2, 3):
        assert (found[:, :2, None] == ball.faces[found[:, side], None]).any(axis=2).all()
    assert (found[:, 2] != found[:, 3]).all()


def test_sweep_agrees_with_its_twin():
    """A torus, a part of which lies before another; colours, lacks and trusts are noise."""
    mesh, seed = decimate(surface(Torus(32)), 1500), 4
    rng = np.random.Generator(np.random.Philox(seed))
    camera = list(ring([0.8], count=8))[3].scaled(0.5)
    raster = rasterize(mesh.vertices, mesh.faces, camera, 2, closed=True)
    shape = camera.height, camera.width
    colors = rng.uniform(0, 255, (2 * shape[0], 2 * shape[1], 4)).astype(np.float32)
    lack = rng.uniform(-99, 99, (*shape, 4)).astype(np.float32)
    trust = rng.choice([0, 0.3, 1], shape).astype(np.float32)
    total = np.zeros((len(mesh.vertices), 2))
    sweep(mesh, mesh.vertex_normals(), hinges(mesh.faces), camera, raster, 2, colors, lack, trust, total)
    slow = sweep_slow(mesh, camera, raster, 2, colors, lack, trust)
    assert (slow[:, 1] > 0).sum() > 50
    np.testing.assert_allclose(total, slow, rtol=1e-3, atol=1e-4 * np.abs(slow).max(), err_msg=f"seed {seed}")


@pytest.mark.parametrize("error", [-0.006, 0.006])
def test_a_surface_that_is_too_thin_or_too_thick_is_moved_back(ball, error):
    cameras = list(ring([-0.6, 0, 0.6], count=10))
    wrong = ball.with_(vertices=ball.vertices + error * ball.vertex_normals())
    total = asked(wrong, ball, cameras)
    moved = lift(wrong, [], 0.02, [total])
    radius = [np.linalg.norm(x.vertices - Sphere.center, axis=1) for x in (moved, ball)]
    told = total[:, 1] > 0
    assert told.mean() > 0.3
    assert abs((radius[0] - radius[1])[told].mean()) < 0.4 * abs(error)
    require_solid(moved)


def test_a_part_before_another_has_an_edge_too():
    """A torus fills the picture's middle and hides a part of itself: where all pixels are covered, only its inner
    outline can speak, by the difference of the colours before and behind it."""
    mesh = decimate(surface(Torus(32)), 3000)
    camera = next(iter(ring([0.3], count=8)))
    raster, samples, _ = coverage(mesh, camera, 2)
    samples[..., 0] = np.where(samples[..., 0] > 0, 255 * (raster["depth"] - raster["depth"].min()), 0)
    whole = (raster["face"] >= 0).reshape(camera.height, 2, camera.width, 2).all(axis=(1, 3))
    inside = whole & np.roll(whole, 3, 0) & np.roll(whole, -3, 0) & np.roll(whole, 3, 1) & np.roll(whole, -3, 1)
    total = np.zeros((len(mesh.vertices), 2))
    lack = np.ones((camera.height, camera.width, 1), np.float32)
    trust = inside.astype(np.float32)
    sweep(mesh, mesh.vertex_normals(), hinges(mesh.faces), camera, raster, 2, samples, lack, trust, total)
    assert (total[:, 1] > 0).any()
