"""Wavefront OBJ: with a colour at each vertex, or with MTL and a texture image.

Vertex colours are the common extension `v x y z r g b` (read by Blender, MeshLab, trimesh). Texture coordinates have
their origin at the lower left, v upward, as the format has it.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from nerf_plugin.export.atomic import write_bytes, write_text
from nerf_plugin.mesh.surface import Mesh, MeshError


def _lines(line: str, rows: np.ndarray) -> str:
    """`line` filled with each row in turn; formatted by one call, which is many times faster than a loop."""
    return (line * len(rows)) % tuple(rows.ravel().tolist())


def png_bytes(image: np.ndarray) -> bytes:
    """PNG of (H,W,3|4) uint8; the same bytes for the same pixels."""
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(stream, "PNG", compress_level=6)
    return stream.getvalue()


def write_obj(path: str | os.PathLike[str], mesh: Mesh) -> Path:
    """OBJ with vertex colours where the mesh has them."""
    rows = mesh.vertices if mesh.colors is None else np.hstack([mesh.vertices, mesh.colors.astype(np.float64)])
    return write_text(path, _lines("v" + " %.7g" * rows.shape[1] + "\n", rows) + _lines("f %d %d %d\n", mesh.faces + 1))


def write_textured_obj(
    path: str | os.PathLike[str], mesh: Mesh, uv: np.ndarray, uv_faces: np.ndarray, texture: np.ndarray
) -> list[Path]:
    """OBJ + MTL + PNG of the same stem.

    uv (T,2) in 0..1, origin lower left; uv_faces (F,3) indices into uv, row by row as mesh.faces; texture (H,W,3)
    uint8 sRGB. The OBJ comes last: where it is, the files it names are.
    """
    if uv_faces.shape != mesh.faces.shape:
        raise MeshError(f"uv_faces {uv_faces.shape} do not match faces {mesh.faces.shape}")
    path = Path(path)
    image, material = path.with_suffix(".png"), path.with_suffix(".mtl")
    write_bytes(image, png_bytes(texture))
    write_text(
        material,
        f"newmtl surface\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {image.name}\n",
    )
    corners = np.stack([mesh.faces + 1, uv_faces + 1], axis=2).reshape(len(mesh.faces), 6)
    text = (
        f"mtllib {material.name}\n"
        + _lines("v %.7g %.7g %.7g\n", mesh.vertices)
        + _lines("vt %.7g %.7g\n", np.asarray(uv, np.float64))
        + "usemtl surface\n"
        + _lines("f %d/%d %d/%d %d/%d\n", corners)
    )
    return [image, material, write_text(path, text)]
