"""The last fraction of a voxel, from the outlines in the photos.

Depth says where the surface is to a quarter of a voxel; the soft edge of a mask says where its outline is to a tenth
of a pixel. So the mesh is rendered a little thicker and a little thinner than it is, along its normals; where that
changes a pixel's coverage, the photo's own alpha says how far the outline should move: least squares of

    alpha of the photo - alpha of the mesh = offset x d(alpha of the mesh) / d(offset)

over the pixels at each vertex, in all views, each contributing to the corners of the face that makes the outline
there. The two sums are spread over the mesh, so that vertices between outlines follow their neighbours, and drawn to
the value of the whole mesh where evidence is thin. One map task a view; nothing happens where photos have no mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nerf_plugin.mesh.raster import CameraLike, rasterize
from nerf_plugin.mesh.smooth import neighbours
from nerf_plugin.mesh.surface import Mesh

_FINE = 2
_SPREAD = 8
_PULL = 0.1


def _coverage(mesh: Mesh, normals: np.ndarray, offset: float, camera: CameraLike) -> tuple[np.ndarray, np.ndarray]:
    """(H,W) share of each pixel that the mesh covers when moved by `offset`, and (H,W) a face there or -1."""
    face = rasterize(mesh.vertices + offset * normals, mesh.faces, camera, _FINE, closed=True)["face"]
    tiles = (
        face.reshape(camera.height, _FINE, camera.width, _FINE)
        .transpose(0, 2, 1, 3)
        .reshape(camera.height, camera.width, -1)
    )
    return (tiles >= 0).mean(axis=2), tiles.max(axis=2)


def outline(mesh: Mesh, alpha: np.ndarray, camera: CameraLike, step: float) -> dict[str, np.ndarray]:
    """Map: what one photo's outline says.

    alpha: (H,W) uint8 or floats in 0..1; step: how far to move the surface for the derivative, in world units.
    Returns {vertex (n,) int32 ascending, wish (n,) float64, weight (n,) float64}; the wished offset is wish / weight.
    """
    alpha = np.asarray(alpha, np.float64) / (255.0 if alpha.dtype == np.uint8 else 1.0)
    none = {"vertex": np.zeros(0, np.int32), "wish": np.zeros(0), "weight": np.zeros(0)}
    if (alpha < 0.5).mean() < 0.005:
        return none
    normals = mesh.vertex_normals()
    thick, face = _coverage(mesh, normals, step, camera)
    thin, _ = _coverage(mesh, normals, -step, camera)
    now, _ = _coverage(mesh, normals, 0.0, camera)
    slope = (thick - thin) / (2 * step)
    edge = (slope > 0) & (face >= 0)
    # The picture's border cuts the object off; that is no outline.
    edge[[0, -1]] = edge[:, [0, -1]] = False
    if not edge.any():
        return none
    wish, weight = (alpha - now)[edge] * slope[edge], slope[edge] ** 2
    corners = mesh.faces[face[edge]].ravel()
    vertex, index = np.unique(corners, return_inverse=True)
    return {
        "vertex": vertex.astype(np.int32),
        "wish": np.bincount(index, np.repeat(wish, 3)),
        "weight": np.bincount(index, np.repeat(weight, 3)),
    }


def settle(mesh: Mesh, parts: Sequence[dict[str, np.ndarray]], most: float) -> Mesh:
    """Reduce: the mesh moved along its normals to where the outlines want it, at most by `most` (world units)."""
    wish, weight = np.zeros(len(mesh.vertices)), np.zeros(len(mesh.vertices))
    for part in parts:
        wish[part["vertex"]] += part["wish"]
        weight[part["vertex"]] += part["weight"]
    if not weight.any():
        return mesh
    overall = float(wish.sum() / weight.sum())
    mean: Any = neighbours(mesh)
    for _ in range(_SPREAD):
        wish, weight = (0.5 * (x + mean @ x) for x in (wish, weight))
    pull = _PULL * float(weight.mean())
    offset = np.clip((wish + pull * overall) / (weight + pull), -most, most)
    moved = mesh.vertices + offset[:, None] * mesh.vertex_normals()
    info = {**mesh.info, "outline_offset": overall, "outline_spread": float(offset.std())}
    return mesh.with_(vertices=moved, info=info)
