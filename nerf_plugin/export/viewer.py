"""One HTML file with the model in it: opens by double-click, from the file system, without a network.

viewer.html is the page; this fills in the data. The page draws with WebGL 2 and needs no library.
"""

from __future__ import annotations

import base64
import html
import json
import os
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from nerf_plugin.export.atomic import write_text
from nerf_plugin.export.gltf import split_corners, turn_up
from nerf_plugin.export.obj import png_bytes
from nerf_plugin.export.ply import color_bytes
from nerf_plugin.mesh.surface import Mesh, MeshError


def rotate(quaternion: Any, vectors: np.ndarray) -> np.ndarray:
    """Vectors (N,3) turned by a unit quaternion x, y, z, w."""
    q, w = np.asarray(quaternion[:3]), float(quaternion[3])
    twice = 2 * np.cross(q, vectors)
    return vectors + w * twice + np.cross(q, twice)


def _text(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def viewer_html(
    mesh: Mesh,
    uv: np.ndarray | None = None,
    uv_faces: np.ndarray | None = None,
    texture: np.ndarray | None = None,
    up: Any = (0.0, 0.0, 1.0),
    front: Any = None,
    title: str = "avatar",
) -> str:
    """The page; uv, uv_faces and texture as for `write_textured_obj`; `front` (3,): the direction the model is first
    seen from."""
    if not len(mesh.faces):
        raise MeshError("there is nothing to show: the mesh has no faces")
    turn = turn_up(up)
    textured = texture is not None and uv is not None and uv_faces is not None
    if textured:
        vertex, corner, faces = split_corners(mesh, uv, uv_faces)
    else:
        vertex, corner, faces = np.arange(len(mesh.vertices)), np.zeros(0, int), mesh.faces
    positions = rotate(turn, mesh.vertices)[vertex].astype("<f4")
    normals = np.zeros((len(vertex), 4), np.int8)
    normals[:, :3] = np.rint(rotate(turn, mesh.vertex_normals())[vertex] * 127)
    low, high = positions.min(axis=0), positions.max(axis=0)
    ahead = rotate(turn, np.asarray([front], np.float64))[0] if front is not None else np.array([0.0, 0.0, 1.0])
    data: dict[str, Any] = {
        "positions": _text(positions),
        "normals": _text(normals),
        "indices": _text(faces.astype("<u4")),
        "count": int(faces.size),
        "center": ((low + high) / 2).tolist(),
        "radius": float(np.linalg.norm(high - low)) / 2 or 1.0,
        "yaw": float(np.arctan2(ahead[0], ahead[2])),
    }
    if textured:
        assert uv is not None and texture is not None
        data["uv"] = _text(np.column_stack([uv[corner, 0], 1.0 - uv[corner, 1]]).astype("<f4"))
        data["texture"] = "data:image/png;base64," + base64.b64encode(png_bytes(texture)).decode()
    if mesh.colors is not None:
        data["colors"] = _text(np.column_stack([color_bytes(mesh.colors[vertex]), np.full(len(vertex), 255, np.uint8)]))
    page = resources.files("nerf_plugin.export").joinpath("viewer.html").read_text(encoding="utf-8")
    return page.replace("@TITLE@", html.escape(title)).replace("@DATA@", json.dumps(data))


def write_viewer(path: str | os.PathLike[str], mesh: Mesh, **parts: Any) -> Path:
    """`viewer_html` into a file, by atomic rename."""
    return write_text(path, viewer_html(mesh, **parts))
