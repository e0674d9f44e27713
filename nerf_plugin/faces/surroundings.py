"""What is around a head in photos without masks.

`wall`: a photographer's grey backdrop that goes along with the camera, lit unevenly, the same in every picture; so it
is in no place. `room`: walls, a floor and a ceiling with patterns of many sizes, farther from the head than the
cameras are (the floor is nearer); no two photos show the same part.
"""

from __future__ import annotations

import numpy as np

from nerf_plugin.cameras import Camera
from nerf_plugin.faces.noise import fbm

KINDS = ("none", "wall", "room")
CORNERS = np.array([[-6.0, -5.0, -2.2], [5.0, 6.0, 4.5]])
"""World corners of the room: the head is within 1 of the origin, cameras are 3.25 from it."""
TINTS = np.array(
    [
        [0.60, 0.55, 0.50],
        [0.50, 0.55, 0.60],
        [0.55, 0.60, 0.50],
        [0.60, 0.50, 0.50],
        [0.35, 0.28, 0.20],
        [0.8, 0.8, 0.8],
    ]
)
"""sRGB of the walls at -x, +x, -y, +y, of floor and ceiling."""
_PATTERN, _OCTAVES, _CONTRAST = 1.5, 5, 0.35


def behind(kind: str, camera: Camera, seed: int) -> np.ndarray:
    """(H, W, 3) float64 sRGB in 0..1: what `camera` sees of the surroundings `kind`, but not "none"; two rays along
    each side of a pixel."""
    height, width = camera.height, camera.width
    if kind == "wall":
        down = (np.arange(height) + 0.5)[:, None] / height
        right = (np.arange(width) + 0.5)[None, :] / width
        return (0.55 + 0.15 * down - 0.1 * (right - 0.5) ** 2)[..., None] * np.array([1.0, 0.98, 0.95])
    xs, ys = np.tile(np.arange(width), height), np.repeat(np.arange(height), width)
    total = np.zeros((height * width, 3))
    for across, along in ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25)):
        origin, directions = camera.rays(xs + across, ys + along)
        total += _walls(np.asarray(origin, np.float64), np.asarray(directions, np.float64), seed)
    return total.reshape(height, width, 3) / 4


def _walls(origin: np.ndarray, directions: np.ndarray, seed: int) -> np.ndarray:
    """(N, 3) colours where rays from within the room meet its sides."""
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.where(directions > 0, (CORNERS[1] - origin) / directions, (CORNERS[0] - origin) / directions)
    reach[~(reach > 0)] = np.inf
    axis = reach.argmin(1)
    rows = np.arange(len(directions))
    points = (origin + directions * reach[rows, axis][:, None]) * _PATTERN
    side = 2 * axis + (directions[rows, axis] > 0)
    pattern = np.stack([fbm(points, seed * 64 + 16 * channel, _OCTAVES) for channel in range(3)], 1)
    return (TINTS[side] + _CONTRAST * pattern).clip(0.02, 0.98)


def before(image: np.ndarray, kind: str, camera: Camera, seed: int) -> np.ndarray:
    """(H, W, 3) uint8: the picture (H, W, 4) uint8 of a head, before the surroundings `kind`."""
    cover = image[..., 3:] / 255.0
    seen = image[..., :3] * cover + 255.0 * behind(kind, camera, seed) * (1 - cover)
    return np.rint(seen).astype(np.uint8)
