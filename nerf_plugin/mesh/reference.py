"""The slow, obvious twins of the kernels in this package: plain Python and NumPy, one thing at a time; the oracle in
tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nerf_plugin.mesh import fusion
from nerf_plugin.mesh.edges import APART, FAR, NEAR, PER_PIXEL
from nerf_plugin.mesh.marching import CLEARANCE
from nerf_plugin.mesh.table import CORNERS, EDGES, tables


def march_slow(
    samples: np.ndarray, iso: float, start: tuple[int, int, int], shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The twin of `marching.march`, cube by cube."""
    counts, triangles = tables()
    samples, iso = np.asarray(samples, np.float32).astype(np.float64), float(iso)
    solid = samples > iso
    where: dict[int, int] = {}
    vertices, faces = [], []
    crossings = []
    for lower in np.ndindex(samples.shape):
        for axis in range(3):
            upper = tuple(lower[d] + (d == axis) for d in range(3))
            if upper[axis] < samples.shape[axis] and solid[lower] != solid[upper]:
                crossings.append((lower, upper, axis))
    for lower, upper, axis in crossings:
        a, b = float(samples[lower]), float(samples[upper])
        position = np.array(start, np.float64) + lower
        position[axis] += min(max((iso - a) / (b - a), CLEARANCE), 1 - CLEARANCE)
        where[3 * int(np.ravel_multi_index(np.array(start) + lower, shape)) + axis] = len(vertices)
        vertices.append(position)
    for cell in np.ndindex(*(n - 1 for n in samples.shape)):
        case = sum(1 << c for c in range(8) if solid[tuple(np.array(cell) + CORNERS[c])])
        for triangle in triangles[case, : counts[case]]:
            face = []
            for axis, corner in EDGES[triangle]:
                lower = np.array(start) + cell + CORNERS[corner]
                face.append(where[3 * int(np.ravel_multi_index(lower, shape)) + int(axis)])
            faces.append(face)
    keys = np.fromiter(where.keys(), np.int64, len(where))
    return np.array(vertices, np.float64).reshape(-1, 3), np.array(faces, np.int32).reshape(-1, 3), keys


def distance_slow(point: np.ndarray, views: Sequence[dict[str, np.ndarray]], band: float) -> float:
    """The twin of `fusion.distances` for one point (3,) in world coordinates, view by view, with no shortcut for
    bricks."""
    total = weight = 0.0
    heard = False
    for view in views:
        depth, cam = view["depth"], view["camera"]
        x, y, z = (point - cam[9:12]) @ cam[:9].reshape(3, 3)
        if -z <= 1e-6:
            continue
        u, v = -x / z * cam[12] + cam[14], y / z * cam[13] + cam[15]
        if not (0 <= u < depth.shape[1] and 0 <= v < depth.shape[0]):
            continue
        heard = True
        value, w = _opinion(u, v, -z, view, band)
        total += value * w
        weight += w
    if weight > fusion._EVIDENCE * min(1.0, len(views) / 50):
        return total / weight
    return -1.0 if heard else 1.0


def _opinion(u: float, v: float, forward: float, view: dict[str, Any], band: float) -> tuple[float, float]:
    depth = view["depth"].astype(np.float64)
    nearest = depth[int(v), int(u)]
    if nearest <= 0:
        return min(1.0, -nearest * forward / (view["camera"][12] * band)), fusion._FREE_WEIGHT
    if nearest - forward < -fusion._BEHIND * band:
        return 0.0, 0.0
    across, there = float(view["slope"][int(v), int(u)]), nearest
    left, top = int(np.floor(u - 0.5)), int(np.floor(v - 0.5))
    if left >= 0 and top >= 0 and left + 1 < depth.shape[1] and top + 1 < depth.shape[0]:
        four = depth[top : top + 2, left : left + 2]
        if four.min() > 0 and four.max() - four.min() < band:
            s, t = u - 0.5 - left, v - 0.5 - top
            there = np.array([1 - t, t]) @ four @ np.array([1 - s, s])
        else:
            across = min(across, fusion._UNSURE)
    across = max(across, fusion._GRAZING)
    value = (there - forward) * across / band
    if value >= 1:
        return 1.0, fusion._FREE_WEIGHT
    fade = max(0.0, 1 + value / fusion._INNER) if value < 0 else 1.0
    return max(value, -1.0), across**2 * fade


