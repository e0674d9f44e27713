"""Colours of surface points, asked of the field rather than of one ray."""

from __future__ import annotations

import numpy as np

from nerf_plugin.mesh.surface import FieldLike, Mesh

_DEPTHS = (-1.0, -0.5, 0.0, 0.5)


def surface_colors(field: FieldLike, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """(N,3) float32 sRGB 0..1 of points (N,3) on the surface with unit normals (N,3).

    A single sample with a single direction, straight against the normal, is often a colour no photo ever saw (black,
    or noise). Here the colours at four depths across the surface are averaged by density, each seen along the normal
    and from four sides at 45 degrees.
    """
    points = np.asarray(points, np.float64)
    normals = np.asarray(normals, np.float64)
    helper = np.where(np.abs(normals[:, :1]) < 0.8, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    side = np.cross(normals, helper)
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-12)
    other = np.cross(normals, side)
    directions = [-normals] + [(-normals + s) / np.sqrt(2.0) for s in (side, -side, other, -other)]
    total = np.zeros((len(points), 3))
    weights = np.zeros((len(points), 1))
    for depth in _DEPTHS:
        place = points + normals * (depth * field.voxel)
        weight = np.asarray(field.sigma(place), np.float64)[:, None] + 1e-6
        shade = sum(np.asarray(field.color(place, d.astype(np.float32)), np.float64) for d in directions) / len(
            directions
        )
        total += weight * shade
        weights += weight
    return np.clip(total / weights, 0.0, 1.0).astype(np.float32)


def color_vertices(field: FieldLike, mesh: Mesh) -> Mesh:
    """The mesh with a colour at every vertex."""
    return mesh.with_(colors=surface_colors(field, mesh.vertices, mesh.vertex_normals()))
