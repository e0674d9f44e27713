"""Two ways to colour a pixel, as histograms: the subject's, one for all photos, and the surroundings', one a photo.

Colours are those of CIELAB, with bins finer where they are grey (skin, hair and walls are all nearly grey). A photo's
surroundings are its own, since every photo shows another side of the room, with a share of everyone's for what it shows
little of. What a histogram says of a single pixel is noise: it is averaged over neighbours of the same colour by the
guided filter (He, Sun & Tang 2010), so that it changes where the photo does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter
from skimage.color import rgb2lab

BINS = (20, 24, 24)
_GREY = 15.0
"""Chroma up to which bins are about equally wide; beyond, they widen with it."""
_OWN = 0.7
_RARE = 1e-5
_CERTAIN = 4.0


def codes(rgb: np.ndarray) -> np.ndarray:
    """(h, w) int32: the bin of each pixel of (h, w, 3) float 0..1 sRGB."""
    lab = rgb2lab(rgb)
    share = np.empty(lab.shape)
    share[..., 0] = lab[..., 0] / 100
    share[..., 1:] = 0.5 + 0.5 * np.arcsinh(lab[..., 1:] / _GREY) / np.arcsinh(128 / _GREY)
    index = np.clip((share * BINS).astype(np.int64), 0, np.array(BINS) - 1)
    return np.ravel_multi_index(tuple(np.moveaxis(index, -1, 0)), BINS).astype(np.int32)


class Palette:
    """What colours the subject has, and what colours its surroundings have in each photo."""

    def __init__(self, photos: Sequence[np.ndarray], inside: Sequence[np.ndarray], outside: Sequence[np.ndarray]):
        """`photos`: (h, w) bins of each; `inside`, `outside`: (h, w) weights, how far a pixel is known to be either."""
        within = sum(_counts(bins, weight) for bins, weight in zip(photos, inside))
        around = [_counts(bins, weight) for bins, weight in zip(photos, outside)]
        self._subject = _shares(within)
        everywhere = _shares(sum(around))
        self._around = [_OWN * _shares(one) + (1 - _OWN) * everywhere for one in around]

    def odds(self, photo: int, bins: np.ndarray) -> np.ndarray:
        """Log-odds, subject against surroundings, of the colours `bins` in a photo; at most 4 either way."""
        ratio = np.log((self._subject + _RARE) / (self._around[photo] + _RARE))
        return np.clip(ratio, -_CERTAIN, _CERTAIN)[bins]


def _counts(bins: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.bincount(bins.ravel(), weight.ravel(), minlength=int(np.prod(BINS))).reshape(BINS)


def _shares(counts: np.ndarray) -> np.ndarray:
    smooth = gaussian_filter(counts, 0.7, mode="constant")
    return np.asarray(smooth / max(smooth.sum(), 1e-9)).ravel()


def smooth(values: np.ndarray, rgb: np.ndarray, radius: int = 3, noise: float = 1e-3) -> np.ndarray:
    """The guided filter: `values` (h, w) as a function, linear in each window, of the photo `rgb` (h, w, 3) 0..1.

    radius: of the square windows, in pixels; noise: variance of colour below which a window counts as of one colour.
    """

    def mean(plane: np.ndarray) -> np.ndarray:
        return np.asarray(uniform_filter(plane, 2 * radius + 1, mode="nearest"))

    planes = [rgb[..., k].astype(np.float64) for k in range(3)]
    means, middle = [mean(plane) for plane in planes], mean(values)
    covariance = np.stack([mean(plane * values) - m * middle for plane, m in zip(planes, means)], -1)
    spread = np.empty((*values.shape, 3, 3))
    for i in range(3):
        for j in range(i, 3):
            spread[..., i, j] = spread[..., j, i] = mean(planes[i] * planes[j]) - means[i] * means[j]
    spread += noise * np.eye(3)
    slope = np.linalg.solve(spread, covariance[..., None])[..., 0]
    rest = middle - sum(slope[..., k] * means[k] for k in range(3))
    return np.asarray(sum(mean(slope[..., k]) * planes[k] for k in range(3)) + mean(rest))
