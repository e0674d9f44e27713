"""The slow, obvious twins of bake, polish and relief: one place on the surface or one pixel after another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nerf_plugin.mesh.raster import CameraLike, corner_values, rasterize
from nerf_plugin.mesh.surface import Mesh
from nerf_plugin.texture.atlas import Atlas
from nerf_plugin.texture.bake import _LEAST_COSINE, _SHARPEN
from nerf_plugin.texture.polish import DOUBT, FINE
from nerf_plugin.texture.relief import JUMP


def _ask(
    place: np.ndarray, normal: np.ndarray, view: dict[str, np.ndarray], tolerance: float
) -> tuple[float, np.ndarray]:
    """(weight, low and high colour (6,)) of one photo; weight 0 where it does not see the place."""
    cam, unseen = view["camera"], (0.0, np.zeros(6))
    away = place - cam[9:12]
    x, y, z = away @ cam[:9].reshape(3, 3)
    cosine = -away @ normal / np.linalg.norm(away)
    if -z <= 1e-6 or cosine <= _LEAST_COSINE:
        return unseen
    u, v = x / -z * cam[12] + cam[14], -y / -z * cam[13] + cam[15]
    height, width = view["depth"].shape
    if not (0.5 <= u < width - 0.5 and 0.5 <= v < height - 0.5) or view["safe"][int(v), int(u)] <= 0:
        return unseen
    slack = tolerance + 2.5 * -z / cam[12] * np.sqrt(1 - cosine**2) / cosine
    if -z > view["depth"][int(v), int(u)] + slack:
        return unseen
    left, top = int(u - 0.5), int(v - 0.5)
    s, t = u - 0.5 - left, v - 0.5 - top
    four = view["color"][top : top + 2, left : left + 2].astype(np.float64)
    color = np.einsum("i,j,ijc->c", [1 - t, t], [1 - s, s], four)
    facing = (cosine - _LEAST_COSINE) / (1 - _LEAST_COSINE)
    return facing**4 * (cam[12] / -z) ** 2 * float(view["safe"][int(v), int(u)]) / 4, color


def blend_slow(
    place: np.ndarray, normal: np.ndarray, views: Sequence[dict[str, np.ndarray]], tolerance: float, unit: float
) -> tuple[np.ndarray, float]:
    """The twin of `bake.blend` for one place (3,): (colour (3,), weight); `unit`: see `bake.blend`."""
    said = [_ask(place, normal, view, tolerance) for view in views]
    weights = np.array([weight for weight, _ in said]) / unit
    colors = np.array([color for _, color in said])
    if not weights.any():
        return np.zeros(3), 0.0
    mean = weights @ colors[:, :3] / weights.sum()
    spread = np.maximum(weights @ colors[:, :3] ** 2 / weights.sum() - mean**2, 0).sum() + 0.03**2
    weights = weights * np.exp(-0.5 * ((colors[:, :3] - mean) ** 2).sum(axis=1) / spread)
    sharp = weights**_SHARPEN
    color = weights @ colors[:, :3] / weights.sum() + sharp @ colors[:, 3:] / sharp.sum()
    return np.clip(color, 0, 1), float(weights.sum())


def _around(texture: np.ndarray, u: float, v: float) -> list[tuple[int, int, float]]:
    """Row, column and share of the four texels around texture coordinates (u, v)."""
    height, width = texture.shape[:2]
    x = float(np.clip(u * width - 0.5, 0, width - 1))
    y = float(np.clip((1 - v) * height - 0.5, 0, height - 1))
    left, top = min(int(x), width - 2), min(int(y), height - 2)
    s, t = x - left, y - top
    return [
        (top, left, (1 - t) * (1 - s)),
        (top, left + 1, (1 - t) * s),
        (top + 1, left, t * (1 - s)),
        (top + 1, left + 1, t * s),
    ]


def footprint_slow(samples: np.ndarray, fine: int, rim: float) -> np.ndarray:
    """The twin of `softness.footprint`, axis by axis."""
    seen = samples
    for axis in (0, 1):
        padded = np.pad(seen, [(1, 1) if d == axis else (0, 0) for d in range(3)], mode="edge")
        size = seen.shape[axis]
        parts = [np.take(padded, range(first, first + size, fine), axis) for first in range(1, fine + 1)]
        if rim > 0:
            ring = np.take(padded, range(0, size, fine), axis) + np.take(padded, range(fine + 1, size + 2, fine), axis)
            parts.append(np.float32(rim * fine) * ring)
        seen = sum(parts[1:], parts[0]) / np.float32(fine * (1 + 2 * rim))
    return seen


def polish_slow(
    mesh: Mesh, atlas: Atlas, texture: np.ndarray, photos: Sequence[tuple[np.ndarray, CameraLike]]
) -> np.ndarray:
    """The twin of `polish.polish_part`, as (S,S,4) float64: sums of weight x difference, and of weights."""
    total = np.zeros((*texture.shape[:2], 4))
    for photo, camera in photos:
        raster = rasterize(mesh.vertices, mesh.faces, camera, FINE)
        uv = corner_values(raster, atlas.faces, atlas.uv)
        for row, column in np.ndindex(camera.height, camera.width):
            samples = np.s_[row * FINE : (row + 1) * FINE, column * FINE : (column + 1) * FINE]
            if (raster["face"][samples] < 0).any() or photo[row, column, 3] < 250:
                continue
            makers = [_around(texture, u, v) for u, v in uv[samples].reshape(-1, 2).astype(np.float32)]
            shown = np.mean(
                [sum(share * texture[i, j].astype(float) for i, j, share in four) for four in makers], axis=0
            )
            lack = photo[row, column, :3] - shown
            weight = np.exp(-0.5 * (lack**2).sum() / (255 * DOUBT) ** 2)
            for four in makers:
                for i, j, share in four:
                    total[i, j] += share * weight * np.array([*lack, 1])
    return total


def parallax_slow(
    mesh: Mesh, camera: CameraLike, shown: np.ndarray, lack: np.ndarray, weight: np.ndarray, fine: int
) -> np.ndarray:
    """The twin of `relief.parallax`, as (V,2) float64; where a place appears when it is moved along the normal is found
    by moving it."""
    raster, normals = rasterize(mesh.vertices, mesh.faces, camera, fine), mesh.vertex_normals()
    depth, face = (raster[name][::fine, ::fine] for name in ("depth", "face"))
    share = raster["bary"][::fine, ::fine].astype(np.float64)
    share = np.dstack([share, 1 - share.sum(axis=2)])
    total = np.zeros((len(mesh.vertices), 2))
    for row, column in np.ndindex(camera.height - 2, camera.width - 2):
        around, middle = np.s_[row : row + 3, column : column + 3], (row + 1, column + 1)
        widths = JUMP * depth[around].max() / camera.fx
        if (weight[around] <= 0).any() or np.ptp(depth[around]) > widths:
            continue
        corners = mesh.faces[face[middle]]
        place, normal = share[middle] @ mesh.vertices[corners], share[middle] @ normals[corners]
        step = 1e-6 * float(depth[middle])
        (ahead, behind), _ = camera.project(np.array([place + step * normal, place - step * normal]))  # type: ignore[attr-defined]
        across, along = (ahead - behind) / (2 * step)
        four = shown[around].astype(np.float64)
        slope = -(across * (four[1, 2] - four[1, 0]) + along * (four[2, 1] - four[0, 1])) / 2
        told = weight[middle] * np.array([slope @ lack[middle].astype(np.float64), slope @ slope])
        total[corners] += share[middle][:, None] * told
    return total
