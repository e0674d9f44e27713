"""torch on CPU: a dense voxel grid, written well (benchmarks/radiance/torch_grid.py)."""

from __future__ import annotations

from typing import Any

from . import common


def missing() -> str | None:
    return common.not_installed("torch") and "not installed (pip install torch)"


def version() -> str:
    return common.version_of("torch")


def field(data: str, seconds: float, **_: Any) -> tuple[dict[str, float], str]:
    from benchmarks.radiance import field as fields

    with fields.Peak() as peak:
        curve, rays = fields.theirs(data, seconds, common.WORKERS)
    return fields.figures(curve, rays, curve[-1][0], peak.mebibytes), ""
