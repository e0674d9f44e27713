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

from nerf_plugin.export.atomic import write_bytes
from nerf_plugin.mesh.surface import Mesh, MeshError


def _lines(line: str, rows: np.ndarray) -> str:
    """`line` filled with each row in turn; formatted by one call, which is many times faster than a loop."""
    return (line * len(rows)) % tuple(rows.ravel().tolist())


def png_bytes(image: np.ndarray) -> bytes:
    """PNG of (H,W,3|4) uint8; the same bytes for the same pixels."""
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(stream, "PNG", compress_level=6)
    return stream.getvalue()


def obj_bytes(mesh: Mesh) -> bytes:
    """OBJ with vertex colours where the mesh has them."""
    rows = mesh.vertices if mesh.colors is None else np.hstack([mesh.vertices, mesh.colors.astype(np.float64)])
    return (_lines("v" + " %.7g" * rows.shape[1] + "\n", rows) + _lines("f %d %d %d\n", mesh.faces + 1)).encode()


def textured_obj_files(
    stem: str, mesh: Mesh, uv: np.ndarray, uv_faces: np.ndarray, texture: np.ndarray
) -> dict[str, bytes]:
    """Name to content of STEM.png, STEM.mtl and STEM.obj, in this order: where the last is, the files it names are.

    uv (T,2) in 0..1, origin lower left; uv_faces (F,3) indices into uv, row by row as mesh.faces; texture (H,W,3)
    uint8 sRGB.
    """
    if uv_faces.shape != mesh.faces.shape:
        raise MeshError(f"uv_faces {uv_faces.shape} do not match faces {mesh.faces.shape}")
    corners = np.stack([mesh.faces + 1, uv_faces + 1], axis=2).reshape(len(mesh.faces), 6)
    text = (
        f"mtllib {stem}.mtl\n"
        + _lines("v %.7g %.7g %.7g\n", mesh.vertices)
        + _lines("vt %.7g %.7g\n", np.asarray(uv, np.float64))
        + "usemtl surface\n"
        + _lines("f %d/%d %d/%d %d/%d\n", corners)
    )
    material = f"newmtl surface\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {stem}.png\n"
    return {f"{stem}.png": png_bytes(texture), f"{stem}.mtl": material.encode(), f"{stem}.obj": text.encode()}


def write_obj(path: str | os.PathLike[str], mesh: Mesh) -> Path:
    """`obj_bytes` into a file, by atomic rename."""
    return write_bytes(path, obj_bytes(mesh))


def write_textured_obj(
    path: str | os.PathLike[str], mesh: Mesh, uv: np.ndarray, uv_faces: np.ndarray, texture: np.ndarray
) -> list[Path]:
    """`textured_obj_files` beside `path`; returns the paths of image, material and OBJ."""
    path = Path(path)
    files = textured_obj_files(path.stem, mesh, uv, uv_faces, texture)
    return [write_bytes(path.with_name(name), content) for name, content in files.items()]
