"""The texture's colours, from the photos.

Every texel is a place on the surface with a normal. A photo speaks about it where the place is in the picture, faces
the camera, is not hidden (the mesh's own z-buffer, eroded by a pixel so that an occluder's blurred edge does not
print through) and lies safely inside the object's mask. What it says weighs

    cos(angle)^4 x (pixels per length, relative to the best view) x distance to the mask's edge (up to 4 pixels)

and each of these falls to zero continuously, so neither charts nor changes of view leave a seam that would need
levelling. Views that disagree with the weighted mean of all (highlights, passers-by, wrong poses) lose their say by a
Gaussian of the difference; the spread that is normal is measured texel by texel.

A mean of many photos is calm but soft, the best photo sharp but patchy. So two bands are blended apart (Burt and
Adelson 1983, with two levels): colours blurred over a few pixels by those weights, what the blur took away by their
fourth power, that is almost from the best view alone.

Texels that no photo sees take the field's colour where a field is given, and else the nearest texel's on the
surface's texture. The work is cut into bands of texture rows, a fixed list: one map task each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, minimum_filter

from nerf_plugin.kernels import kernel
from nerf_plugin.memory import let_go_of
from nerf_plugin.mesh.raster import CameraLike, _rasterize, pack_camera, rasterize
from nerf_plugin.mesh.surface import Mesh, MeshError
from nerf_plugin.texture.atlas import Atlas

BANDS = 32
BLUR = 2.0
"""Sigma in pixels that divides low from high frequencies."""
_LEAST_COSINE = 0.15
_SHARPEN = 4.0
FillFn = Callable[[np.ndarray, np.ndarray], np.ndarray]


def photo_view(photo: np.ndarray, camera: CameraLike, mesh: Mesh) -> dict[str, np.ndarray]:
    """Map: what one photo knows.

    photo: (H,W,4) uint8 RGBA, straight alpha. Returns {color (H,W,6) float32: blurred RGB, then what the blur took,
    0..1 sRGB values; safe (H,W) float32 pixels to the mask's edge; depth (H,W) float32 nearest surface within a
    pixel; camera (16,) float64}.
    """
    if photo.shape != (camera.height, camera.width, 4) or photo.dtype != np.uint8:
        raise MeshError(
            f"photo {photo.shape} {photo.dtype} does not match a camera of {camera.width}x{camera.height} RGBA"
        )
    alpha = photo[..., 3] / 255.0
    rgb = photo[..., :3] / 255.0
    # Blurred within the mask only: the background has no part in the object's colours.
    share = gaussian_filter(alpha, BLUR)
    low = (
        np.stack([gaussian_filter(rgb[..., c] * alpha, BLUR) for c in range(3)], -1)
        / np.maximum(share, 1e-6)[..., None]
    )
    solid = photo[..., 3] >= 250
    safe = distance_transform_edt(solid) - 1.0 if not solid.all() else np.full(solid.shape, np.inf)
    rows, columns = np.ogrid[: camera.height, : camera.width]
    border = np.minimum(np.minimum(rows, camera.height - 1 - rows), np.minimum(columns, camera.width - 1 - columns))
    safe = np.clip(np.minimum(safe, border), 0.0, 4.0)
    depth = rasterize(mesh.vertices, mesh.faces, camera, closed=True)["depth"]
    depth = minimum_filter(np.where(depth > 0, depth, np.inf), 3)
    return {
        "color": np.concatenate([low, rgb - low], axis=-1).astype(np.float32),
        "safe": safe.astype(np.float32),
        "depth": depth.astype(np.float32),
        "camera": pack_camera(camera),
    }


@kernel
def _weigh(position, normal, safe, depth, r, tolerance):  # type: ignore[no-untyped-def]
    """(weight, u, v) of one view for one texel; weight 0 where it does not see it."""
    dx, dy, dz = position[0] - r[9], position[1] - r[10], position[2] - r[11]
    z = -(dx * r[2] + dy * r[5] + dz * r[8])
    if z <= 1e-6:
        return 0.0, 0.0, 0.0
    cosine = -(dx * normal[0] + dy * normal[1] + dz * normal[2]) / np.sqrt(dx * dx + dy * dy + dz * dz)
    if cosine <= _LEAST_COSINE:
        return 0.0, 0.0, 0.0
    u = (dx * r[0] + dy * r[3] + dz * r[6]) / z * r[12] + r[14]
    v = -(dx * r[1] + dy * r[4] + dz * r[7]) / z * r[13] + r[15]
    height, width = depth.shape
    if u < 0.5 or v < 0.5 or u >= width - 0.5 or v >= height - 0.5:
        return 0.0, 0.0, 0.0
    room = np.float64(safe[int(v), int(u)])
    if room <= 0.0:
        return 0.0, 0.0, 0.0
    # The z-buffer holds the nearest surface within a pixel and a half, which on a slope lies nearer by this much.
    slack = tolerance + 2.5 * z / r[12] * np.sqrt(1.0 - cosine * cosine) / cosine
    if z > depth[int(v), int(u)] + slack:
        return 0.0, 0.0, 0.0
    facing = (cosine - _LEAST_COSINE) / (1.0 - _LEAST_COSINE)
    sharpness = (r[12] / z) ** 2
    return facing * facing * facing * facing * sharpness * room * 0.25, u, v


@kernel
def _gather(positions, normals, color, safe, depth, camera, tolerance, unit, first, mean, spread, total):  # type: ignore[no-untyped-def]
    """Add one view. First pass: total[:, 0] weights, [:, 1:4] low colours, [:, 4:7] their squares. Second pass, with
    the mean and spread of the first: [:, 0] weights and [:, 1:4] low colours, [:, 4] sharpened weights and [:, 5:8]
    high colours."""
    sample = np.empty(6)
    for i in range(len(positions)):
        weight, u, v = _weigh(positions[i], normals[i], safe, depth, camera, tolerance)
        if weight <= 0.0:
            continue
        weight = weight / unit
        left, top = int(u - 0.5), int(v - 0.5)
        s, t = u - 0.5 - left, v - 0.5 - top
        for c in range(6):
            above = color[top, left, c] * (1 - s) + color[top, left + 1, c] * s
            below = color[top + 1, left, c] * (1 - s) + color[top + 1, left + 1, c] * s
            sample[c] = above * (1 - t) + below * t
        if first:
            total[i, 0] += weight
            for c in range(3):
                total[i, 1 + c] += weight * sample[c]
                total[i, 4 + c] += weight * sample[c] * sample[c]
        else:
            off = 0.0
            for c in range(3):
                off += (sample[c] - mean[i, c]) ** 2
            weight *= np.exp(-0.5 * off / spread[i])
            total[i, 0] += weight
            sharp = weight**_SHARPEN
            total[i, 4] += sharp
            for c in range(3):
                total[i, 1 + c] += weight * sample[c]
                total[i, 5 + c] += sharp * sample[3 + c]


def blend(
    positions: np.ndarray, normals: np.ndarray, views: Sequence[dict[str, np.ndarray]], tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Colours (N,3) float32 and weights (N,) float32 (0: unseen) of places (N,3) with unit normals (N,3); views in
    their order."""
    count = len(positions)
    positions = np.ascontiguousarray(positions, np.float64)
    normals = np.ascontiguousarray(normals, np.float64)
    none = np.zeros((0, 3)), np.zeros(0)
    # Weights relative to a typical view, so that sharpening neither over- nor underflows.
    center = positions.mean(axis=0) if count else np.zeros(3)
    unit = max([float((v["camera"][12] / np.linalg.norm(center - v["camera"][9:12])) ** 2) for v in views] or [1.0])
    first = np.zeros((count, 7))
    for view in views:
        arrays = (view["color"], view["safe"], view["depth"], view["camera"])
        _gather(positions, normals, *arrays, tolerance, unit, True, *none, first)
        let_go_of(view)
    weight = np.maximum(first[:, :1], 1e-12)
    mean = first[:, 1:4] / weight
    spread = np.maximum(first[:, 4:7] / weight - mean**2, 0).sum(axis=1) + 0.03**2
    second = np.zeros((count, 8))
    for view in views:
        arrays = (view["color"], view["safe"], view["depth"], view["camera"])
        _gather(positions, normals, *arrays, tolerance, unit, False, mean, spread, second)
        let_go_of(view)
    low = second[:, 1:4] / np.maximum(second[:, :1], 1e-12)
    high = second[:, 5:8] / np.maximum(second[:, 4:5], 1e-30)
    return np.clip(low + high, 0, 1).astype(np.float32), second[:, 0].astype(np.float32)


