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

What cameras on one side lack and those on the other have too much of is no fault of the texture: see `relief`. Nor is
what is lacking where the surface ends before the background or before a farther part of itself: see `mesh.edges`. All
are asked of the same pictures, and all answers are taken at once. Pictures are what pixels of the photos would see, see
`softness`; each turn measures that with one photo a group, for the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from nerf_plugin.kernels import kernel
from nerf_plugin.memory import let_go_of
from nerf_plugin.mesh.edges import hinges, sweep
from nerf_plugin.mesh.raster import CameraLike, corner_values, pack_camera, rasterize
from nerf_plugin.mesh.surface import Mesh
from nerf_plugin.texture.atlas import Atlas
from nerf_plugin.texture.relief import parallax
from nerf_plugin.texture.softness import footprint, has_mask, misfit

GROUPS = 8
FINE = 2
"""Samples along each side of a pixel."""
DOUBT = 0.4
"""Root of the summed squared difference of a pixel's channels (0..1) at which it counts for 0.61."""
RELAXED = 1.6
"""Times the mean that each texel takes. SIRT converges below 2; on heads one step with 1.6 is worth two with 1."""
EDGES = 0.05
"""What an edge's word counts against parallax's: pixels at edges are far fewer, but colours differ far more there.
With 1 the surface is drawn to its outlines and away from what its textures say; 0.03 to 0.1 are alike."""
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
def _look_up(texture, uv, out):  # type: ignore[no-untyped-def]
    """Each sample's colour, 0..255, into out (N,3)."""
    for i in range(len(uv)):
        top, left, t, s = _corner(texture, uv[i, 0], uv[i, 1])
        for c in range(3):
            above = texture[top, left, c] * (1 - s) + texture[top, left + 1, c] * s
            below = texture[top + 1, left, c] * (1 - s) + texture[top + 1, left + 1, c] * s
            out[i, c] = above * (1 - t) + below * t


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
    rim: float = 0.0,
) -> dict[str, np.ndarray]:
    """Map: what the pictures of some cameras lack.

    texture (S,S,3) uint8; photos: (H,W,4) uint8 RGBA with their cameras; rim: how far beyond its square a pixel of
    theirs sees. Returns {texel (N,) int32 row * S + column, ascending; lack (N,4) float32: sum of weight x difference
    in 0..255 for each channel, and of weights; misfit: `softness.misfit` of the first photo} and, where `relief` is
    asked for, {relief, edges (V,2) float64 for `relief.lift`}.
    """
    total = np.zeros((*texture.shape[:2], 4), np.float32)
    wishes, borders = np.zeros((2, len(mesh.vertices), 2))
    normals = mesh.vertex_normals()
    hinge = hinges(mesh.faces) if relief else None
    blur = None
    for photo, camera in photos:
        if blur is None:
            blur = misfit(mesh, photo[..., 3], camera)
        raster = rasterize(mesh.vertices, mesh.faces, camera, FINE, closed=True)
        seen = raster["face"] >= 0
        uv = corner_values(raster, atlas.faces, atlas.uv)[seen].astype(np.float32)
        rows, columns = np.nonzero(seen)
        pixel = (rows // FINE) * camera.width + columns // FINE
        colors = np.empty((len(uv), 3), np.float32)
        _look_up(texture, uv, colors)
        samples = np.zeros((*seen.shape, 4), np.float32)  # premultiplied
        samples[seen, :3], samples[seen, 3] = colors, 255
        picture = np.zeros((camera.height, camera.width, 4), np.float32)
        if len(rows):  # there is nothing to see beyond a pixel around the surface
            top, left = max(0, rows.min() // FINE - 1), max(0, columns.min() // FINE - 1)
            last, right = rows.max() // FINE + 2, columns.max() // FINE + 2
            near = samples[top * FINE : last * FINE, left * FINE : right * FINE]
            picture[top:last, left:right] = footprint(near, FINE, rim)
        covered = np.maximum(picture[..., 3:], 1) / 255
        shown, given = picture[..., :3] / covered, photo.astype(np.float32)
        lack = given[..., :3] - shown
        whole = np.bincount(pixel, minlength=camera.height * camera.width).reshape(lack.shape[:2]) == FINE * FINE
        off = (lack.astype(np.float64) ** 2).sum(axis=2) / (255 * DOUBT) ** 2
        doubt, inside = np.exp(-0.5 * off), whole & (photo[..., 3] >= 250)
        weight = np.where(inside, doubt, 0.0).astype(np.float32)
        _send_back(texture, uv, pixel, lack.reshape(-1, 3), weight.ravel(), total)
        if relief:
            parallax(mesh, normals, raster, FINE, pack_camera(camera), shown, lack, weight, wishes)
            outer = 1.0 if has_mask(photo[..., 3]) else 0.0
            trust = (EDGES * np.where(inside, doubt, outer)).astype(np.float32)
            alpha = given[..., 3:] / 255
            lacking = np.dstack([given[..., :3] * alpha, given[..., 3:]]) - picture
            sweep(mesh, normals, hinge, camera, raster, FINE, samples, lacking, trust, borders)
    flat = total.reshape(-1, 4)
    texel = np.nonzero(flat[:, 3] > 0)[0]
    part = {"texel": texel.astype(np.int32), "lack": flat[texel], "misfit": blur}
    return part | {"relief": wishes, "edges": borders} if relief else part


def polish(texture: np.ndarray, parts: Sequence[dict[str, np.ndarray]]) -> np.ndarray:
    """Reduce: the texture (S,S,3) uint8 with what was lacking, from all groups in their order."""
    total = np.zeros((texture.shape[0] * texture.shape[1], 4), np.float32)
    for part in parts:
        total[part["texel"]] += part["lack"]
        let_go_of(part)
    step = np.float32(RELAXED) * total[:, :3] / (total[:, 3:] + np.float32(_LEAST))
    better = texture.reshape(-1, 3).astype(np.float32) + step
    return np.clip(np.rint(better), 0, 255).astype(np.uint8).reshape(texture.shape)
