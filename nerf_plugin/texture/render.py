"""Pictures of a textured mesh from any camera: what the quality figures and the turntable are made of."""

from __future__ import annotations

import numpy as np

from nerf_plugin.kernels import kernel
from nerf_plugin.mesh.raster import CameraLike, corner_values, rasterize
from nerf_plugin.mesh.surface import Mesh
from nerf_plugin.texture.atlas import Atlas


@kernel
def _lookup(texture, uv, out):  # type: ignore[no-untyped-def]
    height, width = texture.shape[:2]
    for i in range(len(uv)):
        x = min(max(uv[i, 0] * width - 0.5, 0.0), width - 1.0)
        y = min(max((1.0 - uv[i, 1]) * height - 0.5, 0.0), height - 1.0)
        left, top = min(int(x), width - 2), min(int(y), height - 2)
        s, t = x - left, y - top
        for c in range(3):
            above = texture[top, left, c] * (1 - s) + texture[top, left + 1, c] * s
            below = texture[top + 1, left, c] * (1 - s) + texture[top + 1, left + 1, c] * s
            out[i, c] = (above * (1 - t) + below * t) / 255.0


def render_mesh(
    mesh: Mesh,
    camera: CameraLike,
    atlas: Atlas | None = None,
    texture: np.ndarray | None = None,
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
    supersample: int = 3,
) -> tuple[np.ndarray, np.ndarray]:
    """(H,W,3) float32 colour over `background` and (H,W) float32 alpha; no light is added.

    Coloured by the texture (S,S,3) uint8 where it is given with its atlas, else by vertex colours, else grey shaded
    by the normal. Every pixel is the mean of supersample x supersample samples.
    """
    raster = rasterize(mesh.vertices, mesh.faces, camera, supersample)
    seen = raster["face"] >= 0
    if texture is not None and atlas is not None:
        colors = np.empty((int(seen.sum()), 3))
        _lookup(texture, corner_values(raster, atlas.faces, atlas.uv)[seen], colors)
    elif mesh.colors is not None:
        colors = corner_values(raster, mesh.faces, mesh.colors)[seen]
    else:
        normal = corner_values(raster, mesh.faces, mesh.vertex_normals())[seen] @ np.asarray(camera.rotation)
        colors = np.clip(0.25 + 0.65 * np.abs(normal[:, 2:3]) + 0.1 * normal[:, 1:2], 0, 1)
    del raster  # as large as the picture that follows
    image = np.empty((*seen.shape, 3))
    image[:] = background
    image[seen] = colors
    height, width, n = camera.height, camera.width, supersample
    small = image.reshape(height, n, width, n, 3).mean(axis=(1, 3))
    alpha = seen.reshape(height, n, width, n).mean(axis=(1, 3))
    return small.astype(np.float32), alpha.astype(np.float32)
