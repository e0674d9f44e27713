"""The turns: shape from colours, silhouettes from shape and colours, colours from silhouettes.

The first colours are those of a ball where the cameras look, and of the photos' rims. Turns begin on small photos and a
coarse lattice, in which one photo in six may be sure of the contrary, and end on a finer one with one in twenty. The
last silhouettes are drawn on the photos themselves, where the shape says nearly all but the exact outline (outline.py).

Not every capture can be cut so (a subject that the photos cut off, surroundings in its very colours), and a wrong mask
is worse than none. So three things are asked of the result, and a reason is given where one is not so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter, zoom

from nerf_plugin.cameras import Camera, focus_point
from nerf_plugin.foreground.colours import Palette, codes, smooth
from nerf_plugin.foreground.hull import NOWHERE, Volume
from nerf_plugin.foreground.outline import draw

LEAST = 8
_LEVELS = ((128, 56, (1.0, 1.5, 2.0, 3.0, 4.0)), (256, 96, (4.0, 4.0)))
"""Pixels of the longer side, points along the box, and how strict each turn is."""
_MOST = 80_000_000
"""Points times photos: more take more memory (4 bytes each) than they are worth."""
_FINE = 800
"""Pixels of the longer side at which silhouettes are drawn."""
_BALL = 0.35
_RIM = 0.04
_SHAPE = 1.5
"""How much the shape says of a pixel against its colours."""
_AGREE, _CUT, _COVER = 0.9, 0.05, (0.01, 0.8)

Picture = Callable[[int, int, int], np.ndarray]


@dataclass(frozen=True, eq=False)
class Foreground:
    """Silhouettes of a capture, and how far to believe them.

    `agreement`: median intersection over union of a photo's silhouette and the shape's; `cover`: median share of a
    photo that is subject, 0 where nothing was found; `cut`: share of the shape's surface where it leaves what the
    cameras see. `problem`: why not to use it, or None. `mask(i)` draws one silhouette.
    """

    agreement: float
    cover: float
    cut: float
    problem: str | None
    mask: Callable[[int], np.ndarray]


def find(cameras: Sequence[Camera], picture: Picture, box: np.ndarray, say: Callable[[str], object]) -> Foreground:
    """The foreground of posed photos.

    cameras: of the photos as they are in the files, lens and all. picture: (index, width, height) -> (height, width, 3)
    uint8 sRGB. box: (2, 3) world, in which the subject is. say: hears of each turn.
    """
    if len(cameras) < LEAST:
        return _nothing(f"there are {len(cameras)} photos, and at least {LEAST} are needed")
    turns, turn = sum(len(level[2]) for level in _LEVELS), 0
    palette: Palette | None = None
    for side, points, strictness in _LEVELS:
        scene = _Scene(cameras, picture, box, side, points)
        if not len(scene.volume.points):
            return _nothing("there is no place that most photos show")
        palette = palette or scene.first_palette(focus_point(list(cameras)), box)
        for strict in strictness:
            turn += 1
            say(f"finding the foreground: turn {turn} of {turns}")
            odds = scene.odds(palette)
            occupancy = scene.volume.occupancy(odds, strict)
            held = scene.silhouettes(odds, occupancy, rims=turn > 2)
            palette = scene.palette(held)
        solid = scene.volume.largest(occupancy)
        if not solid.any():
            return _nothing("no shape has silhouettes that the photos agree on")
        box = scene.volume.around(solid)
    hulls = scene.hulls(solid)
    agreement = float(np.median([_overlap(one > 0.5, hull) for one, hull in zip(held, hulls)]))
    cover, cut = float(np.median([hull.mean() for hull in hulls])), scene.volume.cut(solid)

    def mask(index: int) -> np.ndarray:
        """(height, width) uint8 of a photo: 255 is subject."""
        camera = cameras[index]
        fine = _within(camera, _FINE)
        rgb = picture(index, fine.width, fine.height) / np.float32(255)
        alpha = draw(rgb, hulls[index], palette.odds(index, codes(rgb)))
        whole = zoom(alpha, (camera.height / fine.height, camera.width / fine.width), order=1)
        return np.asarray(np.rint(255 * whole).astype(np.uint8))

    return Foreground(agreement, cover, cut, _judge(agreement, cover, cut), mask)


class _Scene:
    """The photos at one size, and a lattice over the box; lists are by photo."""

    def __init__(self, cameras: Sequence[Camera], picture: Picture, box: np.ndarray, side: int, points: int) -> None:
        small = [_within(camera, side) for camera in cameras]
        self.photos = [picture(i, camera.width, camera.height) / np.float32(255) for i, camera in enumerate(small)]
        self.bins = [codes(rgb) for rgb in self.photos]
        self.rims = [_rim(rgb.shape[:2]) for rgb in self.photos]
        self.volume = Volume(small, box, min(points, int((_MOST / len(small)) ** (1 / 3))))

    def first_palette(self, focus: np.ndarray, box: np.ndarray) -> Palette:
        """A ball where the cameras look against the rims, and against what the lattice is not seen in."""
        away = np.linalg.norm(self.volume.points - focus, axis=1)
        inside = self.hulls(away < _BALL * 0.5 * (box[1] - box[0]).max())
        reached = self.hulls(np.ones(len(away), bool))
        return Palette(self.bins, inside, [rim | ~hull for rim, hull in zip(self.rims, reached)])

    def odds(self, palette: Palette) -> list[np.ndarray]:
        """What colours say of each pixel."""
        return [smooth(palette.odds(i, code), rgb) for i, (code, rgb) in enumerate(zip(self.bins, self.photos))]

    def silhouettes(self, odds: list[np.ndarray], occupancy: np.ndarray, rims: bool) -> list[np.ndarray]:
        """How likely each pixel is of the subject, by its colour and the shape. rims: whether one on a photo's rim may
        be; it may once there is a shape."""
        held = []
        for i, colour in enumerate(odds):
            one = 1 / (1 + np.exp(-(colour + _SHAPE * self.volume.seen(i, occupancy))))
            held.append(one if rims else np.where(self.rims[i], np.minimum(one, 0.5), one))
        return held

    def palette(self, held: list[np.ndarray]) -> Palette:
        """The colours of silhouettes, without those along outlines, which are mixtures."""
        pure = [_away_from_outline(one > 0.5) for one in held]
        inside = [one * clear for one, clear in zip(held, pure)]
        return Palette(self.bins, inside, [(1 - one) * clear for one, clear in zip(held, pure)])

    def hulls(self, solid: np.ndarray) -> list[np.ndarray]:
        """(h, w) bool: where the photos see some of the points `solid` (N,)."""
        shape = np.where(solid, -NOWHERE, NOWHERE)
        return [self.volume.seen(i, shape) > 0 for i in range(len(self.photos))]


def _judge(agreement: float, cover: float, cut: float) -> str | None:
    if cut > _CUT:
        return f"the subject reaches beyond what most photos show ({cut:.0%} of its surface is where it is cut off)"
    if not _COVER[0] <= cover <= _COVER[1]:
        return f"what the photos agree on covers {cover:.1%} of the typical photo"
    if agreement < _AGREE:
        return f"colours do not tell the subject from its surroundings (silhouettes agree to {agreement:.0%})"
    return None


def _within(camera: Camera, side: int) -> Camera:
    return camera.scaled(min(1.0, side / max(camera.width, camera.height)))


def _rim(shape: tuple[int, ...]) -> np.ndarray:
    rim = np.ones(shape, bool)
    wide = max(2, round(_RIM * min(shape)))
    rim[wide:-wide, wide:-wide] = False
    return rim


def _away_from_outline(mask: np.ndarray) -> np.ndarray:
    """(h, w) bool: the pixels whose neighbours are all on the same side; the others are of both colours."""
    return np.asarray(minimum_filter(mask, 3) == maximum_filter(mask, 3))


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def _nothing(problem: str) -> Foreground:
    def mask(index: int) -> np.ndarray:
        raise LookupError(f"there is no foreground: {problem}")

    return Foreground(0.0, 0.0, 0.0, problem, mask)
