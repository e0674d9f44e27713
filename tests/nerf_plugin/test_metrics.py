"""Metrics against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from nerf_plugin import metrics
from nerf_plugin.mesh import Mesh, MeshError

SQUARE = Mesh(np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.0]]), np.array([[0, 1, 2], [0, 2, 3]], np.int32))


def test_psnr_of_a_known_error():
    truth = np.full((4, 4, 3), 0.5)
    assert metrics.psnr(truth + 0.1, truth) == pytest.approx(20.0)
    assert metrics.psnr(truth, truth) == 99.0


def test_psnr_refuses_shapes_and_values_that_cannot_be_compared():
    with pytest.raises(ValueError, match="shapes"):
        metrics.psnr(np.zeros((2, 2, 3)), np.zeros((2, 3, 3)))
    with pytest.raises(ValueError, match="not finite"):
        metrics.psnr(np.full((2, 2, 3), np.nan), np.zeros((2, 2, 3)))


def test_ssim_is_one_for_equal_images_and_falls_with_noise():
    seed = 1
    rng = np.random.default_rng(seed)
    truth = rng.random((32, 32, 3))
    assert metrics.ssim(truth, truth) == pytest.approx(1.0)
    assert metrics.ssim(np.clip(truth + rng.normal(scale=0.2, size=truth.shape), 0, 1), truth) < 0.9, f"seed {seed}"


def test_points_are_uniform_by_area():
    points = metrics.sample_surface(SQUARE, 40_000)
    assert np.allclose(points[:, :2].mean(axis=0), 0.5, atol=0.01)
    counts, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=4)
    assert np.abs(counts / 2500 - 1).max() < 0.1
    assert np.array_equal(points, metrics.sample_surface(SQUARE, 40_000))


def test_distance_of_two_parallel_squares():
    raised = SQUARE.with_(vertices=SQUARE.vertices + [0, 0, 0.01])
    result = metrics.compare_mesh(raised, SQUARE)
    assert result["chamfer"] == pytest.approx(0.01 / np.sqrt(2), rel=0.02)
    assert result["fscore@0.5%"] < 0.01 and result["fscore@1%"] == 1.0


def test_a_missing_half_costs_recall_and_not_precision():
    half = Mesh(SQUARE.vertices, SQUARE.faces[:1])
    result = metrics.compare_mesh(half, SQUARE)
    assert result["precision@0.5%"] > 0.999
    assert result["recall@0.5%"] == pytest.approx(0.5, abs=0.02)


def test_a_mesh_without_area_cannot_be_sampled():
    with pytest.raises(MeshError, match="without area"):
        metrics.sample_surface(SQUARE.with_(vertices=np.zeros((4, 3))))
