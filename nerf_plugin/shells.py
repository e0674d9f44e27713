"""What surrounds the box of a field: spheres of texels (see `kernels.shells`), in world units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nerf_plugin.kernels.shells import MAX_LAYERS, shade


@dataclass(frozen=True)
class Shells:
    """centre (3,) float64 world; radii (L - 1,) float64 world units, ascending, the last sphere being infinitely far;
    values (L, S, S, 4) float32, raw opacity, red, green, blue of the texels of the octahedral maps."""

    centre: np.ndarray
    radii: np.ndarray
    values: np.ndarray

    def __post_init__(self) -> None:
        if self.values.ndim != 4 or self.centre.shape != (3,) or self.radii.ndim != 1:
            raise ValueError("shells of no shape")
        layers, side = self.values.shape[:2]
        if self.values.shape != (layers, side, side, 4) or len(self.radii) != max(0, layers - 1) or layers > MAX_LAYERS:
            raise ValueError(f"shells of shape {self.values.shape} with {len(self.radii)} radii")
        if not (np.isfinite(self.centre).all() and (np.diff([0.0, *self.radii]) > 0).all()):
            raise ValueError("shells without order")

    def local(self, lo: Any, voxel: float) -> tuple[np.ndarray, np.ndarray]:
        """Centre and radii, float32, where world points are (world - lo) / voxel."""
        centre = (self.centre - np.asarray(lo, np.float64)) / voxel
        return centre.astype(np.float32), (np.asarray(self.radii, np.float64) / voxel).astype(np.float32)

    def look(self, rays: np.ndarray, lo: Any, voxel: float) -> np.ndarray:
        """(N, 3) float32 colours, 0..1, at the end of rays: (N, 6) float32, origin in units of `local` and unit
        direction."""
        centre, radii = self.local(lo, voxel)
        layers, side = self.values.shape[:2]
        out, none = np.empty(len(rays) * 3, np.float32), np.zeros(0, np.float32)
        values = np.ascontiguousarray(self.values, np.float32).reshape(-1)
        shade(
            values, side, layers, centre, radii, np.ascontiguousarray(rays, np.float32).reshape(-1), len(rays), False,
            none, none, np.zeros(0, np.uint8), out,
        )  # fmt: skip
        return out.reshape(-1, 3)

    def finer(self) -> Shells:
        """The same picture with twice the texels a side: each texel becomes four."""
        return Shells(self.centre, self.radii, self.values.repeat(2, axis=1).repeat(2, axis=2))

    def geometry(self) -> dict[str, list[float]]:
        """Centre and radii as lists."""
        return {"centre": np.asarray(self.centre).tolist(), "radii": np.asarray(self.radii).tolist()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Shells:
        """From plain data with the names of the fields."""
        centre, radii = (np.asarray(plain[name], np.float64) for name in ("centre", "radii"))
        return cls(centre, radii, np.asarray(plain["values"]))
