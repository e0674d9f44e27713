"""The surface's relief, from the colours of the photos.

Depth from a field is smooth where the surface is rough: hair, folds and ears come out softer than they are. The photos
know better, once there is a texture. Where the surface lies too deep or too high by an offset along its normal, its
texture appears moved in each picture, one way for cameras on this side and the other way for those on the other
(parallax), so what a picture of the mesh lacks of the photo is

    photo - picture = offset x J,    J = -(gradient of the picture) . d(place in the picture) / d(offset)

and the offset is its least squares solution over all pixels that show a vertex, in all views: Lucas and Kanade's
registration ("An iterative image registration technique", 1981, section 4) with one unknown a vertex. What all views
lack alike is the texture's fault and takes no part, as J has either sign. Plain places say nothing; they are left where
they are by a third of the median evidence, and neighbours share what they know (one step of a mean).

It rides on the texture's polish, which has the pictures and what they lack. Left out is what that leaves out, and
pixels at a jump of depth, where the gradient is not the texture's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nerf_plugin.kernels import kernel
from nerf_plugin.mesh.smooth import neighbours
from nerf_plugin.mesh.surface import Mesh

JUMP = 5.0
"""Difference of depth around a pixel, in widths of the pixel there, that the surface does not have without a jump."""
_SPREAD = 1
_PULL = 0.3


@kernel
def _parallax(face, bary, depth, fine, shown, lack, weight, vertices, normals, faces, camera, total):  # type: ignore[no-untyped-def]
    """Add what each pixel says of the corners it shows to total (V,2): J x lack, and J x J.

    face, bary, depth: a raster of `fine` samples along each side of a pixel, whose first stands for it. shown, lack:
    (H,W,3), weight: (H,W), 0 where a pixel has nothing to say.
    """
    height, width = weight.shape
    share, n, p, c, q = np.empty(3), np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    for row in range(1, height - 1):
        for column in range(1, width - 1):
            if weight[row, column] <= 0.0:
                continue
            low, high, whole = np.inf, 0.0, True
            for i in range(row - 1, row + 2):
                for j in range(column - 1, column + 2):
                    z = np.float64(depth[i * fine, j * fine])
                    low, high = min(low, z), max(high, z)
                    whole = whole and weight[i, j] > 0.0
            if not whole or high - low > JUMP * high / camera[12]:
                continue
            f = face[row * fine, column * fine]
            share[0] = np.float64(bary[row * fine, column * fine, 0])
            share[1] = np.float64(bary[row * fine, column * fine, 1])
            share[2] = 1.0 - share[0] - share[1]
            for k in range(3):
                n[k], p[k] = 0.0, -camera[9 + k]
                for corner in range(3):
                    n[k] += share[corner] * normals[faces[f, corner], k]
                    p[k] += share[corner] * vertices[faces[f, corner], k]
            for k in range(3):  # the same in the camera's axes
                c[k] = n[0] * camera[k] + n[1] * camera[3 + k] + n[2] * camera[6 + k]
                q[k] = p[0] * camera[k] + p[1] * camera[3 + k] + p[2] * camera[6 + k]
            right = camera[12] * (c[0] - q[0] * c[2] / q[2]) / -q[2]
            down = -camera[13] * (c[1] - q[1] * c[2] / q[2]) / -q[2]
            wish, evidence = 0.0, 0.0
            for k in range(3):
                across = 0.5 * (np.float64(shown[row, column + 1, k]) - np.float64(shown[row, column - 1, k]))
                along = 0.5 * (np.float64(shown[row + 1, column, k]) - np.float64(shown[row - 1, column, k]))
                slope = -(across * right + along * down)
                wish += slope * np.float64(lack[row, column, k])
                evidence += slope * slope
            for corner in range(3):
                v, w = faces[f, corner], share[corner] * np.float64(weight[row, column])
                total[v, 0] += w * wish
                total[v, 1] += w * evidence


def parallax(
    mesh: Mesh,
    normals: np.ndarray,
    raster: dict[str, Any],
    fine: int,
    camera: np.ndarray,
    shown: np.ndarray,
    lack: np.ndarray,
    weight: np.ndarray,
    total: np.ndarray,
) -> None:
    """What one view says about the vertices' offsets, added to total (V,2) float64: wish and weight; the wished offset,
    in world units, is wish / weight.

    normals (V,3) unit; raster: `raster.rasterize` with `fine` samples along a pixel's side; camera (16,) as
    `raster.pack_camera` packs it; shown, lack (H,W,3) float32: the mesh's picture and what it lacks of the photo, in
    the same unit; weight (H,W) float32 of each pixel, 0 where it has no say.
    """
    samples = (raster["face"], raster["bary"], raster["depth"])
    faces = np.ascontiguousarray(mesh.faces, np.int32)
    vertices = np.ascontiguousarray(mesh.vertices, np.float64)
    _parallax(*samples, fine, shown, lack, weight, vertices, normals, faces, camera, total)


def lift(mesh: Mesh, parts: Sequence[np.ndarray], most: float, edges: Sequence[np.ndarray] = ()) -> Mesh:
    """Reduce: the mesh moved along its normals as the sums (V,2) of all views want it, those of `parallax` and of
    `mesh.edges.sweep`, each in their order; no vertex by more than `most` (world units). Where no view says anything,
    nothing moves. Neighbours do not share what edges say: it is a hundred times as strong, and all around would follow
    each outline.
    """
    wish, weight = _sums(parts, len(mesh.vertices))
    border, strength = _sums(edges, len(mesh.vertices))
    said = weight[weight > 0] if (weight > 0).any() else strength[strength > 0]
    if not len(said):
        return mesh
    pull = _PULL * float(np.median(said))
    mean: Any = neighbours(mesh)
    for _ in range(_SPREAD):
        wish, weight = (0.5 * (x + mean @ x) for x in (wish, weight))
    offset = np.clip((wish + border) / (weight + strength + pull), -most, most)
    return mesh.with_(vertices=mesh.vertices + offset[:, None] * mesh.vertex_normals())


def _sums(parts: Sequence[np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Both columns' sums, (count,) float64 each."""
    wish, weight = np.zeros(count), np.zeros(count)
    for part in parts:
        wish += part[:, 0]
        weight += part[:, 1]
    return wish, weight
