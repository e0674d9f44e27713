"""A z-buffer: which triangle each pixel of a camera sees, and how far away it is.

Pixels are sampled at their centres (+0.5), so edges are not smoothed; `supersample` renders larger and the caller
averages. Triangles with a corner behind the camera are left out (a capture's cameras stand outside the object). Where
two triangles lie at the same depth the one with the smaller index wins, so images do not depend on anything but the
mesh. Of a closed surface, only faces that look at the camera can be seen from outside; the others need not be tried.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from nerf_plugin.kernels import kernel


class CameraLike(Protocol):
    """A pinhole camera as in nerf_plugin.cameras: OpenGL camera-to-world pose, intrinsics in pixels."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    rotation: np.ndarray
    position: np.ndarray


def pack_camera(camera: CameraLike, scale: float = 1.0) -> np.ndarray:
    """(16,) float64 for kernels: rotation row by row, position, fx fy cx cy, with the image enlarged by `scale`."""
    if getattr(camera, "distortion", ()):
        raise ValueError("this camera has lens distortion; use its pinhole() and undistorted photos")
    k = np.array([camera.fx, camera.fy, camera.cx, camera.cy], np.float64) * scale
    return np.concatenate([np.asarray(camera.rotation, np.float64).ravel(), np.asarray(camera.position, np.float64), k])


@kernel
def _project(vertices, camera):  # type: ignore[no-untyped-def]
    out = np.empty((len(vertices), 3), np.float64)
    for i in range(len(vertices)):
        x = vertices[i, 0] - camera[9]
        y = vertices[i, 1] - camera[10]
        z = vertices[i, 2] - camera[11]
        depth = -(x * camera[2] + y * camera[5] + z * camera[8])
        out[i, 2] = depth
        if depth > 1e-9:
            out[i, 0] = (x * camera[0] + y * camera[3] + z * camera[6]) / depth * camera[12] + camera[14]
            out[i, 1] = -(x * camera[1] + y * camera[4] + z * camera[7]) / depth * camera[13] + camera[15]
    return out


@kernel
def _rasterize(points, faces, width, height, closed):  # type: ignore[no-untyped-def]
    face = np.full((height, width), -1, np.int32)
    depth = np.zeros((height, width), np.float32)
    bary = np.zeros((height, width, 2), np.float32)
    best = np.full((height, width), np.inf, np.float64)
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        za, zb, zc = points[a, 2], points[b, 2], points[c, 2]
        if za <= 1e-9 or zb <= 1e-9 or zc <= 1e-9:
            continue
        xa, ya, xb, yb, xc, yc = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        area = (xb - xa) * (yc - ya) - (xc - xa) * (yb - ya)
        if area == 0.0 or (closed and area > 0.0):  # rows run downward: what looks at the camera turns the other way
            continue
        left = max(0, int(np.ceil(min(xa, xb, xc) - 0.5)))
        right = min(width - 1, int(np.floor(max(xa, xb, xc) - 0.5)))
        top = max(0, int(np.ceil(min(ya, yb, yc) - 0.5)))
        bottom = min(height - 1, int(np.floor(max(ya, yb, yc) - 0.5)))
        for row in range(top, bottom + 1):
            py = row + 0.5
            for column in range(left, right + 1):
                px = column + 0.5
                u = ((xb - px) * (yc - py) - (xc - px) * (yb - py)) / area
                v = ((xc - px) * (ya - py) - (xa - px) * (yc - py)) / area
                w = 1.0 - u - v
                if u < 0.0 or v < 0.0 or w < 0.0:
                    continue
                # 1/z is linear on the screen, z is not.
                z = 1.0 / (u / za + v / zb + w / zc)
                if z < best[row, column]:
                    best[row, column] = z
                    face[row, column] = f
                    depth[row, column] = z
                    bary[row, column, 0] = u * z / za
                    bary[row, column, 1] = v * z / zb
    return face, depth, bary


@kernel
def _mix(face, bary, corners, values, out):  # type: ignore[no-untyped-def]
    for row in range(face.shape[0]):
        for column in range(face.shape[1]):
            f = face[row, column]
            if f < 0:
                continue
            u, v = np.float64(bary[row, column, 0]), np.float64(bary[row, column, 1])
            a, b, c = corners[f, 0], corners[f, 1], corners[f, 2]
            for k in range(values.shape[1]):
                out[row, column, k] = values[a, k] * u + values[b, k] * v + values[c, k] * (1 - u - v)


def rasterize(
    vertices: np.ndarray, faces: np.ndarray, camera: CameraLike, supersample: int = 1, closed: bool = False
) -> dict[str, Any]:
    """What a camera sees of a mesh; `closed`: its faces look outward, and those that look away hide nothing else.

    Returns face (H,W) int32, -1 where nothing; depth (H,W) float32 along the viewing axis, 0 where nothing; bary
    (H,W,2) float32 perspective-correct weights of the face's first two corners. H and W are the camera's times
    `supersample`.
    """
    points = _project(np.ascontiguousarray(vertices, np.float64), pack_camera(camera, supersample))
    size = camera.width * supersample, camera.height * supersample
    face, depth, bary = _rasterize(points, np.ascontiguousarray(faces, np.int32), *size, closed)
    return {"face": face, "depth": depth, "bary": bary}


def ray_lengths(camera: CameraLike) -> np.ndarray:
    """(H,W) float32: length of the ray through each pixel centre at unit depth; turns depth into distance."""
    x = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    y = (np.arange(camera.height) + 0.5 - camera.cy) / camera.fy
    return np.sqrt(1 + x[None, :] ** 2 + y[:, None] ** 2).astype(np.float32)


def corner_values(raster: dict[str, Any], faces: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(H,W,C) float64: values (V,C) of the corners in `faces`, interpolated; zeros where nothing is seen."""
    out = np.zeros((*raster["face"].shape, values.shape[1]))
    corners = np.ascontiguousarray(faces, np.int32)
    _mix(raster["face"], raster["bary"], corners, np.ascontiguousarray(values, np.float64), out)
    return out
