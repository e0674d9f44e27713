"""Cameras: which ray belongs to which pixel.

One convention holds everywhere inside the plugin. A camera looks along its own -z, with x to the right and y up
(OpenGL, Blender, NeRF); `rotation` and `position` take camera coordinates to world coordinates. Image coordinates are
continuous, x to the right and y *down* from the upper left corner of the upper left pixel, so that the pixel in column
i and row j covers [i, i+1) x [j, j+1) and its centre is (i + 0.5, j + 0.5). COLMAP places pixel centres likewise.
Readers of other conventions (OpenCV axes, world-to-camera matrices) convert once, at the door.

Lenses: `distortion` holds OpenCV coefficients, either Brown-Conrady (k1 k2 p1 p2 [k3]) or, with `fisheye`,
Kannala-Brandt (k1 k2 k3 k4). Training never sees them: `nerf_plugin.datasets` resamples each photo once to a pinhole.
They live here because the resampling, and the projection of points into original photos, need them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Camera:
    """A posed camera.

    `width`, `height` in pixels; `fx`, `fy`, `cx`, `cy` in pixels (see the module's text for the origin);
    `rotation` (3, 3) float64 camera-to-world with columns right, up, back; `position` (3,) float64 in world units;
    `distortion` OpenCV coefficients, empty for a pinhole; `fisheye` says that they are those of the fisheye model.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    rotation: np.ndarray
    position: np.ndarray
    distortion: tuple[float, ...] = ()
    fisheye: bool = False

    @classmethod
    def from_matrix(cls, matrix: np.ndarray, width: int, height: int, fx: float, **kwargs: Any) -> Camera:
        """From a (3|4, 4) OpenGL camera-to-world matrix; `fy` defaults to `fx`, `cx`, `cy` to the image's middle."""
        matrix = np.asarray(matrix, np.float64)
        kwargs = {"fy": fx, "cx": width / 2, "cy": height / 2, **kwargs}
        return cls(width, height, fx, rotation=matrix[:3, :3].copy(), position=matrix[:3, 3].copy(), **kwargs)

    @property
    def matrix(self) -> np.ndarray:
        """(4, 4) float64 camera-to-world."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.rotation
        matrix[:3, 3] = self.position
        return matrix

    @property
    def forward(self) -> np.ndarray:
        """(3,) float64 unit viewing direction in the world."""
        return -self.rotation[:, 2]

    def rays(self, xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rays through pixel centres.

        `xs`, `ys`: (N,) integer columns and rows (fractions are allowed; 0.5 is added in any case).
        Returns the common origin (3,) float32 and unit directions (N, 3) float32, world frame.
        """
        local = self.unproject(np.stack([np.asarray(xs, np.float64), np.asarray(ys, np.float64)], -1) + 0.5)
        directions = local @ self.rotation.T
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        return self.position.astype(np.float32), directions.astype(np.float32)

    def unproject(self, pixels: np.ndarray) -> np.ndarray:
        """(N, 2) continuous image coordinates to (N, 3) directions in camera axes with z = -1."""
        x = (pixels[..., 0] - self.cx) / self.fx
        y = (pixels[..., 1] - self.cy) / self.fy
        if self.distortion:
            x, y = undistort(x, y, self.distortion, self.fisheye)
        return np.stack([x, -y, -np.ones_like(x)], -1)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World points (N, 3) to image coordinates (N, 2) float64 and depth (N,) float64 along -z (> 0 in front).

        Points at depth <= 0 get finite but meaningless pixels: look at the depth first.
        """
        local = (np.asarray(points, np.float64) - self.position) @ self.rotation
        depth = -local[..., 2]
        safe = np.where(np.abs(depth) < 1e-12, 1e-12, depth)
        x, y = local[..., 0] / safe, -local[..., 1] / safe
        if self.distortion:
            x, y = distort(x, y, self.distortion, self.fisheye)
        return np.stack([x * self.fx + self.cx, y * self.fy + self.cy], -1), depth

    def resized(self, width: int, height: int) -> Camera:
        """The same camera with its whole image resampled to width x height pixels."""
        sx, sy = width / self.width, height / self.height
        return replace(
            self, width=width, height=height, fx=self.fx * sx, fy=self.fy * sy, cx=self.cx * sx, cy=self.cy * sy
        )

    def scaled(self, factor: float) -> Camera:
        """Resized by `factor` (0.5 halves both sides), rounded to whole pixels, at least one."""
        return self.resized(max(1, round(self.width * factor)), max(1, round(self.height * factor)))

    def pinhole(self) -> Camera:
        """The undistorted camera whose every pixel lies inside this camera's image; same size, pose and principal
        point.

        The focal length grows just enough that no pixel of the result looks past the border of the original photo
        (OpenCV's getOptimalNewCameraMatrix with alpha = 0 and a fixed centre). Returns self when there is no
        distortion.
        """
        if not self.distortion:
            return self
        plain = replace(self, distortion=(), fisheye=False)
        u, v = np.linspace(0, self.width, 65), np.linspace(0, self.height, 65)
        edges = [
            np.stack(np.broadcast_arrays(*pair), -1) for pair in ((u, 0.0), (u, self.height), (0.0, v), (self.width, v))
        ]
        border = self.unproject(np.concatenate(edges))
        x, y = border[:, 0] * self.fx, -border[:, 1] * self.fy
        n = len(u)
        # Along each side of the photo, how far from the centre its undistorted border comes closest, against where it
        # was.
        spans = [
            (-self.cy, y[:n].max()),
            (self.height - self.cy, y[n : 2 * n].min()),
            (-self.cx, x[2 * n : 3 * n].max()),
            (self.width - self.cx, x[3 * n :].min()),
        ]
        zoom = max([1.0] + [span / reach for span, reach in spans if reach * span > 0])
        return replace(plain, fx=self.fx * zoom, fy=self.fy * zoom)

    def to_plain(self) -> dict[str, Any]:
        """Numbers, lists and nothing else: fit for a message or a JSON file; `from_plain` gives the same bits back."""
        return {
            "width": self.width,
            "height": self.height,
            "fx": self.fx,
            "fy": self.fy,
            "cx": self.cx,
            "cy": self.cy,
            "rotation": self.rotation.tolist(),
            "position": self.position.tolist(),
            "distortion": list(self.distortion),
            "fisheye": self.fisheye,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Camera:
        """The inverse of `to_plain`."""
        plain = dict(plain)
        plain["rotation"] = np.array(plain["rotation"], np.float64)
        plain["position"] = np.array(plain["position"], np.float64)
        plain["distortion"] = tuple(plain.get("distortion", ()))
        return cls(**plain)


def distort(x: np.ndarray, y: np.ndarray, k: tuple[float, ...], fisheye: bool) -> tuple[np.ndarray, np.ndarray]:
    """Ideal to distorted normalised image coordinates (y down), OpenCV's models (calib3d, "Detailed description")."""
    if fisheye:
        k1, k2, k3, k4 = (*k, 0.0, 0.0, 0.0, 0.0)[:4]
        r = np.hypot(x, y)
        theta = np.arctan(r)
        t2 = theta * theta
        bent = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
        scale = np.where(r > 1e-9, bent / np.maximum(r, 1e-9), 1.0)
        return x * scale, y * scale
    k1, k2, p1, p2, k3, k4, k5, k6 = (*k, *(0.0,) * 8)[:8]
    r2 = x * x + y * y
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    dx = 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    dy = p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return x * radial + dx, y * radial + dy


def undistort(x: np.ndarray, y: np.ndarray, k: tuple[float, ...], fisheye: bool) -> tuple[np.ndarray, np.ndarray]:
    """Distorted to ideal normalised image coordinates: the inverse of `distort`, by Newton's method with a numeric
    Jacobian.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if fisheye:
        k1, k2, k3, k4 = (*k, 0.0, 0.0, 0.0, 0.0)[:4]
        bent = np.hypot(x, y)
        theta = bent.copy()
        for _ in range(20):
            t2 = theta * theta
            value = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4)))) - bent
            slope = 1 + t2 * (3 * k1 + t2 * (5 * k2 + t2 * (7 * k3 + t2 * 9 * k4)))
            theta = np.clip(theta - value / np.where(np.abs(slope) < 1e-6, 1e-6, slope), 0, 1.55)
        scale = np.where(bent > 1e-9, np.tan(theta) / np.maximum(bent, 1e-9), 1.0)
        return x * scale, y * scale
    u, v, step = x.copy(), y.copy(), 1e-6
    with np.errstate(over="ignore", invalid="ignore"):  # of a lens that is none, NaN is the answer
        for _ in range(12):
            fx, fy = distort(u, v, k, False)
            ax, ay = distort(u + step, v, k, False)
            bx, by = distort(u, v + step, k, False)
            a, c, b, d = (ax - fx) / step, (ay - fy) / step, (bx - fx) / step, (by - fy) / step
            det = a * d - b * c
            det = np.where(np.abs(det) < 1e-9, 1e-9, det)
            ex, ey = fx - x, fy - y
            u, v = u - np.clip((d * ex - b * ey) / det, -0.5, 0.5), v - np.clip((a * ey - c * ex) / det, -0.5, 0.5)
    return u, v


def look_at(position: np.ndarray, target: np.ndarray, up: tuple[float, float, float] = (0.0, 0.0, 1.0)) -> np.ndarray:
    """(4, 4) float64 OpenGL camera-to-world matrix of a camera at `position` looking at `target`; `up` is a world
    direction.
    """
    position = np.asarray(position, np.float64)
    back = position - np.asarray(target, np.float64)
    back /= np.linalg.norm(back)
    right = np.cross(np.asarray(up, np.float64), back)
    if np.linalg.norm(right) < 1e-6:
        right = np.cross((0.0, 1.0, 0.0), back)
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(back, right), back], 1)
    matrix[:3, 3] = position
    return matrix


def focus_point(cameras: list[Camera]) -> np.ndarray:
    """(3,) float64: the point closest to all optical axes in the least-squares sense; the mean position when axes are
    parallel.
    """
    a, b = np.zeros((3, 3)), np.zeros(3)
    for camera in cameras:
        across = np.eye(3) - np.outer(camera.forward, camera.forward)
        a += across
        b += across @ camera.position
    if np.linalg.cond(a) > 1e6:
        return np.asarray(np.mean([camera.position for camera in cameras], axis=0))
    return np.asarray(np.linalg.solve(a, b))
