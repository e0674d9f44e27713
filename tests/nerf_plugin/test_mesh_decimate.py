"""Decimation keeps a closed 2-manifold one, keeps its shape and its holes, and refuses what cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from nerf_plugin import metrics
from nerf_plugin.mesh import (
    Mesh,
    MeshError,
    blocks,
    decimate,
    extract_block,
    extract_samples,
    iso_level,
    merge,
    require_solid,
)
from nerf_plugin.mesh.topology import check
from tests.nerf_plugin.analytic import Sphere, Torus


def surface(field):
    return merge(
        [extract_block(field, b, iso_level(field.voxel)) for b in blocks(field.lo, field.voxel, field.resolution)]
    )


@pytest.mark.parametrize("seed", range(6))
def test_even_a_mesh_of_noise_stays_a_manifold_with_the_same_holes(seed):
    noise = np.random.default_rng(seed).normal(size=(12, 12, 12)).astype(np.float32)
    mesh = merge([extract_samples(noise, block, 0.3, empty=-1.0) for block in blocks([0, 0, 0], 0.5, 9)])
    before = check(mesh)
    fewer = decimate(mesh, len(mesh.faces) // 2)
    after = require_solid(fewer)
    assert after["faces"] <= len(mesh.faces) // 2
    assert (after["genus"], after["components"]) == (before["genus"], before["components"]), f"seed {seed}"


def test_a_tenth_of_the_faces_keeps_the_shape():
    mesh = surface(Torus(48))
    fewer = decimate(mesh, len(mesh.faces) // 10)
    facts = require_solid(fewer)
    assert facts["genus"] == 1 and facts["faces"] <= len(mesh.faces) // 10
    # Triangles with sides h and corners on a surface lie h^2 / 8 times its mean curvature below it, which over a torus
    # with a tube of radius r is h^2 / 8r^2 of its volume. The cheapest corners lie outside, and save over half of it.
    corners = fewer.vertices[fewer.faces]
    square = ((corners - np.roll(corners, 1, axis=1)) ** 2).sum(axis=2).mean()
    assert 0 < 1 - facts["volume"] / mesh.volume() < 0.5 * square / (8 * 0.22**2)
    assert metrics.compare_mesh(fewer, mesh)["fscore@1%"] > 0.999


def test_the_same_mesh_gives_the_same_bits():
    mesh = surface(Sphere(24))
    a, b = decimate(mesh, 500), decimate(mesh, 500)
    assert np.array_equal(a.vertices, b.vertices) and np.array_equal(a.faces, b.faces)


def test_a_mesh_within_the_budget_is_left_alone():
    mesh = surface(Sphere(12))
    assert decimate(mesh, len(mesh.faces)) is mesh


def test_a_budget_of_three_faces_is_refused():
    with pytest.raises(MeshError, match=r"face budget of 3 is too small.*at least 4"):
        decimate(surface(Sphere(12)), 3)


def test_a_budget_this_surface_cannot_meet_says_what_it_can():
    torus = surface(Torus(24))
    with pytest.raises(MeshError, match=r"cannot go below \d+ faces.*raise the face budget of 4"):
        decimate(torus, 4)


def test_a_tetrahedron_survives_beside_what_is_collapsed():
    ball = surface(Sphere(16))
    corner = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]]) + 5
    small = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32) + len(ball.vertices)
    both = Mesh(np.concatenate([ball.vertices, corner]), np.concatenate([ball.faces, small]))
    assert require_solid(decimate(both, 200))["components"] == 2
