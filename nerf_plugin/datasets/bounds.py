"""A box around the subject, from what is known before any training.

With sparse points: the points near where the cameras look. Without: what the cameras see around the point that their
axes come closest to. The box is a start, meant to be tightened by a visual hull or a coarse field; it errs on the large
side.
"""

from __future__ import annotations

import numpy as np

from nerf_plugin.cameras import Camera, focus_point


def estimate(cameras: list[Camera], points: np.ndarray | None, has_alpha: bool) -> np.ndarray | None:
    """(2, 3) float64 corners, or None without cameras. With masks the whole field of view around the focus counts."""
    if not cameras:
        return None
    centre = focus_point(cameras)
    distance = np.array([np.linalg.norm(camera.position - centre) for camera in cameras])
    reach = np.array([0.5 * max(camera.width / camera.fx, camera.height / camera.fy) for camera in cameras])
    half = float(np.median(distance * reach)) * (1.05 if has_alpha else 1.0)
    half = max(half, 1e-6)
    if points is not None and len(points) >= 16 and not has_alpha:
        near = points[np.linalg.norm(points - centre, axis=1) < half]
        if len(near) >= 16:
            lo, hi = np.percentile(near, (1, 99), axis=0)
            pad = 0.1 * float((hi - lo).max())
            return np.stack([lo - pad, hi + pad])
    return np.stack([centre - half, centre + half])
