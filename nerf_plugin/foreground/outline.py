"""A silhouette's outline, to a fraction of a pixel.

A mask that is a pixel too wide costs a mesh as much as all its other faults together, so the outline is not left to
histograms. Along it, a pixel is a mixture of the subject's colour and the surroundings' as both are just inside and
just outside: I = a F + (1 - a) B, with F and B the means over clear pixels nearby, and a by projection (as in Ruzon &
Tomasi 2000, with one cluster each). The outline moves to where a is a half, and a narrower band around it is asked
again. Where F and B are too much alike to tell, the outline stays.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_fill_holes, distance_transform_edt, gaussian_filter, zoom

from nerf_plugin.foreground.colours import smooth

_NARROWEST, _NARROWER = 1.5, 0.75
_CLEAR = 0.45
"""Pixels farther from the outline than this part of the band are of one colour."""
_ALIKE = 0.1
"""Distance of colours (sRGB 0..1) at which half of the outline's place is believed of them."""


def draw(rgb: np.ndarray, hull: np.ndarray, odds: np.ndarray) -> np.ndarray:
    """(h, w) float 0..1: how much of each pixel is subject.

    rgb: (h, w, 3) 0..1 sRGB. hull: the silhouette of the shape on a smaller photo, bool. odds: (h, w), what the colours
    say.
    """
    height, width = rgb.shape[:2]
    scale = max(height / hull.shape[0], 1.0)
    distance = _distance(zoom(hull.astype(np.float32), (height / hull.shape[0], width / hull.shape[1]), order=1) > 0.5)
    shape = 8 * np.clip(distance / (2.5 * scale), -1, 1) ** 3
    mask = binary_fill_holes(smooth(odds, rgb, noise=1e-4) + shape > 0)
    band = max(2 * scale, _NARROWEST)
    while True:
        alpha = _mixture(rgb, _distance(mask), band)
        if band <= _NARROWEST:
            return alpha
        mask = alpha > 0.5
        band = max(band * _NARROWER, _NARROWEST)


def _mixture(rgb: np.ndarray, distance: np.ndarray, band: float) -> np.ndarray:
    subject = _local_mean(rgb, distance > _CLEAR * band, band)
    around = _local_mean(rgb, distance < -_CLEAR * band, band)
    axis = subject - around
    contrast = (axis**2).sum(-1)
    alpha = np.clip(((rgb - around) * axis).sum(-1) / np.maximum(contrast, 1e-6), 0, 1)
    sure = contrast / (contrast + _ALIKE**2)
    alpha = sure * alpha + (1 - sure) * np.clip(0.5 + 0.5 * distance / band, 0, 1)
    return np.where(np.abs(distance) > band, distance > 0, alpha)


def _local_mean(rgb: np.ndarray, where: np.ndarray, reach: float) -> np.ndarray:
    weight = where.astype(np.float32)
    total = np.maximum(gaussian_filter(weight, reach), 1e-6)
    return np.stack([gaussian_filter(rgb[..., k] * weight, reach) / total for k in range(3)], -1)


def _distance(mask: np.ndarray) -> np.ndarray:
    """(h, w) pixels to the outline, positive inside."""
    return np.asarray(distance_transform_edt(mask) - distance_transform_edt(~mask))
