"""Pictures to look at: a turntable of the mesh beside the field, and a sheet of held-out photos beside both."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from nerf_plugin.cameras import Camera
from nerf_plugin.export.obj import png_bytes
from nerf_plugin.mesh import Mesh, MeshError
from nerf_plugin.texture import Atlas, render_mesh


def turntable_cameras(mesh: Mesh, up: Any, count: int = 36, size: int = 320, height: float = 0.2) -> list[Camera]:
    """`count` cameras in a circle around `up` that see the whole mesh; `height`: sine of their elevation."""
    if count < 1 or size < 16:
        raise MeshError(f"a turntable of {count} pictures of {size} pixels makes no sense")
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    center, radius = (low + high) / 2, float(np.linalg.norm(high - low)) / 2
    axis = np.asarray(up, np.float64) / np.linalg.norm(up)
    first = np.cross(axis, [1.0, 0.0, 0.0] if abs(axis[0]) < 0.9 else [0.0, 1.0, 0.0])
    first /= np.linalg.norm(first)
    second = np.cross(axis, first)
    cameras = []
    for angle in 2 * np.pi * np.arange(count) / count:
        flat = np.cos(angle) * first + np.sin(angle) * second
        back = np.sqrt(1 - height**2) * flat + height * axis
        right = np.cross(axis, back)
        right /= np.linalg.norm(right)
        pose = np.column_stack([right, np.cross(back, right), back, center + 3.2 * radius * back])
        cameras.append(Camera.from_matrix(pose, size, size, 1.5 * size))
    return cameras


def turntable_frame(mesh: Mesh, atlas: Atlas, texture: np.ndarray, field: Any, camera: Camera) -> np.ndarray:
    """Map: (S, 2S, 3) uint8, the textured mesh at the left and the field at the right, over white."""
    left, _ = render_mesh(mesh, camera, atlas, texture, supersample=2, closed=True)
    right = field.render(camera, (1.0, 1.0, 1.0), step=1.0).rgb
    return np.rint(np.clip(np.concatenate([left, right], axis=1), 0, 1) * 255).astype(np.uint8)


def turntable_bytes(frames: Sequence[np.ndarray], milliseconds: int = 80) -> bytes:
    """An animated WebP that goes on for ever."""
    if not frames:
        raise MeshError("a turntable needs at least one picture")
    first, *rest = (Image.fromarray(frame) for frame in frames)
    stream = io.BytesIO()
    first.save(stream, "WEBP", save_all=True, append_images=rest, duration=milliseconds, loop=0, quality=85, method=3)
    return stream.getvalue()


def contact_sheet(views: Sequence[Mapping[str, Any]], shown: int = 8, gap: int = 6) -> bytes:
    """PNG: a row for each of `shown` views, evenly spread: photo | field | mesh.

    views: as for `report.compare_views`, with photo, render and mesh. Raises MeshError where there are none.
    """
    if not views:
        raise MeshError("a contact sheet needs at least one view")
    rows = []
    for i in sorted({round(x) for x in np.linspace(0, len(views) - 1, min(shown, len(views)))}):
        cells = [np.asarray(views[i][name]) for name in ("photo", "render", "mesh")]
        cells = [c if c.dtype == np.uint8 else np.rint(np.clip(c, 0, 1) * 255).astype(np.uint8) for c in cells]
        rows.append(
            np.concatenate([np.pad(c, ((0, gap), (0, gap), (0, 0)), constant_values=255) for c in cells], axis=1)
        )
    width = max(row.shape[1] for row in rows)
    rows = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    return png_bytes(np.concatenate(rows))