def bake_bands(size: int, bands: int = BANDS) -> list[dict[str, int]]:
    """Bands of texture rows: {first, last (exclusive), size}; a fixed list. `size` texels a side, 16 to 8192."""
    if not 16 <= size <= 8192:
        raise MeshError(f"a texture of {size} texels a side is not between 16 and 8192")
    edges = np.linspace(0, size, min(bands, size) + 1).astype(int)
    return [{"first": int(a), "last": int(b), "size": int(size)} for a, b in pairwise(edges)]


def band_texels(mesh: Mesh, atlas: Atlas, band: dict[str, int]) -> dict[str, np.ndarray]:
    """Texels of a band that charts cover: {texel (N,) int64 row * size + column; position, normal (N,3) float64
    (unit)}."""
    size, first, last = band["size"], band["first"], band["last"]
    flat = np.column_stack([atlas.uv[:, 0] * size, (1 - atlas.uv[:, 1]) * size - first, np.ones(len(atlas.uv))])
    low, high = (op(flat[atlas.faces, 1], axis=1) for op in (np.min, np.max))
    near = np.nonzero((high >= 0) & (low <= last - first))[0]
    face, _, bary = _rasterize(flat, atlas.faces[near], size, last - first, False)
    rows, columns = np.nonzero(face >= 0)
    hit = near[face[rows, columns]]
    u, v = bary[rows, columns, 0:1].astype(np.float64), bary[rows, columns, 1:2].astype(np.float64)
    corners = mesh.faces[hit]
    smooth = mesh.vertex_normals()
    position, normal = (
        x[corners[:, 0]] * u + x[corners[:, 1]] * v + x[corners[:, 2]] * (1 - u - v) for x in (mesh.vertices, smooth)
    )
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    return {"texel": (rows + first).astype(np.int64) * size + columns, "position": position, "normal": normal}


