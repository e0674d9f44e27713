"""How much more than its own square a pixel of the photos sees.

Lenses, sensors and the filters of renderers differ; pictures of the mesh are compared with the photos fairly only with
the photos' own footprint, and a texture that is fitted through a wrong one comes out too soft or too sharp. The soft
edge of a mask tells: it is the coverage by the mesh, seen through the footprint. An outline that is off makes a pixel
row too full or too empty; one that is too sharp makes it too full on one side and too empty on the other; so the two
are not mistaken for each other, and the least squares over a fixed list of widths is enough.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nerf_plugin.kernels import kernel
from nerf_plugin.mesh.raster import CameraLike, rasterize
from nerf_plugin.mesh.surface import Mesh

FINE = 4
RIMS = np.arange(13) / 48
"""Rims that are tried, in pixels; `render` can have none above 1 / FINE."""


def has_mask(alpha: np.ndarray) -> bool:
    """Whether an alpha channel (H,W) uint8 tells the object from its surroundings."""
    return bool((alpha < 128).mean() >= 0.005)


@kernel
def _footprint(samples, n, ring, out):  # type: ignore[no-untyped-def]
    height, width = samples.shape[0] - 1, samples.shape[1] - 1
    whole = (n + 2.0 * ring) * (n + 2.0 * ring)
    rim = 1 if ring > 0.0 else 0
    color = np.empty(samples.shape[2])
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            color[:] = 0.0
            for i in range(-rim, n + rim):
                y = min(max(row * n + i, 0), height)
                for j in range(-rim, n + rim):
                    x = min(max(column * n + j, 0), width)
                    w = (ring if i < 0 or i == n else 1.0) * (ring if j < 0 or j == n else 1.0)
                    for k in range(len(color)):
                        color[k] += w * np.float64(samples[y, x, k])
            for k in range(len(color)):
                out[row, column, k] = color[k] / whole


def footprint(samples: np.ndarray, fine: int, rim: float) -> np.ndarray:
    """(H,W,C) float32: what pixels see of samples (H fine, W fine, C) float32, the mean over their squares and a rim
    (pixels, at most 1 / fine) around them; beyond the picture the last samples are repeated."""
    height, width, channels = samples.shape
    out = np.empty((height // fine, width // fine, channels), np.float32)
    _footprint(samples, fine, fine * float(rim), out)
    return out


def misfit(mesh: Mesh, alpha: np.ndarray, camera: CameraLike) -> np.ndarray:
    """Map: (13,) float64, the summed squared difference between a photo's alpha (H,W) uint8 and the mesh's, 0..1, for
    each of RIMS; zeros where the photo has no mask."""
    if not has_mask(alpha):
        return np.zeros(len(RIMS))
    face = rasterize(mesh.vertices, mesh.faces, camera, FINE, closed=True)["face"]
    covered = (face >= 0).astype(np.float32)[..., None]
    truth = alpha.astype(np.float64)[1:-1, 1:-1] / 255
    # A footprint times its area is a square function of the rim, so three of them tell all.
    none, some, most = (
        footprint(covered, FINE, rim)[1:-1, 1:-1, 0].astype(np.float64) * (1 + 2 * rim) ** 2 for rim in RIMS[[0, 6, 12]]
    )
    edge = (truth != none) | (none != some)
    truth, none, some, most = (x[edge] for x in (truth, none, some, most))
    bent, slope = 2 * (most - 2 * some + none), 4 * some - 3 * none - most
    way = RIMS / RIMS[-1]
    shown = ((none + t * slope + t * t * bent) / (1 + 2 * rim) ** 2 for t, rim in zip(way, RIMS, strict=True))
    return np.array([((truth - one) ** 2).sum() for one in shown])


def rim_of(parts: Sequence[np.ndarray], otherwise: float) -> float:
    """Reduce: the rim that fits best, from `misfit` of some photos; `otherwise` where none has a mask."""
    total = np.sum(list(parts), axis=0)
    return float(RIMS[total.argmin()]) if np.any(total) else otherwise
