"""Rendered depth fused into a signed distance (Curless and Levoy 1996), block by block, closed by construction.

Three pure steps:

    views = [depth_view(rendering.depth, camera) for ...]            # map: one view
    plan = plan_lattice(views, resolution)                           # reduce: where the surface is
    parts = [fuse_block(views, plan, block) for block in plan_blocks(plan)]    # map: one block
    mesh = merge(parts)                                              # reduce

The value at a lattice point is a pure function of the point, the views and the plan, so blocks agree on the layer
they share. Every view in which the point lies speaks about it:

- near the depth seen there: the distance along the ray times the cosine between ray and normal, which is the distance
  to the plane tangent to what the pixel saw; weighted by the cosine squared, so that grazing views, whose depth errs
  most, count least;
- far before it, or past the silhouette: empty, with a small weight each, as there are many such views and each is
  coarse. Past the silhouette the distance in the image to the nearest object pixel bounds the distance in space from
  below, and only that is claimed;
- far behind it: nothing.

A point about which hardly any view speaks is inside the hull of all silhouettes and behind every surface: it counts
as solid, so what no camera saw is closed. Where no camera stands beneath the object, that would fill the shadow under
it; `cap` cuts it flat at the lowest surface seen.

Bricks of 8 cubes a side that lie away from the surface are decided once, at their centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt, uniform_filter

from nerf_plugin.kernels import kernel
from nerf_plugin.mesh.blocks import BLOCK, blocks, extract_samples
from nerf_plugin.mesh.raster import CameraLike, pack_camera, ray_lengths
from nerf_plugin.mesh.surface import MeshError

BAND = 5.0
"""Half width of the band around the surface, in voxels."""
BRICK = 8
EMPTY, SOLID, SURFACE = 0, 1, 2
TILE = 8
_FREE_WEIGHT = 0.1
_GRAZING = 0.15
_UNSURE = 0.3
_INNER = 0.6
_BEHIND = 2.0
_EVIDENCE = 0.25
_UNDER = 0.25


def depth_view(depth: np.ndarray, camera: CameraLike) -> dict[str, np.ndarray]:
    """Map: what one view knows.

    depth: (H,W) distance along the ray of each pixel, 0 where there is no surface. Returns {depth (H,W) float32:
    depth along the viewing axis, or minus the distance in pixels to the nearest object pixel where there is none;
    slope (H,W) float32: what a difference of depth is worth as distance to the tangent plane; range (h,w,2) float32:
    least and greatest `depth` of each tile of 8x8 pixels; camera (16,) float64}.
    """
    depth = np.asarray(depth, np.float32)
    if depth.shape != (camera.height, camera.width):
        raise MeshError(f"depth {depth.shape} does not match a camera of {camera.width}x{camera.height}")
    if not np.isfinite(depth).all() or (depth < 0).any():
        raise MeshError("a depth image holds negative values or values that are not finite: the field is damaged")
    seen = depth > 0
    packed = pack_camera(camera)
    if not seen.any():
        values, slope = np.full(depth.shape, -float(max(depth.shape)), np.float32), np.zeros(depth.shape, np.float32)
        return {"depth": values, "slope": slope, "range": _tiles(values), "camera": packed}
    lengths = ray_lengths(camera)
    x = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    y = -(np.arange(camera.height) + 0.5 - camera.cy) / camera.fy
    rays = np.stack(np.broadcast_arrays(x[None, :], y[:, None], -1.0), axis=-1)
    axial = np.where(seen, depth / lengths, 0).astype(np.float64)
    # The normal comes from depth averaged over the object's pixels in a 3x3 window.
    share = uniform_filter(seen.astype(np.float64), 3)
    points = rays * (uniform_filter(axial, 3) / np.maximum(share, 1e-6))[..., None]
    normal = np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0))
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-20)
    slope = np.abs(np.einsum("ijk,ijk->ij", normal, rays)) * seen
    inner = distance_transform_edt(np.pad(seen, 1))[1:-1, 1:-1]
    slope = np.where(inner > 1.5, slope, np.minimum(slope, _UNSURE))
    outer = distance_transform_edt(~seen)
    values = np.where(seen, axial, -np.maximum(outer - 0.5, 0.01)).astype(np.float32)
    return {"depth": values, "slope": slope.astype(np.float32), "range": _tiles(values), "camera": packed}


def _tiles(values: np.ndarray) -> np.ndarray:
    """(ceil(H/8), ceil(W/8), 2) float32 least and greatest value of each tile."""
    height, width = values.shape
    padded = np.pad(values, ((0, -height % TILE), (0, -width % TILE)), mode="edge")
    cut = padded.reshape(padded.shape[0] // TILE, TILE, padded.shape[1] // TILE, TILE)
    return np.ascontiguousarray(np.stack([cut.min(axis=(1, 3)), cut.max(axis=(1, 3))], axis=-1))


def view_points(view: dict[str, np.ndarray], stride: int = 1) -> np.ndarray:
    """(N,3) float64 world positions of what a view's pixels see."""
    depth, cam = view["depth"], view["camera"]
    rows, columns = np.nonzero(depth[::stride, ::stride] > 0)
    rows, columns = rows * stride, columns * stride
    local = np.stack(
        [(columns + 0.5 - cam[14]) / cam[12], -(rows + 0.5 - cam[15]) / cam[13], np.full(len(rows), -1.0)], axis=1
    )
    local *= depth[rows, columns][:, None]
    return local @ cam[:9].reshape(3, 3).T + cam[9:12]


