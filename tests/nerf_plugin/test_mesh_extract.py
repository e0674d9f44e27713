"""Surface extraction: exact seams, closed and manifold for any signs, in place, oriented, clear refusals."""

from __future__ import annotations

import numpy as np
import pytest

from nerf_plugin.mesh import (
    Mesh,
    MeshError,
    block_points,
    blocks,
    check,
    color_vertices,
    extract_block,
    extract_samples,
    iso_level,
    keep_components,
    merge,
    require_solid,
    taubin,
)
from nerf_plugin.mesh.marching import march
from nerf_plugin.mesh.reference import march_slow
from nerf_plugin.mesh.smooth import neighbours
from nerf_plugin.mesh.table import EDGES, tables
from tests.nerf_plugin.analytic import Blobs, Sphere, Torus


def surface(field, size=48):
    cut = blocks(field.lo, field.voxel, field.resolution, size)
    return merge([extract_block(field, block, iso_level(field.voxel)) for block in cut])


def test_no_triangle_of_the_table_has_an_edge_on_a_face_that_its_loop_does_not_cross():
    counts, triangles = tables()
    assert counts[0] == counts[255] == 0 and counts.max() == 5
    for case in range(256):
        crossed = {e for e, (axis, c) in enumerate(EDGES) if (case >> c & 1) != (case >> (c | 1 << axis) & 1)}
        assert set(triangles[case, : counts[case]].ravel().tolist()) == crossed


def test_the_kernel_agrees_with_its_twin():
    seed = 7
    rng = np.random.default_rng(seed)
    samples = rng.normal(size=(6, 5, 7)).astype(np.float32)
    samples[2, 2, 2] = 0.1  # exactly on the surface
    fast = march(samples, np.float32(0.1), (3, 4, 5), (20, 20, 20))
    slow = march_slow(samples, np.float32(0.1), (3, 4, 5), (20, 20, 20))
    assert np.array_equal(fast[2], slow[2]), f"seed {seed}"
    assert np.array_equal(fast[0], slow[0]) and np.array_equal(fast[1], slow[1])


@pytest.mark.parametrize("seed", range(8))
def test_random_signs_give_a_closed_two_manifold_whatever_the_blocks(seed):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(12, 13, 14)).astype(np.float32)
    meshes = []
    for size in (4, 5, 100):
        parts = []
        for block in blocks([0, 0, 0], 0.5, [9, 10, 11], size):
            cut = tuple(slice(s, s + n) for s, n in zip(block["start"], block["samples"], strict=True))
            parts.append(extract_samples(noise[cut], block, 0.2, empty=-1.0))
        meshes.append(merge(parts))
    facts = check(meshes[0])
    assert facts["manifold"], f"seed {seed}: {facts}"
    assert facts["volume"] > 0
    for other in meshes[1:]:
        assert np.array_equal(meshes[0].vertices, other.vertices) and np.array_equal(meshes[0].faces, other.faces)


def test_a_sphere_is_where_it_should_be_and_looks_outward():
    field = Sphere(40)
    mesh = surface(field)
    facts = require_solid(mesh)
    radius = np.linalg.norm(mesh.vertices - field.center, axis=1)
    assert np.abs(radius - field.radius).max() < 0.05 * field.voxel
    assert facts["genus"] == 0 and facts["components"] == 1
    assert facts["volume"] == pytest.approx(4 / 3 * np.pi * field.radius**3, rel=0.01)


def test_a_torus_keeps_its_hole_and_nothing_else():
    assert require_solid(surface(Torus(36), size=11))["genus"] == 1


def test_a_solid_that_leaves_the_box_is_closed_at_its_sides():
    field = Sphere([20, 20, 20], half=0.4)
    facts = require_solid(surface(field))
    assert facts["watertight"] and facts["volume"] == pytest.approx(0.8**3, rel=0.25)


def test_only_the_largest_solid_stays():
    mesh = surface(Blobs(40))
    assert check(mesh)["components"] == 3
    kept = keep_components(mesh)
    facts = require_solid(kept)
    assert facts["components"] == 1
    assert kept.info["components_dropped"] == 2
    assert facts["volume"] == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=0.03)


def test_smoothing_removes_noise_and_keeps_the_volume():
    seed = 3
    field = Sphere(40)
    mesh = surface(field)
    rng = np.random.default_rng(seed)
    rough = mesh.with_(vertices=mesh.vertices + rng.normal(scale=0.2 * field.voxel, size=mesh.vertices.shape))
    smooth = taubin(rough)

    def spread(m):
        return np.std(np.linalg.norm(m.vertices - field.center, axis=1))

    # What such a filter leaves of white noise on this mesh: its transfer, by Taubin's equation 9, applied to a scalar.
    mean, noise = neighbours(mesh), rng.normal(size=len(mesh.vertices))
    left = noise
    for _ in range(10):
        for factor in (0.5, 1 / (0.1 - 1 / 0.5)):
            left = left - factor * (left - mean @ left)
    assert left.std() < 0.4 * noise.std(), f"seed {seed}"
    assert spread(smooth) == pytest.approx(left.std() / noise.std() * spread(rough), rel=0.1), f"seed {seed}"
    assert smooth.volume() == pytest.approx(mesh.volume(), rel=0.005)


def test_colours_come_from_the_field_at_the_surface():
    field = Sphere(24)
    mesh = color_vertices(field, surface(field))
    assert mesh.colors.dtype == np.float32
    assert np.abs(mesh.colors - field.color(mesh.vertices, None)).max() < 0.05


def test_an_empty_field_is_refused_with_advice():
    cut = blocks([0, 0, 0], 0.1, 8)
    parts = [extract_block(lambda p: np.zeros(len(p), np.float32), block, 1.0) for block in cut]
    with pytest.raises(MeshError, match=r"no surface.*train longer"):
        merge(parts)


def test_samples_that_are_not_finite_name_their_block():
    block = blocks([0, 0, 0], 0.1, 8)[0]
    with pytest.raises(MeshError, match="block 0: 1331 samples are not finite"):
        extract_block(lambda p: np.full(len(p), np.nan, np.float32), block, 1.0)


def test_wrong_parameters_are_refused():
    with pytest.raises(MeshError, match="block size"):
        blocks([0, 0, 0], 0.1, 8, size=0)
    with pytest.raises(MeshError, match="voxels of size"):
        blocks([0, 0, 0], 0.0, 8)
    with pytest.raises(MeshError, match="a face names a vertex"):
        Mesh(np.zeros((2, 3)), np.array([[0, 1, 2]]))


def test_block_points_are_the_same_bits_in_neighbouring_blocks():
    a, b = blocks([0.1, 0.2, 0.3], 0.037, [9, 4, 3], size=6)
    assert b["start"] == [6, 0, 0]
    first = block_points(a).reshape(*a["samples"], 3)[6]
    second = block_points(b).reshape(*b["samples"], 3)[0]
    assert np.array_equal(first, second)
