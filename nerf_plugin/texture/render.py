"""Pictures of a textured mesh from any camera: what the quality figures and the turntable are made of.

A pixel of a photo sees a little more than its square: lenses blur, and renderers filter on purpose. So here a pixel is
the mean over a square wider than itself by a rim: of the samples in it and, at a low weight, of those just around it.
How wide the rim is tell the outlines in the photos, see `softness`; where nothing tells it is a twelfth of a pixel.
"""

from __future__ import annotations

import numpy as np

from nerf_plugin.kernels import kernel
from nerf_plugin.mesh.raster import CameraLike, _project, _rasterize, corner_values, pack_camera, rasterize
from nerf_plugin.mesh.surface import Mesh
from nerf_plugin.texture.atlas import Atlas

BAND = 1 << 21
"""Samples that are held at a time."""
RIM = 1 / 12
"""How far beyond its square a pixel sees, in pixels, where the photos do not tell; at most 1 / supersample."""


@kernel
def _paint(face, bary, corners, uv, texture, n, rim, background, image, alpha):  # type: ignore[no-untyped-def]
    """Every pixel's mean of n x n samples and of those around them, over the background. The raster has one sample more
    on each side than the image has."""
    height, width = texture.shape[:2]
    color = np.empty(3)
    rim = n * rim
    whole = (n + 2.0 * rim) * (n + 2.0 * rim)
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            color[:] = 0.0
            covered = 0.0
            for i in range(n + 2):
                for j in range(n + 2):
                    f = face[row * n + i, column * n + j]
                    if f < 0:
                        continue
                    w = (rim if i == 0 or i == n + 1 else 1.0) * (rim if j == 0 or j == n + 1 else 1.0)
                    covered += w
                    p = np.float64(bary[row * n + i, column * n + j, 0])
                    q = np.float64(bary[row * n + i, column * n + j, 1])
                    r = 1.0 - p - q
                    a, b, c = corners[f, 0], corners[f, 1], corners[f, 2]
                    across = uv[a, 0] * p + uv[b, 0] * q + uv[c, 0] * r
                    upward = uv[a, 1] * p + uv[b, 1] * q + uv[c, 1] * r
                    x = min(max(across * width - 0.5, 0.0), width - 1.0)
                    y = min(max((1.0 - upward) * height - 0.5, 0.0), height - 1.0)
                    left, top = min(int(x), width - 2), min(int(y), height - 2)
                    s, t = x - left, y - top
                    for k in range(3):
                        above = texture[top, left, k] * (1 - s) + texture[top, left + 1, k] * s
                        below = texture[top + 1, left, k] * (1 - s) + texture[top + 1, left + 1, k] * s
                        color[k] += w * (above * (1 - t) + below * t) / 255.0
            for k in range(3):
                image[row, column, k] = (color[k] + (whole - covered) * background[k]) / whole
            alpha[row, column] = covered / whole


def render_mesh(
    mesh: Mesh,
    camera: CameraLike,
    atlas: Atlas | None = None,
    texture: np.ndarray | None = None,
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
    supersample: int = 4,
    closed: bool = False,
    rim: float = RIM,
) -> tuple[np.ndarray, np.ndarray]:
    """(H,W,3) float32 colour over `background` and (H,W) float32 alpha; no light is added.

    Coloured by the texture (S,S,3) uint8 where it is given with its atlas, else by vertex colours, else grey shaded
    by the normal. Every pixel is the mean of supersample x supersample samples, with a texture also of those around
    them, as far as `rim` (see above). `closed`: see `raster.rasterize`.
    """
    if texture is not None and atlas is not None:
        return _textured(mesh, camera, atlas, texture, background, supersample, closed, rim)
    raster = rasterize(mesh.vertices, mesh.faces, camera, supersample, closed)
    seen = raster["face"] >= 0
    if mesh.colors is not None:
        colors = corner_values(raster, mesh.faces, mesh.colors)[seen]
    else:
        normal = corner_values(raster, mesh.faces, mesh.vertex_normals())[seen] @ np.asarray(camera.rotation)
        colors = np.clip(0.25 + 0.65 * np.abs(normal[:, 2:3]) + 0.1 * normal[:, 1:2], 0, 1)
    del raster  # as large as the picture that follows
    picture = np.empty((*seen.shape, 3))
    picture[:] = background
    picture[seen] = colors
    height, width, n = camera.height, camera.width, supersample
    small = picture.reshape(height, n, width, n, 3).mean(axis=(1, 3))
    share = seen.reshape(height, n, width, n).mean(axis=(1, 3))
    return small.astype(np.float32), share.astype(np.float32)


def _textured(
    mesh: Mesh,
    camera: CameraLike,
    atlas: Atlas,
    texture: np.ndarray,
    background: tuple[float, float, float],
    n: int,
    closed: bool,
    rim: float,
) -> tuple[np.ndarray, np.ndarray]:
    height, width = camera.height, camera.width
    image, alpha = np.empty((height, width, 3), np.float32), np.empty((height, width), np.float32)
    points = _project(np.ascontiguousarray(mesh.vertices, np.float64), pack_camera(camera, n))
    points[:, :2] += 1.0
    faces, corners = (np.ascontiguousarray(x, np.int32) for x in (mesh.faces, atlas.faces))
    uv, behind = np.ascontiguousarray(atlas.uv, np.float64), np.asarray(background, np.float64)
    rows = max(1, BAND // (width * n * n))
    for top in range(0, height, rows):
        last = min(height, top + rows)
        face, _, bary = _rasterize(points, faces, width * n + 2, (last - top) * n + 2, closed)
        _paint(face, bary, corners, uv, texture, n, rim, behind, image[top:last], alpha[top:last])
        points[:, 1] -= (last - top) * n
    return image, alpha
