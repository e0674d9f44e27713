"""The texture once more, so that pictures of the mesh become the photos; and with it the surface's relief.

A blend of photos is right for each texel and yet its pictures are too soft: a texel's colour was read between pixels,
each a mean over its own area, and a picture of the mesh reads between texels again. What is wanted is the texture T
whose pictures A T are the photos P, least squares of a system with a row for each pixel. One step of SIRT (Gilbert,
"Iterative methods for the three-dimensional reconstruction of an object from projections", 1972) does most of it: what
the photos have and the pictures lack is sent back along the rays that made the pictures, and each texel takes its mean,
over-relaxed,

    T += 1.6 (A' W (P - A T)) / (A' W 1)

W leaves out pixels that the mesh or the mask covers in part, and doubts those that differ a lot: passers-by and places
where the surface is wrong are not to be painted on it. One map task a group of photos; the groups are a fixed list.

What cameras on one side lack and those on the other have too much of is no fault of the texture: see `relief`. Both are
asked of the same pictures, and both answers are taken at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from nerf_plugin.kernels import kernel
from nerf_plugin.memory import let_go_of
from nerf_plugin.mesh.raster import CameraLike, corner_values, pack_camera, rasterize
from nerf_plugin.mesh.surface import Mesh
from nerf_plugin.texture.atlas import Atlas
from nerf_plugin.texture.relief import parallax

GROUPS = 8
FINE = 2
"""Samples along each side of a pixel."""
DOUBT = 0.4
"""Root of the summed squared difference of a pixel's channels (0..1) at which it counts for 0.61."""
RELAXED = 1.6
"""Times the mean that each texel takes. SIRT converges below 2; on heads one step with 1.6 is worth two with 1."""
_LEAST = 0.5
"""Weight, in samples, that stands against those of a texel: what few samples say moves it little."""


def polish_groups(count: int) -> list[list[int]]:
    """Which of `count` photos each map task takes: at most GROUPS lists of indices."""
    return [list(range(first, count, GROUPS)) for first in range(min(GROUPS, count))]


@kernel
def _corner(texture, u, v):  # type: ignore[no-untyped-def]
    """Row and column of the upper left of the four texels around texture coordinates (u, v), and the shares of the
    lower and the right ones."""
    height, width = texture.shape[:2]
    x = min(max(u * width - 0.5, 0.0), width - 1.0)
    y = min(max((1.0 - v) * height - 0.5, 0.0), height - 1.0)
    left, top = min(int(x), width - 2), min(int(y), height - 2)
    return top, left, y - top, x - left


@kernel
def _show(texture, uv, pixel, out):  # type: ignore[no-untyped-def]
    """Add each sample's colour, 0..255, to out[pixel]."""
    for i in range(len(uv)):
        top, left, t, s = _corner(texture, uv[i, 0], uv[i, 1])
        for c in range(3):
            above = texture[top, left, c] * (1 - s) + texture[top, left + 1, c] * s
            below = texture[top + 1, left, c] * (1 - s) + texture[top + 1, left + 1, c] * s
            out[pixel[i], c] += above * (1 - t) + below * t


@kernel
def _send_back(texture, uv, pixel, lack, weight, total):  # type: ignore[no-untyped-def]
    """Add weight x lack of each sample's pixel, and weight, to the four texels that made it."""
    for i in range(len(uv)):
        w = weight[pixel[i]]
        if w <= 0.0:
            continue
        top, left, t, s = _corner(texture, uv[i, 0], uv[i, 1])
        for row in range(2):
            for column in range(2):
                share = w * (t if row else 1 - t) * (s if column else 1 - s)
                for c in range(3):
                    total[top + row, left + column, c] += share * lack[pixel[i], c]
                total[top + row, left + column, 3] += share


def polish_part(
    mesh: Mesh,
    atlas: Atlas,
    texture: np.ndarray,
    photos: Iterable[tuple[np.ndarray, CameraLike]],
    relief: bool = False,
) -> dict[str, np.ndarray]:
    """Map: what the pictures of some cameras lack.

    texture (S,S,3) uint8; photos: (H,W,4) uint8 RGBA with their cameras. Returns {texel (N,) int32 row * S + column,
    ascending; lack (N,4) float32: sum of weight x difference in 0..255 for each channel, and of weights} and, where
    `relief` is asked for, {relief (V,2) float64 for `relief.lift`}.
    """
    total = np.zeros((*texture.shape[:2], 4), np.float32)
    wishes, normals = np.zeros((len(mesh.vertices), 2)), mesh.vertex_normals()
    for photo, camera in photos:
        raster = rasterize(mesh.vertices, mesh.faces, camera, FINE, closed=True)
        seen = raster["face"] >= 0
        uv = corner_values(raster, atlas.faces, atlas.uv)[seen].astype(np.float32)
        rows, columns = np.nonzero(seen)
        pixel = (rows // FINE) * camera.width + columns // FINE
        shown = np.zeros((camera.height * camera.width, 3), np.float32)
        _show(texture, uv, pixel, shown)
        shown /= np.float32(FINE * FINE)
        lack = photo[..., :3].reshape(-1, 3).astype(np.float32) - shown
        whole = np.bincount(pixel, minlength=len(shown)) == FINE * FINE
        off = (lack.astype(np.float64) ** 2).sum(axis=1) / (255 * DOUBT) ** 2
        weight = np.where(whole & (photo[..., 3].ravel() >= 250), np.exp(-0.5 * off), 0.0).astype(np.float32)
        _send_back(texture, uv, pixel, lack, weight, total)
        if relief:
            picture = (x.reshape(*photo.shape[:2], -1) for x in (shown, lack))
            by_pixel = weight.reshape(photo.shape[:2])
            parallax(mesh, normals, raster, FINE, pack_camera(camera), *picture, by_pixel, wishes)
    flat = total.reshape(-1, 4)
    texel = np.nonzero(flat[:, 3] > 0)[0]
    part = {"texel": texel.astype(np.int32), "lack": flat[texel]}
    return part | {"relief": wishes} if relief else part


def polish(texture: np.ndarray, parts: Sequence[dict[str, np.ndarray]]) -> np.ndarray:
    """Reduce: the texture (S,S,3) uint8 with what was lacking, from all groups in their order."""
    total = np.zeros((texture.shape[0] * texture.shape[1], 4), np.float32)
    for part in parts:
        total[part["texel"]] += part["lack"]
        let_go_of(part)
    step = np.float32(RELAXED) * total[:, :3] / (total[:, 3:] + np.float32(_LEAST))
    better = texture.reshape(-1, 3).astype(np.float32) + step
    return np.clip(np.rint(better), 0, 255).astype(np.uint8).reshape(texture.shape)