@kernel
def _speak(u, v, forward, depth, slope, focal, band):  # type: ignore[no-untyped-def]
    """One view about one point at image coordinates (u, v), inside the image, and depth `forward`: (value in -1..1,
    positive outside; weight, 0 where it has nothing to say)."""
    height, width = depth.shape
    nearest = np.float64(depth[int(v), int(u)])
    if nearest <= 0.0:
        return min(1.0, -nearest * forward / (focal * band)), _FREE_WEIGHT
    if nearest - forward < -_BEHIND * band:
        return 0.0, 0.0
    across = np.float64(slope[int(v), int(u)])
    left, top = int(np.floor(u - 0.5)), int(np.floor(v - 0.5))
    there = nearest
    if left >= 0 and top >= 0 and left + 1 < width and top + 1 < height:
        a, b = np.float64(depth[top, left]), np.float64(depth[top, left + 1])
        c, d = np.float64(depth[top + 1, left]), np.float64(depth[top + 1, left + 1])
        low = min(a, b, c, d)
        if low > 0.0 and max(a, b, c, d) - low < band:
            s, t = u - 0.5 - left, v - 0.5 - top
            there = (a * (1 - s) + b * s) * (1 - t) + (c * (1 - s) + d * s) * t
        else:
            across = min(across, _UNSURE)
    across = max(across, _GRAZING)
    value = (there - forward) * across / band
    if value >= 1.0:
        return 1.0, _FREE_WEIGHT
    weight = across * across
    if value < 0.0:
        weight *= max(0.0, 1.0 + value / _INNER)
    return max(value, -1.0), weight


