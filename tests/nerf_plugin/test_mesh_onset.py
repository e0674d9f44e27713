"""The onset of density is the surface, whatever fog lies behind it; haze far before it does not count."""

from __future__ import annotations

import numpy as np
import pytest

from nerf_plugin.mesh.onset import _STEP, LOSS, choose_views, onset_depth
from tests.nerf_plugin.test_mesh_fusion import CENTER, RADIUS, look_from, ring, sphere_depth


class FogBank:
    """A ball of fog, `soft` voxels deep to half of the light, in thin haze."""

    voxel = 0.01

    def __init__(self, soft: float, haze: float = 0.0) -> None:
        self.density = np.log(2) / (soft * self.voxel)
        self.haze = haze

    def sigma(self, points):
        inside = np.linalg.norm(points - CENTER, axis=1) < RADIUS
        return np.where(inside, self.density, self.haze).astype(np.float32)

    def median(self, camera):
        front = sphere_depth(camera)
        lost = self.haze * np.maximum(front, 0)
        return np.where(front > 0, front + np.maximum(np.log(2) - lost, 0) / self.density, 0)


@pytest.mark.parametrize("soft", [0.5, 2.0, 4.0])
def test_the_surface_is_found_whatever_the_fog_behind_it(soft):
    camera, field = look_from([3, 0, 0.5]), FogBank(soft)
    truth = sphere_depth(camera)
    depth = onset_depth(field, camera, field.median(camera))
    seen = truth > 0
    assert np.array_equal(depth > 0, seen)
    assert np.abs(depth - truth)[seen].max() < 1.0 * field.voxel
    # Found where LOSS is reached, that deep in the fog; the interval in which the fog begins counts by its middle.
    bias = (depth - truth)[seen].mean() - LOSS / field.density
    assert abs(bias) < 0.5 * _STEP * field.voxel


def test_haze_far_before_the_surface_does_not_count():
    camera, field = look_from([3, 0, 0.5]), FogBank(1.0, haze=0.08)
    truth = sphere_depth(camera)
    assert (field.haze * truth[truth > 0] > 0.1).all()
    depth = onset_depth(field, camera, field.median(camera))
    assert np.abs(depth - truth)[truth > 0].max() < 1.5 * field.voxel


def test_chosen_views_stand_apart_and_do_not_change():
    cameras = list(ring([0.0], count=16))
    chosen = choose_views(cameras, 4)
    assert chosen == choose_views(cameras, 4) == sorted(chosen) and len(set(chosen)) == 4
    gaps = np.diff([*chosen, chosen[0] + 16])
    assert gaps.min() >= 3
    assert choose_views(cameras, 99) == list(range(16))