def bake_band(
    mesh: Mesh,
    atlas: Atlas,
    views: Sequence[dict[str, np.ndarray]],
    band: dict[str, int],
    fill: FillFn | None = None,
    tolerance: float | None = None,
) -> dict[str, np.ndarray]:
    """Map: the colours of one band.

    fill: colours (N,3) of places and normals that no photo sees, for instance from the field; tolerance: how far, in
    world units, the mesh may be from what the z-buffer holds (a 500th of the box's diagonal where not given). Returns
    {texel (N,) int64, color (N,3) float32, seen (N,) bool, known (N,) bool: seen or filled}.
    """
    texels = band_texels(mesh, atlas, band)
    if tolerance is None:
        tolerance = float(np.linalg.norm(np.ptp(mesh.vertices, axis=0))) / 500
    color, weight = blend(texels["position"], texels["normal"], views, tolerance)
    seen = weight > 1e-6
    known = seen.copy()
    if fill is not None and not seen.all():
        color[~seen] = fill(texels["position"][~seen], texels["normal"][~seen])
        known[:] = True
    return {"texel": texels["texel"], "color": color, "seen": seen, "known": known}


def assemble(parts: Sequence[dict[str, np.ndarray]], size: int) -> tuple[np.ndarray, dict[str, float]]:
    """Reduce: the texture (size,size,3) uint8 from all bands, and {covered, seen}: shares of the square and of the
    charts.

    Whatever no chart or no photo fills takes the nearest known texel, so that neither bilinear lookups nor mipmaps
    bring in a background colour.
    """
    image = np.zeros((size * size, 3), np.uint8)
    known = np.zeros(size * size, bool)
    covered = seen = 0
    for part in parts:
        image[part["texel"]] = np.rint(part["color"] * 255)
        known[part["texel"]] = part["known"]
        covered += len(part["texel"])
        seen += int(part["seen"].sum())
    if not known.any():
        raise MeshError("no photo sees any of the surface, and there is no field to colour it: check the cameras")
    if not known.all():
        nearest = distance_transform_edt(~known.reshape(size, size), return_distances=False, return_indices=True)
        image = image.reshape(size, size, 3)[nearest[0], nearest[1]]
    return image.reshape(size, size, 3), {"covered": covered / size**2, "seen": seen / max(covered, 1)}