@kernel
def _fuse(total, weight, heard, state, start, lo, voxel, depth, slope, tiles, camera, band):  # type: ignore[no-untyped-def]
    """Add one view to the samples of one block that lie in bricks of state SURFACE."""
    nx, ny, nz = total.shape
    height, width = depth.shape
    r = camera
    reach = 0.5 * np.sqrt(3.0) * BRICK * voxel
    half = 0.5 * BRICK * voxel
    for bx in range(start[0] // BRICK, (start[0] + nx - 1) // BRICK + 1):
        for by in range(start[1] // BRICK, (start[1] + ny - 1) // BRICK + 1):
            for bz in range(start[2] // BRICK, (start[2] + nz - 1) // BRICK + 1):
                if state[bx, by, bz] != SURFACE:
                    continue
                # Camera coordinates are linear in the sample's place within its brick.
                dx = lo[0] + voxel * (bx * BRICK) - r[9]
                dy = lo[1] + voxel * (by * BRICK) - r[10]
                dz = lo[2] + voxel * (bz * BRICK) - r[11]
                x0 = (dx * r[0] + dy * r[3] + dz * r[6]) * r[12]
                y0 = -(dx * r[1] + dy * r[4] + dz * r[7]) * r[13]
                z0 = -(dx * r[2] + dy * r[5] + dz * r[8])
                zc = z0 - half * (r[2] + r[5] + r[8])
                verdict = 0  # 0: ask for each sample, 1: empty for all, 2: hidden for all
                if zc > 2.0 * reach:
                    uc = (x0 + half * (r[0] + r[3] + r[6]) * r[12]) / zc + r[14]
                    vc = (y0 - half * (r[1] + r[4] + r[7]) * r[13]) / zc + r[15]
                    spread = reach * max(r[12], r[13]) / (zc - reach) * 1.5 + 2.0
                    if uc + spread < 0 or vc + spread < 0 or uc - spread >= width or vc - spread >= height:
                        continue
                    if uc - spread >= 0 and vc - spread >= 0 and uc + spread < width and vc + spread < height:
                        low, high = np.inf, -np.inf
                        for row in range(int(vc - spread) // TILE, int(vc + spread) // TILE + 1):
                            for column in range(int(uc - spread) // TILE, int(uc + spread) // TILE + 1):
                                low = min(low, np.float64(tiles[row, column, 0]))
                                high = max(high, np.float64(tiles[row, column, 1]))
                        if high <= 0.0 and -high * (zc - reach) > r[12] * band:
                            verdict = 1
                        elif low > zc + reach + band / _GRAZING:
                            verdict = 1
                        elif low > 0.0 and high < zc - reach - _BEHIND * band:
                            verdict = 2
                i0, i1 = max(0, start[0] - bx * BRICK), min(BRICK, start[0] + nx - bx * BRICK)
                j0, j1 = max(0, start[1] - by * BRICK), min(BRICK, start[1] + ny - by * BRICK)
                k0, k1 = max(0, start[2] - bz * BRICK), min(BRICK, start[2] + nz - bz * BRICK)
                for i in range(i0, i1):
                    for j in range(j0, j1):
                        for k in range(k0, k1):
                            a = bx * BRICK + i - start[0]
                            b = by * BRICK + j - start[1]
                            c = bz * BRICK + k - start[2]
                            if verdict > 0:
                                heard[a, b, c] = True
                                if verdict == 1:
                                    total[a, b, c] += _FREE_WEIGHT
                                    weight[a, b, c] += _FREE_WEIGHT
                                continue
                            z = z0 - voxel * (i * r[2] + j * r[5] + k * r[8])
                            if z <= 1e-6:
                                continue
                            u = (x0 + voxel * (i * r[0] + j * r[3] + k * r[6]) * r[12]) / z + r[14]
                            v = (y0 - voxel * (i * r[1] + j * r[4] + k * r[7]) * r[13]) / z + r[15]
                            if u < 0.0 or v < 0.0 or u >= width or v >= height:
                                continue
                            heard[a, b, c] = True
                            value, w = _speak(u, v, z, depth, slope, r[12], band)
                            total[a, b, c] += value * w
                            weight[a, b, c] += w


def distances(views: Sequence[dict[str, np.ndarray]], plan: dict[str, Any], block: dict[str, Any]) -> np.ndarray:
    """(a,b,c) float32: signed distance over the band, -1..1, positive outside, at those samples of a block that lie
    in bricks of state SURFACE (0 elsewhere).

    Views are added in their order. A sample that lies in no view's image is outside; one that lies in some and is
    hidden in all is inside.
    """
    shape = tuple(block["samples"])
    total, weight, heard = np.zeros(shape), np.zeros(shape), np.zeros(shape, np.bool_)
    start, lo = np.asarray(block["start"], np.int64), np.asarray(block["lo"], np.float64)
    for view in views:
        arrays = (view["depth"], view["slope"], view["range"], view["camera"])
        _fuse(total, weight, heard, plan["state"], start, lo, block["voxel"], *arrays, plan["band"])
    least = _EVIDENCE * min(1.0, len(views) / 50)
    value = np.where(weight > least, total / np.maximum(weight, 1e-12), np.where(heard, -1.0, 1.0))
    return value.astype(np.float32)


def camera_up(views: Sequence[dict[str, np.ndarray]]) -> np.ndarray:
    """(3,) float64 unit: the cameras' mean up; the nearest axis where that is within 20 degrees."""
    up = np.sum([view["camera"][[1, 4, 7]] for view in views], axis=0)
    if np.linalg.norm(up) < 0.1 * len(views):
        return np.array([0.0, 0.0, 1.0])
    up /= np.linalg.norm(up)
    axis = int(np.abs(up).argmax())
    snapped = np.eye(3)[axis] * np.sign(up[axis])
    return snapped if up @ snapped > np.cos(np.radians(20)) else up


def bottom_of(heights: np.ndarray, voxel: float) -> float:
    """Where things end below: heights (N,) of points seen, along up; all in world units.

    Seen at grazing angles, an underside is a spray of points up to a few voxels lower than it is. Above it the points
    of a thing's sides lie as dense from one height to the next; so the bottom is where half of that density is
    reached, at most three voxels above the lowest points, and at these where the density grows slowly.
    """
    lowest = float(np.percentile(heights, 0.05, method="lower"))
    counts = np.histogram(heights, bins=lowest + 0.5 * voxel * np.arange(25))[0]
    dense = np.nonzero(counts[:7] >= 0.5 * np.median(counts[12:]))[0]
    return lowest + 0.5 * voxel * int(dense[0]) if len(dense) else lowest


def _looks_up(place: np.ndarray, middle: np.ndarray, up: np.ndarray, bottom: float) -> bool:
    """Whether a camera at `place` sees the underside of what ends at height `bottom` well enough to say what it is."""
    below = bottom - float(place @ up)
    away = place - middle
    return below > _UNDER * float(np.linalg.norm(away - (away @ up) * up))


def plan_lattice(
    views: Sequence[dict[str, np.ndarray]], resolution: int = 256, cap: bool = True, margin: float = 0.02
) -> dict[str, Any]:
    """Reduce: the lattice, and what each of its bricks is.

    The box is that of the points seen (but for one in 10,000 on each side), with a margin; `resolution` cubes along
    its longest side. Returns {lo (3), voxel, resolution (3), band, state (bricks) uint8: EMPTY, SOLID or SURFACE,
    cap: [nx,ny,nz,offset] or None}. The cap removes what lies below the lowest surface seen, as the cameras have up
    and down, where (almost) no camera looks at the underside from more than 14 degrees below it.
    """
    if resolution < 8:
        raise MeshError(f"a lattice of {resolution} cubes is too coarse for a surface; use at least 8")
    points = [view_points(view) for view in views]
    everything = np.concatenate(points) if points else np.zeros((0, 3))
    if len(everything) < 100:
        raise MeshError(
            "there is no surface: no view sees anything opaque; train longer, check that the photos are not "
            "all transparent and that the cameras look at the object"
        )
    low, high = np.percentile(everything, [0.01, 99.99], axis=0, method="lower")
    pad = margin * (high - low).max()
    low, high = low - pad, high + pad
    voxel = float((high - low).max() / resolution)
    cells = np.maximum(np.ceil((high - low) / voxel).astype(int), 1)
    band = BAND * voxel
    plane = None
    up = camera_up(views)
    bottom = bottom_of(everything @ up, voxel)
    middle = everything.mean(axis=0)
    beneath = sum(_looks_up(view["camera"][9:12], middle, up, bottom) for view in views)
    if cap and beneath <= 0.02 * len(views):
        plane = [*(-up).tolist(), -bottom]
    plan: dict[str, Any] = {
        "lo": low.tolist(),
        "voxel": voxel,
        "resolution": cells.tolist(),
        "band": band,
        "cap": plane,
    }
    # Samples run from one voxel below lo, as in mesh.blocks.
    origin = low - voxel
    shape = -(-(cells + 3) // BRICK)
    near = np.zeros(shape, bool)
    for seen in points:
        place = np.floor((seen - origin) / (voxel * BRICK)).astype(int)
        place = place[((place >= 0) & (place < shape)).all(axis=1)]
        near[place[:, 0], place[:, 1], place[:, 2]] = True
    near = binary_dilation(near, np.ones((3, 3, 3), bool))
    # A lattice with one sample a brick, at its middle.
    coarse = {
        "start": [0, 0, 0],
        "samples": shape.tolist(),
        "lo": (origin + 0.5 * BRICK * voxel).tolist(),
        "voxel": voxel * BRICK,
    }
    everywhere = {"band": band, "state": np.full(-(-shape // BRICK), SURFACE, np.uint8)}
    solid = distances(views, everywhere, coarse) < 0
    mixed = binary_dilation(solid, np.ones((3, 3, 3), bool)) & binary_dilation(~solid, np.ones((3, 3, 3), bool))
    plan["state"] = np.where(near | mixed, SURFACE, np.where(solid, SOLID, EMPTY)).astype(np.uint8)
    return plan


def plan_blocks(plan: dict[str, Any], size: int = BLOCK) -> list[dict[str, Any]]:
    """The blocks of a plan that can hold surface; a fixed list."""
    state = plan["state"]
    chosen = []
    for block in blocks(plan["lo"], plan["voxel"], plan["resolution"], size):
        extent = list(zip(block["start"], block["samples"], block["shape"], strict=True))
        inside = state[tuple(slice(s // BRICK, (s + n - 1) // BRICK + 1) for s, n, _ in extent)]
        edge = any(s == 0 or s + n == end for s, n, end in extent)
        if (inside == SURFACE).any() or inside.min() != inside.max() or (edge and inside.max() != EMPTY):
            chosen.append(block)
    return chosen


def _smooth(values: np.ndarray) -> np.ndarray:
    """The binomial filter 1 2 1 along each axis, ends repeated: noise of the width of a sample goes, planes stay."""
    for axis in range(3):
        padded = np.pad(values, [(1, 1) if d == axis else (0, 0) for d in range(3)], mode="edge")
        below, here, above = (np.take(padded, range(i, i + values.shape[axis]), axis=axis) for i in range(3))
        values = (below + above) * np.float32(1 / 4) + here * np.float32(1 / 2)
    return values


def block_distances(views: Sequence[dict[str, np.ndarray]], plan: dict[str, Any], block: dict[str, Any]) -> np.ndarray:
    """(a,b,c) float32 signed distances over the band at a block's samples, slightly smoothed; positive
    outside."""
    # One sample more on every side, as far as the lattice goes, so that neighbours smooth with the same values.
    start = np.maximum(np.asarray(block["start"]) - 1, 0)
    stop = np.minimum(np.asarray(block["start"]) + block["samples"] + 1, block["shape"])
    wide = {**block, "start": start.tolist(), "samples": (stop - start).tolist()}
    inner = tuple(
        slice(s - w, s - w + n) for s, w, n in zip(block["start"], wide["start"], block["samples"], strict=True)
    )
    index = [s + np.arange(n) for s, n in zip(wide["start"], wide["samples"], strict=True)]
    state = plan["state"][np.ix_(*(i // BRICK for i in index))]
    values = np.where(state == SOLID, np.float32(-1), np.float32(1))
    if (state == SURFACE).any():
        values = np.where(state == SURFACE, distances(views, plan, wide), values)
    values = _smooth(values)[inner]
    if plan["cap"] is not None:
        nx, ny, nz, offset = plan["cap"]
        lo, voxel = np.asarray(block["lo"]), block["voxel"]
        axes = [
            lo[d] + voxel * (block["start"][d] + np.arange(block["samples"][d], dtype=np.float64)) for d in range(3)
        ]
        height = axes[0][:, None, None] * nx + axes[1][None, :, None] * ny + axes[2][None, None, :] * nz - offset
        values = np.maximum(values, np.clip(height / plan["band"], -1, 1).astype(np.float32))
    return values


def fuse_block(
    views: Sequence[dict[str, np.ndarray]], plan: dict[str, Any], block: dict[str, Any]
) -> dict[str, np.ndarray]:
    """Map: the surface inside one block; the output of `extract_block`."""
    return extract_samples(-block_distances(views, plan, block), block, 0.0, empty=-1.0)
