"""Binary glTF 2.0 (GLB): one textured or vertex-coloured mesh in one file.

Khronos glTF 2.0 specification, section 4.4 (GLB) and 3.7 (meshes). The format has y up and looks along +z; our
coordinates are those of the input, so a rotation of the node turns the `up` of the data to +y and the numbers in the
buffer stay what they are elsewhere. The photos have their light in them: the material is unlit (KHR_materials_unlit),
with a plain rough one for viewers that do not know it. Texture coordinates have their origin at the upper left here,
v downward.
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

from nerf_plugin.export.atomic import write_bytes
from nerf_plugin.export.obj import png_bytes
from nerf_plugin.mesh.surface import Mesh, MeshError

_FLOAT, _UINT = 5126, 5125
_ARRAY, _INDEX = 34962, 34963


def turn_up(up: Any) -> list[float]:
    """Quaternion x, y, z, w of the smallest rotation that takes the direction `up` to +y."""
    up = np.asarray(up, np.float64)
    length = float(np.linalg.norm(up))
    if not length > 0:
        raise MeshError("the up direction has no length")
    up = up / length
    if up[1] < -1 + 1e-9:
        return [1.0, 0.0, 0.0, 0.0]
    axis = np.cross(up, [0.0, 1.0, 0.0])
    q = np.array([*axis, 1.0 + up[1]])
    return [float(x) for x in q / np.linalg.norm(q)]


def srgb_to_linear(values: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1; glTF's vertex colours are linear, its textures are not."""
    values = np.asarray(values, np.float64)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def split_corners(mesh: Mesh, uv: np.ndarray, uv_faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One index for position and texture coordinate: (mesh vertex (N,), uv row (N,), faces (F,3) int32 into them)."""
    pairs = mesh.faces.astype(np.int64) * len(uv) + uv_faces
    flat, index = np.unique(pairs.ravel(), return_inverse=True)
    return flat // len(uv), flat % len(uv), index.reshape(-1, 3).astype(np.int32)


class _Buffer:
    """Accessors and the views beneath them, each aligned to four bytes."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, raw: bytes, target: int | None = None) -> int:
        self.data += b"\0" * (-len(self.data) % 4)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(raw)}
        if target is not None:
            view["target"] = target
        self.data += raw
        self.views.append(view)
        return len(self.views) - 1

    def accessor(self, array: np.ndarray, kind: str, component: int, target: int, bounds: bool = False) -> int:
        entry: dict[str, Any] = {
            "bufferView": self.view(np.ascontiguousarray(array).tobytes(), target),
            "componentType": component,
            "count": array.size if kind == "SCALAR" else len(array),
            "type": kind,
        }
        if bounds:
            entry["min"], entry["max"] = array.min(axis=0).tolist(), array.max(axis=0).tolist()
        self.accessors.append(entry)
        return len(self.accessors) - 1


def glb_bytes(
    mesh: Mesh,
    uv: np.ndarray | None = None,
    uv_faces: np.ndarray | None = None,
    texture: np.ndarray | None = None,
    up: Any = (0.0, 0.0, 1.0),
) -> bytes:
    """The mesh as GLB. uv (T,2) origin lower left, uv_faces (F,3), texture (H,W,3) uint8 as for
    `write_textured_obj`."""
    if not len(mesh.faces):
        raise MeshError("a GLB file cannot hold a mesh without faces")
    buffer = _Buffer()
    attributes: dict[str, int] = {}
    material: dict[str, Any] = {
        "name": "surface",
        "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0},
        "extensions": {"KHR_materials_unlit": {}},
    }
    normals = mesh.vertex_normals()
    normals[np.linalg.norm(normals, axis=1) < 0.5] = [0.0, 0.0, 1.0]
    if texture is not None and uv is not None and uv_faces is not None:
        vertex, corner, faces = split_corners(mesh, uv, uv_faces)
    else:
        vertex, corner, faces = np.arange(len(mesh.vertices)), None, mesh.faces
    positions = mesh.vertices[vertex].astype("<f4")
    attributes["POSITION"] = buffer.accessor(positions, "VEC3", _FLOAT, _ARRAY, bounds=True)
    attributes["NORMAL"] = buffer.accessor(normals[vertex].astype("<f4"), "VEC3", _FLOAT, _ARRAY)
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "DAF nerf plugin"},
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "avatar", "rotation": turn_up(up)}],
    }
    if corner is not None and texture is not None and uv is not None:
        flipped = np.column_stack([uv[corner, 0], 1.0 - uv[corner, 1]]).astype("<f4")
        attributes["TEXCOORD_0"] = buffer.accessor(flipped, "VEC2", _FLOAT, _ARRAY)
        document["images"] = [{"bufferView": buffer.view(png_bytes(texture)), "mimeType": "image/png"}]
        document["samplers"] = [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}]
        document["textures"] = [{"source": 0, "sampler": 0}]
        material["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}
    elif mesh.colors is not None:
        linear = np.column_stack([srgb_to_linear(mesh.colors), np.ones(len(mesh.colors))]).astype("<f4")
        attributes["COLOR_0"] = buffer.accessor(linear, "VEC4", _FLOAT, _ARRAY)
    indices = buffer.accessor(faces.astype("<u4").ravel(), "SCALAR", _UINT, _INDEX)
    document["meshes"] = [{"primitives": [{"attributes": attributes, "indices": indices, "material": 0, "mode": 4}]}]
    document["materials"] = [material]
    document["accessors"], document["bufferViews"] = buffer.accessors, buffer.views
    binary = bytes(buffer.data) + b"\0" * (-len(buffer.data) % 4)
    document["buffers"] = [{"byteLength": len(binary)}]
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    return b"".join(
        [
            struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(binary)),
            struct.pack("<I4s", len(text), b"JSON"),
            text,
            struct.pack("<I4s", len(binary), b"BIN\0"),
            binary,
        ]
    )


def write_glb(path: str | os.PathLike[str], mesh: Mesh, **parts: Any) -> Path:
    """`glb_bytes` into a file, by atomic rename."""
    return write_bytes(path, glb_bytes(mesh, **parts))
