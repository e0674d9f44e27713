"""How pictures of a surface change where it hides what lies behind it.

Inside a face a picture changes smoothly as the surface moves along its normals; at an outline, against the background
or against a farther part of the surface, it changes because an edge sweeps over pixels. Per unit of offset a pixel
gains

    J = (colour before the edge - colour behind it) x length of the edge in the pixel x speed of the edge across itself

which is the boundary term of a rendered integral (Li et al., "Differentiable Monte Carlo ray tracing through edge
sampling", 2018, section 4.1). The outline is the mesh's own: edges between a face that looks at the camera and one that
does not, sampled every half pixel or closer, where nothing lies before them. What a pixel lacks of the photo is then
explained by the edges in it: each vertex sums J x lack, and |J| x (all |J| in the pixel), which is a bound of its row
of the normal equations, so that the quotient is a step that does not overshoot.

Colours are premultiplied and alpha is one of the channels, so outer outlines need no background.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nerf_plugin.kernels import kernel
from nerf_plugin.mesh.raster import CameraLike, _project, pack_camera
from nerf_plugin.mesh.surface import Mesh

APART = 0.75
"""Pixels from the edge at which the colours before and behind it are read."""
NEAR, FAR = 3.0, 15.0
"""Widths of a pixel: what lies less than the first behind an edge is a mere fold, what lies more than the second before
its inner side hides it."""
PER_PIXEL = 2.0
"""Samples of an edge."""


def hinges(faces: np.ndarray) -> np.ndarray:
    """(E,4) int32: both vertices of each edge with two faces, and these; ascending by the edge's vertices."""
    ends = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)
    key = ends.min(axis=1) * (int(faces.max()) + 1) + ends.max(axis=1)
    order = np.argsort(key, kind="stable")
    first = np.nonzero(key[order][1:] == key[order][:-1])[0]
    owner = np.repeat(np.arange(len(faces)), 3)
    return np.column_stack([ends[order[first]], owner[order[first]], owner[order[first + 1]]]).astype(np.int32)


@kernel
def _turned(points, faces):  # type: ignore[no-untyped-def]
    """1 for faces that look at the camera, 0 for others, 3 where a corner is behind it."""
    out = np.empty(len(faces), np.int8)
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        if points[a, 2] <= 1e-9 or points[b, 2] <= 1e-9 or points[c, 2] <= 1e-9:
            out[f] = 3
            continue
        across = (points[b, 0] - points[a, 0]) * (points[c, 1] - points[a, 1])
        out[f] = 1 if across < (points[c, 0] - points[a, 0]) * (points[b, 1] - points[a, 1]) else 0
    return out


@kernel
def _speed(vertices, normals, a, b, w, camera, ox, oy):  # type: ignore[no-untyped-def]
    """Pixels along (ox, oy) that the place (1 - w) a + w b moves in the picture for each unit along its normal."""
    cx, cy, cz, qx, qy, qz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(3):
        n = normals[a, k] * (1 - w) + normals[b, k] * w
        p = vertices[a, k] * (1 - w) + vertices[b, k] * w - camera[9 + k]
        cx += n * camera[3 * k]
        cy += n * camera[3 * k + 1]
        cz += n * camera[3 * k + 2]
        qx += p * camera[3 * k]
        qy += p * camera[3 * k + 1]
        qz += p * camera[3 * k + 2]
    return (camera[12] * (cx - qx * cz / qz) * ox - camera[13] * (cy - qy * cz / qz) * oy) / -qz


@kernel
def _sweep(
    points, faces, hinge, turned, depth, fine, colors, lack, trust, vertices, normals, camera, bound, total, last
):  # type: ignore[no-untyped-def]
    """First pass (not `last`): add |J| of each sample to bound (H,W). Last: add to total (V,2) what samples say."""
    height, width = trust.shape
    for e in range(len(hinge)):
        a, b, f, g = hinge[e, 0], hinge[e, 1], hinge[e, 2], hinge[e, 3]
        if turned[f] + turned[g] != 1:
            continue
        front = f if turned[f] == 1 else g
        other = faces[front, 0] + faces[front, 1] + faces[front, 2] - a - b
        dx, dy = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1]
        length = np.sqrt(dx * dx + dy * dy)
        if length <= 0.0:
            continue
        ox, oy = dy / length, -dx / length
        if ox * (points[other, 0] - points[a, 0]) + oy * (points[other, 1] - points[a, 1]) > 0.0:
            ox, oy = -ox, -oy
        count = int(np.ceil(length * PER_PIXEL))
        for s in range(count):
            t = (s + 0.5) / count
            x, y = points[a, 0] + t * dx, points[a, 1] + t * dy
            column, row = int(np.floor(x)), int(np.floor(y))
            # The picture's border cuts the object off; that is no outline.
            if row < 1 or column < 1 or row >= height - 1 or column >= width - 1 or trust[row, column] <= 0.0:
                continue
            z = 1.0 / ((1 - t) / points[a, 2] + t / points[b, 2])
            pixel = z / camera[12]
            i0, j0 = int((y - APART * oy) * fine), int((x - APART * ox) * fine)
            i1, j1 = int((y + APART * oy) * fine), int((x + APART * ox) * fine)
            before, behind = np.float64(depth[i0, j0]), np.float64(depth[i1, j1])
            if before <= 0.0 or before < z - FAR * pixel or (behind > 0.0 and behind < z + NEAR * pixel):
                continue
            w = t * z / points[b, 2]
            speed = _speed(vertices, normals, a, b, w, camera, ox, oy) * length / count
            square, wish = 0.0, 0.0
            for k in range(colors.shape[2]):
                step = np.float64(colors[i0, j0, k]) - np.float64(colors[i1, j1, k])
                square += step * step
                wish += step * np.float64(lack[row, column, k])
            size = np.sqrt(square) * abs(speed)
            if not last:
                bound[row, column] += size
                continue
            wish *= speed * np.float64(trust[row, column])
            evidence = size * bound[row, column] * np.float64(trust[row, column])
            total[a, 0] += (1 - w) * wish
            total[a, 1] += (1 - w) * evidence
            total[b, 0] += w * wish
            total[b, 1] += w * evidence


def sweep(
    mesh: Mesh,
    normals: np.ndarray,
    hinge: np.ndarray,
    camera: CameraLike,
    raster: dict[str, Any],
    fine: int,
    colors: np.ndarray,
    lack: np.ndarray,
    trust: np.ndarray,
    total: np.ndarray,
) -> None:
    """What the edges in one view say about the vertices' offsets, added to total (V,2) float64 as `relief.parallax`
    does.

    normals (V,3) unit; hinge: `hinges` of the mesh's faces; raster: `raster.rasterize` with `fine` samples along a
    pixel's side; colors (H fine, W fine, C) float32: each sample's, premultiplied; lack (H,W,C) float32: photo less
    picture, in the same unit; trust (H,W) float32: what each pixel's word counts, 0 where it has none.
    """
    camera_ = pack_camera(camera)
    vertices, faces = np.ascontiguousarray(mesh.vertices, np.float64), np.ascontiguousarray(mesh.faces, np.int32)
    points = _project(vertices, camera_)
    turned, bound, depth = _turned(points, faces), np.zeros(trust.shape), raster["depth"]
    seen = (points, faces, hinge, turned, depth, fine, colors, lack, trust)
    for last in (False, True):
        _sweep(*seen, vertices, normals, camera_, bound, total, last)