def rasterize_slow(vertices: np.ndarray, faces: np.ndarray, camera: Any) -> tuple[np.ndarray, np.ndarray]:
    """The twin of `raster.rasterize`, pixel by pixel: (face (H,W), depth (H,W)) from where each pixel's ray meets each
    triangle's plane."""
    face = np.full((camera.height, camera.width), -1)
    depth = np.zeros((camera.height, camera.width))
    local = (vertices - camera.position) @ camera.rotation
    for row, column in np.ndindex(face.shape):
        ray = np.array([(column + 0.5 - camera.cx) / camera.fx, -(row + 0.5 - camera.cy) / camera.fy, -1.0])
        for f, corners in enumerate(faces):
            a, b, c = local[corners]
            matrix = np.column_stack([b - a, c - a, -ray])
            if abs(np.linalg.det(matrix)) < 1e-12:
                continue
            u, v, t = np.linalg.solve(matrix, -a)
            if u >= 0 and v >= 0 and u + v <= 1 and t > 0 and (face[row, column] < 0 or t < depth[row, column]):
                face[row, column], depth[row, column] = f, t
    return face, depth


def sweep_slow(
    mesh: Any,
    camera: Any,
    raster: dict[str, Any],
    fine: int,
    colors: np.ndarray,
    lack: np.ndarray,
    trust: np.ndarray,
) -> np.ndarray:
    """The twin of `edges.sweep`, as (V,2) float64; how fast a place moves in the picture is found by moving it."""
    normals, vertices, faces = mesh.vertex_normals(), mesh.vertices, mesh.faces
    points, depths = camera.project(vertices)
    total, told = np.zeros((len(vertices), 2)), []
    around: dict[frozenset[int], list[int]] = {}
    for f, corners in enumerate(faces.tolist()):
        for i in range(3):
            around.setdefault(frozenset((corners[i], corners[(i + 1) % 3])), []).append(f)
    for pair, sharing in around.items():
        turns = [bool(np.linalg.det(points[faces[f, 1:]] - points[faces[f, 0]]) < 0) for f in sharing]
        if sum(turns) != 1:
            continue
        a, b = sorted(pair)
        [other] = set(faces[sharing[turns.index(True)]].tolist()) - pair
        along = points[b] - points[a]
        length = float(np.linalg.norm(along))
        out = np.array([along[1], -along[0]]) / length
        out *= -np.sign(out @ (points[other] - points[a]))
        count = int(np.ceil(length * PER_PIXEL))
        for t in (np.arange(count) + 0.5) / count:
            x, y = points[a] + t * along
            row, column = int(np.floor(y)), int(np.floor(x))
            if not (1 <= row < trust.shape[0] - 1 and 1 <= column < trust.shape[1] - 1 and trust[row, column] > 0):
                continue
            z = 1 / ((1 - t) / depths[a] + t / depths[b])
            width = z / camera.fx
            inner, outer = (tuple((np.array([y, x]) + s * APART * out[::-1]) * fine // 1) for s in (-1, 1))
            inner, outer = (tuple(int(i) for i in place) for place in (inner, outer))
            before, behind = raster["depth"][inner], raster["depth"][outer]
            if before <= 0 or before < z - FAR * width or 0 < behind < z + NEAR * width:
                continue
            share = t * z / depths[b]
            place = (1 - share) * vertices[a] + share * vertices[b]
            step = 1e-6 * z * ((1 - share) * normals[a] + share * normals[b])
            (ahead, back), _ = camera.project(np.array([place + step, place - step]))
            speed = (ahead - back) @ out / (2e-6 * z) * length / count
            told.append((a, b, share, row, column, (colors[inner].astype(float) - colors[outer]) * speed))
    bound = np.zeros(trust.shape)
    for _, _, _, row, column, change in told:
        bound[row, column] += np.linalg.norm(change)
    for a, b, share, row, column, change in told:
        says = np.array([change @ lack[row, column], np.linalg.norm(change) * bound[row, column]]) * trust[row, column]
        total[a] += (1 - share) * says
        total[b] += share * says
    return total
