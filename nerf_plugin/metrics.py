"""How good it is: PSNR and SSIM of images, Chamfer distance and F-score of surfaces.

PSNR is -10 log10(MSE) over all pixels and channels, of values in 0..1 on the same background. SSIM is scikit-image's
`structural_similarity` with the settings of Wang et al. 2004 (Gaussian window, sigma 1.5, population covariance),
mean over channels. Chamfer distance is the mean of the two directed mean distances (not squared), as a fraction of
the reference's box diagonal. The F-score is the harmonic mean of precision and recall at a distance given as a
fraction of the same diagonal (Knapitsch et al. 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.spatial import cKDTree
from skimage.metrics import structural_similarity

from nerf_plugin.mesh.surface import Mesh, MeshError

SSIM_NAME = "scikit-image structural_similarity, gaussian_weights, sigma 1.5 (Wang et al. 2004)"
SAMPLES = 200_000


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """Decibels; images (H,W,3) of values in 0..1. Equal images give 99 (the value stays finite, so it can be averaged
    and stored)."""
    if image.shape != truth.shape:
        raise ValueError(f"cannot compare images of shapes {image.shape} and {truth.shape}")
    mse = float(np.mean((np.asarray(image, np.float64) - np.asarray(truth, np.float64)) ** 2))
    if not np.isfinite(mse):
        raise ValueError("an image holds values that are not finite")
    return min(99.0, -10.0 * float(np.log10(mse))) if mse > 0 else 99.0


def ssim(image: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity in -1..1; images (H,W,3) of values in 0..1, at least 11 pixels a side."""
    if min(image.shape[:2]) < 11:
        raise ValueError(f"SSIM needs images of at least 11 pixels a side, not {image.shape[1]}x{image.shape[0]}")
    return float(
        structural_similarity(
            np.asarray(image, np.float64),
            np.asarray(truth, np.float64),
            data_range=1.0,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def sample_surface(mesh: Mesh, count: int = SAMPLES, seed: int = 0) -> np.ndarray:
    """(count,3) float64 points, uniform by area; the same for the same mesh and seed."""
    areas = np.linalg.norm(mesh.face_normals(), axis=1)
    total = np.cumsum(areas)
    if not len(total) or not total[-1] > 0:
        raise MeshError("cannot sample a mesh without area")
    rng = np.random.Generator(np.random.Philox(seed))
    # Stratified over the cumulated area: the same density with less noise than independent draws.
    place = (np.arange(count) + rng.random(count)) / count * total[-1]
    face = np.minimum(np.searchsorted(total, place, side="right"), len(total) - 1)
    r, s = np.sqrt(rng.random(count)), rng.random(count)
    a, b, c = (mesh.vertices[mesh.faces[face, i]] for i in range(3))
    return a * (1 - r)[:, None] + b * (r * (1 - s))[:, None] + c * (r * s)[:, None]


def surface_distances(
    points: np.ndarray, truth: np.ndarray, thresholds: Sequence[float] = (0.005, 0.01)
) -> dict[str, float]:
    """Compare point sets (N,3) and (M,3), both about uniform by area.

    Returns fractions of the diagonal of truth's box: chamfer, accuracy (points to truth), completeness (truth to
    points), worst (99th percentile of either), diagonal in world units, and for each threshold precision@, recall@
    and fscore@ in 0..1.
    """
    diagonal = float(np.linalg.norm(truth.max(axis=0) - truth.min(axis=0)))
    if not diagonal > 0:
        raise ValueError("the reference has no extent")
    there = cKDTree(truth).query(points)[0] / diagonal
    back = cKDTree(points).query(truth)[0] / diagonal
    result: dict[str, Any] = {
        "chamfer": float((there.mean() + back.mean()) / 2),
        "accuracy": float(there.mean()),
        "completeness": float(back.mean()),
        "worst": float(max(np.percentile(there, 99), np.percentile(back, 99))),
        "diagonal": diagonal,
    }
    for threshold in thresholds:
        precision, recall = float((there <= threshold).mean()), float((back <= threshold).mean())
        name = f"{threshold * 100:g}%"
        result[f"precision@{name}"] = precision
        result[f"recall@{name}"] = recall
        result[f"fscore@{name}"] = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return result


def compare_mesh(mesh: Mesh, truth: np.ndarray | Mesh, seed: int = 0) -> dict[str, float]:
    """`surface_distances` of a mesh, sampled by as many points as the reference has (at least 200,000), to points or a
    mesh."""
    target = sample_surface(truth, SAMPLES, seed + 1) if isinstance(truth, Mesh) else np.asarray(truth, np.float64)
    return surface_distances(sample_surface(mesh, max(SAMPLES, len(target)), seed), target)
