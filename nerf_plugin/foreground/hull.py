"""What the photos say of each point of space, and how that looks from each camera.

Franco & Boyer, "Fusion of multi-view silhouette cues using a space occupancy grid" (ICCV 2005). A point of the subject
is subject in every photo that shows it. A point of thin air may be either, as the subject may stand before or behind
it. So a photo in which the colours at the point speak for the subject says little (at most log 2), and one in which
they speak for the surroundings says nearly all that they do; the hull is where the sum is for the subject. Photos that
speak against count `strictness` times, for they do not err independently: where colours of the surroundings are those
of the subject, they are in many photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.ndimage import label, maximum_filter

from nerf_plugin.cameras import Camera

_EMPTY_BUT_SUBJECT = 0.5
"""How likely it is that a photo shows the subject at a point of thin air."""
_SEEN = 0.6
"""A point counts that so large a share of the cameras has in the picture."""
NOWHERE = -4.0


class Volume:
    """A lattice of points in a box, and where the cameras see them. The box is (2, 3) world, corners inclusive."""

    def __init__(self, cameras: Sequence[Camera], box: np.ndarray, side: int) -> None:
        extent = box[1] - box[0]
        self.box, self.step = box, float(extent.max()) / (side - 1)
        shape = np.maximum(2, np.ceil(extent / self.step - 1e-6).astype(int) + 1)
        axes = [box[0, i] + self.step * np.arange(shape[i]) for i in range(3)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
        pixels = np.stack([_pixel(camera, points) for camera in cameras])  # int32, the largest thing here
        self.inside = ((pixels >= 0).mean(0) >= _SEEN).reshape(shape)
        within = self.inside.ravel()
        self.points, self.pixels = points[within], pixels[:, within]
        self.cameras = list(cameras)
        self.gaps = [self._gap(camera, there >= 0) for camera, there in zip(cameras, self.pixels)]

    def occupancy(self, odds: Sequence[np.ndarray], strictness: float) -> np.ndarray:
        """(N,) log-odds, -4..4, that a point is of the subject, from those of every photo's pixels (h, w)."""
        total, seen = np.zeros(len(self.points)), np.zeros(len(self.points))
        for photo, pixels in zip(odds, self.pixels):
            there = pixels >= 0
            says = -np.log(_EMPTY_BUT_SUBJECT * np.exp(-photo.ravel()[np.maximum(pixels, 0)]) + 1 - _EMPTY_BUT_SUBJECT)
            total += np.where(says < 0, strictness * says, says) * there
            seen += there
        return np.clip(4 * total / np.maximum(seen, 1), -4, 4)

    def seen(self, view: int, occupancy: np.ndarray) -> np.ndarray:
        """(h, w): the largest occupancy of the points that a camera sees in a pixel, NOWHERE where it sees none."""
        camera = self.cameras[view]
        some = occupancy > NOWHERE  # few are
        pixels, values = self.pixels[view][some], occupancy[some]
        there = pixels >= 0
        plane = np.full(camera.width * camera.height, NOWHERE)
        np.maximum.at(plane, pixels[there], values[there])
        return np.asarray(maximum_filter(plane.reshape(camera.height, camera.width), self.gaps[view]))

    def _gap(self, camera: Camera, there: np.ndarray) -> int:
        """How many pixels lie between neighbouring points; odd."""
        if not there.any():
            return 1
        away = float(np.median((camera.position - self.points[there]) @ camera.rotation[:, 2]))
        return int(np.ceil(self.step * camera.fx / max(away, 1e-12))) | 1

    def largest(self, occupancy: np.ndarray) -> np.ndarray:
        """(N,) bool: the points of the largest connected piece of the hull."""
        whole = np.zeros(self.inside.shape, bool)
        whole[self.inside] = occupancy > 0
        pieces, count = label(whole)
        if count == 0:
            return np.zeros(len(self.points), bool)
        sizes = np.bincount(pieces.ravel())[1:]
        return np.asarray(pieces[self.inside] == 1 + int(sizes.argmax()))

    def cut(self, solid: np.ndarray) -> float:
        """Which share of a solid's surface is not its own, but the side of what the cameras see."""
        whole = np.zeros(self.inside.shape, bool)
        whole[self.inside] = solid
        own = others = 0
        padded, seen = np.pad(whole, 1), np.pad(self.inside, 1)
        for axis in range(3):
            for way in (1, -1):
                beside, visible = np.roll(padded, way, axis), np.roll(seen, way, axis)
                own += int((padded & ~beside & visible).sum())
                others += int((padded & ~visible).sum())
        return others / max(own + others, 1)

    def around(self, solid: np.ndarray) -> np.ndarray:
        """(2, 3) box of a solid's points, a tenth larger."""
        low, high = self.points[solid].min(0), self.points[solid].max(0)
        pad = 0.1 * float((high - low).max()) + self.step
        return np.stack([np.maximum(low - pad, self.box[0]), np.minimum(high + pad, self.box[1])])


def _pixel(camera: Camera, points: np.ndarray) -> np.ndarray:
    """(N,) int32: which pixel, row by row, shows a point; -1 where the camera does not have it in the picture."""
    at, depth = camera.project(points)
    there = (depth > 0) & (at >= 0).all(1) & (at[:, 0] < camera.width) & (at[:, 1] < camera.height)
    if camera.distortion:  # whose polynomial folds what is far outside back into the picture
        straight, _ = replace(camera, distortion=(), fisheye=False).project(points)
        middle = np.array([0.5 * camera.width, 0.5 * camera.height])
        there &= (np.abs(straight - middle) < 2 * middle).all(1)
    at = np.where(there[:, None], at, 0).astype(np.int32)  # rounds down, for they are positive
    return np.where(there, at[:, 1] * camera.width + at[:, 0], -1).astype(np.int32)
