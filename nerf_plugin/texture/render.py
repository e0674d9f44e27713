"""Pictures of a textured mesh from any camera: what the quality figures and the turntable are made of."""

from __future__ import annotations

import numpy as np

from nerf_plugin.kernels import kernel
from nerf_plugin.mesh.raster import CameraLike, corner_values, rasterize
from nerf_plugin.mesh.surface import Mesh
from nerf_plugin.texture.atlas import Atlas


@kernel
def _paint(face, bary, corners, uv, texture, n, background, image, alpha):  # type: ignore[no-untyped-def]
    """Every pixel's mean of n x n samples, over the background."""
    height, width = texture.shape[:2]
    color = np.empty(3)
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            color[:] = 0.0
            count = 0
            for i in range(row * n, row * n + n):
                for j in range(column * n, column * n + n):
                    f = face[i, j]
                    if f < 0:
                        continue
                    count += 1
                    p, q = np.float64(bary[i, j, 0]), np.float64(bary[i, j, 1])
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
                        color[k] += (above * (1 - t) + below * t) / 255.0
            for k in range(3):
                image[row, column, k] = (color[k] + (n * n - count) * background[k]) / (n * n)
            alpha[row, column] = count / (n * n)


def render_mesh(
    mesh: Mesh,
    camera: CameraLike,
    atlas: Atlas | None = None,
    texture: np.ndarray | None = None,
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
    supersample: int = 4,
    closed: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """(H,W,3) float32 colour over `background` and (H,W) float32 alpha; no light is added.

    Coloured by the texture (S,S,3) uint8 where it is given with its atlas, else by vertex colours, else grey shaded
    by the normal. Every pixel is the mean of supersample x supersample samples. `closed`: see `raster.rasterize`.
    """
    raster = rasterize(mesh.vertices, mesh.faces, camera, supersample, closed)
    if texture is not None and atlas is not None:
        image = np.empty((camera.height, camera.width, 3), np.float32)
        alpha = np.empty((camera.height, camera.width), np.float32)
        corners, uv = np.ascontiguousarray(atlas.faces, np.int32), np.ascontiguousarray(atlas.uv, np.float64)
        behind = np.asarray(background, np.float64)
        _paint(raster["face"], raster["bary"], corners, uv, texture, supersample, behind, image, alpha)
        return image, alpha
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
