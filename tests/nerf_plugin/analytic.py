"""Radiance fields written as formulas, for tests: what they contain is known exactly."""

from __future__ import annotations

from typing import Any

import numpy as np


class Analytic:
    """Density 400 inside a signed distance, falling to 0 over two voxels; colour from position."""

    def __init__(self, resolution: Any = 32, half: float = 1.0) -> None:
        self.lo = np.array([-half, -half, -half])
        self.resolution = np.broadcast_to(np.asarray(resolution), (3,))
        self.voxel = 2 * half / int(self.resolution[0])

    def distance(self, points: np.ndarray) -> np.ndarray:
        raise AssertionError("a test field needs a distance")

    def sigma(self, points: np.ndarray) -> np.ndarray:
        inside = 0.5 - self.distance(np.asarray(points, np.float64)) / (4 * self.voxel)
        return (2 * np.log(2) / self.voxel * np.clip(inside, 0, 1)).astype(np.float32)

    def color(self, points: np.ndarray, directions: np.ndarray) -> np.ndarray:
        return np.clip(0.5 + 0.4 * np.asarray(points), 0, 1).astype(np.float32)


class Sphere(Analytic):
    radius = 0.6
    center = (0.03, -0.02, 0.05)

    def distance(self, points: np.ndarray) -> np.ndarray:
        return np.linalg.norm(points - np.array(self.center), axis=1) - self.radius


class Torus(Analytic):
    def distance(self, points: np.ndarray) -> np.ndarray:
        ring = np.hypot(points[:, 0], points[:, 1]) - 0.55
        return np.hypot(ring, points[:, 2]) - 0.22


class Blobs(Analytic):
    """One large ball, one small ball apart from it, and a cavity in the large one."""

    def distance(self, points: np.ndarray) -> np.ndarray:
        large = np.linalg.norm(points - [0.25, 0, 0], axis=1) - 0.5
        cavity = np.linalg.norm(points - [0.25, 0, 0], axis=1) - 0.2
        small = np.linalg.norm(points - [-0.7, 0, 0], axis=1) - 0.15
        return np.minimum(np.maximum(large, -cavity), small)
