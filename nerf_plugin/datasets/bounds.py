"""A box around the subject, from what is known before any training.

With sparse points: those near where the cameras look. Without: what the cameras see around the point that their axes
come closest to. The box is a start, meant to be tightened by a visual hull or a coarse field; it errs on the large
side.
"""

from __future__ import annotations

import numpy as np

from nerf_plugin.cameras import Camera, focus_point

_OUTER = 4.0
_PART = 0.7
_REACH = 0.8


def estimate(cameras: list[Camera], points: np.ndarray | None, has_alpha: bool) -> np.ndarray | None:
    """(2, 3) float64 corners, or None without cameras.

    With masks the whole field of view around the focus counts, for the subject may fill it; without, a part of it, and
    no more than reaches to four fifths of the way to the nearest camera.
    """
    if not cameras:
        return None
    centre, half, nearest = _view(cameras)
    if has_alpha:
        return np.stack([centre - half, centre + half])
    half = max(min(_PART * half, _REACH * nearest), 1e-6)
    if points is not None:
        near = points[np.abs(points - centre).max(1) < 1.5 * half]
        if len(near) >= 16:
            lo, hi = np.percentile(near, (1, 99), axis=0)
            pad = 0.1 * float((hi - lo).max())
            return np.stack([lo - pad, hi + pad])
    return np.stack([centre - half, centre + half])


def subject(cameras: list[Camera], has_alpha: bool) -> np.ndarray | None:
    """(2, 3) float64 corners of what a surface is made of where no masks tell the subject from its surroundings: all
    that the typical photo shows around the point that the cameras look at, but no more than reaches to four fifths of
    the way to the nearest camera. What lies farther (walls, floor, furniture) is learned and not part of the subject.
    None with masks, or without cameras.
    """
    if has_alpha or not cameras:
        return None
    centre, half, nearest = _view(cameras)
    half = max(min(half, _REACH * nearest), 1e-6)
    return np.stack([centre - half, centre + half])


def _view(cameras: list[Camera]) -> tuple[np.ndarray, float, float]:
    """(3,) the point that the cameras' axes come closest to; half the side of what the median photo shows there; the
    distance of the nearest camera."""
    centre = focus_point(cameras)
    with np.errstate(over="ignore", invalid="ignore"):  # from cameras that are nowhere comes a box that is none
        distance = np.array([np.linalg.norm(camera.position - centre) for camera in cameras])
        reach = np.array([0.5 * max(camera.width / camera.fx, camera.height / camera.fy) for camera in cameras])
        half = max(float(np.median(distance * reach)) * 1.05, 1e-6)
    return centre, half, float(distance.min())


def outer(box: np.ndarray | None, has_alpha: bool) -> np.ndarray | None:
    """Where the photos show a background: the box four times as large; None where alpha hides it."""
    if box is None or has_alpha:
        return None
    middle, half = box.mean(0), 0.5 * (box[1] - box[0]).max()
    return np.stack([middle - _OUTER * half, middle + _OUTER * half])
