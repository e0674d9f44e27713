"""Outlines move a surface to where the masks say, and only then."""

from __future__ import annotations

import numpy as np
import pytest

from nerf_plugin.mesh import decimate, require_solid
from nerf_plugin.mesh.silhouette import outline, settle
from nerf_plugin.texture import render_mesh
from tests.nerf_plugin.analytic import Sphere
from tests.nerf_plugin.test_mesh_decimate import surface
from tests.nerf_plugin.test_mesh_fusion import ring

VOXEL = 0.02


@pytest.fixture(scope="module")
def ball():
    return decimate(surface(Sphere(32)), 3000)


def masks(mesh, cameras):
    return [render_mesh(mesh, camera, supersample=4)[1] for camera in cameras]


def settled(wrong, alphas, cameras):
    parts = [outline(wrong, alpha, camera, 0.3 * VOXEL) for alpha, camera in zip(alphas, cameras, strict=True)]
    return settle(wrong, parts, VOXEL)


@pytest.mark.parametrize("error", [-0.006, 0.006])
def test_a_surface_that_is_too_thin_or_too_thick_is_moved_back(ball, error):
    cameras = list(ring([-0.6, 0, 0.6], count=10))
    wrong = ball.with_(vertices=ball.vertices + error * ball.vertex_normals())
    result = settled(wrong, masks(ball, cameras), cameras)
    off = np.linalg.norm(result.vertices - Sphere.center, axis=1) - np.linalg.norm(
        ball.vertices - Sphere.center, axis=1
    )
    assert abs(np.mean(off)) < 0.25 * abs(error)
    require_solid(result)


def test_a_dent_on_one_side_is_moved_and_the_other_side_is_not(ball):
    cameras = list(ring([-0.6, 0, 0.6], count=10))
    side = np.clip((ball.vertices[:, 2] - 0.05) / 0.3, 0, 1)
    wrong = ball.with_(vertices=ball.vertices - 0.01 * side[:, None] * ball.vertex_normals())
    result = settled(wrong, masks(ball, cameras), cameras)
    moved = np.linalg.norm(result.vertices - wrong.vertices, axis=1)
    assert moved[side == 1].mean() > 0.005 and moved[ball.vertices[:, 2] < -0.3].mean() < 0.003


def test_photos_without_a_mask_move_nothing(ball):
    cameras = list(ring([0.0], count=4))
    full = [np.full((96, 96), 255, np.uint8)] * 4
    assert settled(ball, full, cameras) is ball
