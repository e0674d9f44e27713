"""Binary little-endian PLY (Turk 1994): float positions, uchar colours, int faces."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from nerf_plugin.export.atomic import write_bytes
from nerf_plugin.mesh.surface import Mesh


def color_bytes(colors: np.ndarray) -> np.ndarray:
    """sRGB values in 0..1 as uint8, rounded."""
    return np.clip(np.rint(np.asarray(colors) * 255.0), 0, 255).astype(np.uint8)


def ply_bytes(mesh: Mesh) -> bytes:
    """PLY with normals, and with colours where the mesh has them."""
    fields = [("position", "<f4", 3), ("normal", "<f4", 3)]
    names = ["float x", "float y", "float z", "float nx", "float ny", "float nz"]
    if mesh.colors is not None:
        fields.append(("color", "u1", 3))
        names += ["uchar red", "uchar green", "uchar blue"]
    vertices = np.zeros(len(mesh.vertices), np.dtype(fields))
    vertices["position"] = mesh.vertices
    vertices["normal"] = mesh.vertex_normals()
    if mesh.colors is not None:
        vertices["color"] = color_bytes(mesh.colors)
    faces = np.zeros(len(mesh.faces), np.dtype([("count", "u1"), ("corners", "<i4", 3)]))
    faces["count"] = 3
    faces["corners"] = mesh.faces
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(vertices)}",
        *(f"property {name}" for name in names),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header\n",
    ]
    return "\n".join(header).encode() + vertices.tobytes() + faces.tobytes()


def write_ply(path: str | os.PathLike[str], mesh: Mesh) -> Path:
    """`ply_bytes` into a file, by atomic rename."""
    return write_bytes(path, ply_bytes(mesh))
