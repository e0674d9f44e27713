"""What a capture is once it has been read and found sound: a list of posed views, and how to get their pixels.

Pixels are not kept: a view knows its files and decodes them when asked, so that a thousand photos cost nothing until
used and a worker holds only the views it works on. Whatever stands between the file and the pinhole image that training
wants (EXIF rotation, mask file, lens, size) is described by the view's fields and done by `View.image`, in that order.

Alpha is straight (not premultiplied) throughout, as in PNG; resampling premultiplies inside.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from nerf_plugin.cameras import Camera
from nerf_plugin.datasets import images
from nerf_plugin.datasets.errors import DatasetError

__all__ = ["Dataset", "DatasetError", "View"]


@dataclass(frozen=True, eq=False)
class View:
    """One photo with its camera.

    `camera` is the pinhole of what `image()` returns. `lens` is the camera of the file itself where it differs
    (distortion, another size), `mask` a file whose dark pixels are background, `upright` whether the EXIF orientation
    is applied.
    """

    name: str
    path: Path
    camera: Camera
    lens: Camera | None = None
    mask: Path | None = None
    upright: bool = True

    def image(self) -> np.ndarray:
        """(height, width, 4) uint8 RGBA, sRGB with straight alpha (255 where the photo has none); decoded anew on every
        call.

        Raises DatasetError naming the file when it cannot be decoded.
        """
        width, height = self.camera.width, self.camera.height
        reduced = self.lens is not None and width < self.lens.width and height < self.lens.height
        at_least = min(width, height) if reduced and self.mask is None else 0
        pixels = images.decode(self.path, upright=self.upright, at_least=at_least)
        if self.mask is not None:
            pixels = images.apply_mask(pixels, self.mask)
        if reduced:  # first, so that the lens costs the pixels that are wanted and no more
            pixels = images.resize(pixels, width, height)
        if self.lens is not None and self.lens.distortion:
            pixels = images.undistort(pixels, self.lens, self.camera if reduced else self.lens.pinhole())
        return images.resize(pixels, width, height)

    def scaled(self, factor: float) -> View:
        """The same view at another size (box-filtered from the file); whole pixels, at least one."""
        return replace(self, lens=self.lens or self.camera, camera=self.camera.scaled(factor))

    @property
    def fingerprint(self) -> str:
        """Hex digest of the files' bytes and of everything that `image()` does to them: equal prints, equal pixels
        and rays.
        """
        digest = hashlib.blake2b(digest_size=16)
        for path in (self.path, self.mask):
            digest.update(b"\0" if path is None else hashlib.blake2b(_bytes(path), digest_size=16).digest())
        lens = self.lens.to_plain() if self.lens else None
        digest.update(repr((self.camera.to_plain(), lens, self.upright)).encode())
        return digest.hexdigest()

    def to_plain(self) -> dict[str, Any]:
        """Strings and numbers only, for messages between processes."""
        return {
            "name": self.name,
            "path": str(self.path),
            "camera": self.camera.to_plain(),
            "lens": self.lens.to_plain() if self.lens else None,
            "mask": str(self.mask) if self.mask else None,
            "upright": self.upright,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> View:
        """The inverse of `to_plain`."""
        return cls(
            name=plain["name"],
            path=Path(plain["path"]),
            camera=Camera.from_plain(plain["camera"]),
            lens=Camera.from_plain(plain["lens"]) if plain["lens"] else None,
            mask=Path(plain["mask"]) if plain["mask"] else None,
            upright=plain["upright"],
        )


@dataclass(frozen=True, eq=False)
class Dataset:
    """A capture, or one split of it.

    `bounds`: (2, 3) float64 lower and upper corner of a world box that holds the subject, or None when nothing is
    known. `has_alpha`: the photos (or mask files) tell subject from background. `points`: (N, 3) float64 sparse points,
    where the capture has them. `subject`: (2, 3) float64 box of what a surface is made of where there are no masks,
    else None. `dialect`: which convention it was read from. `notes`: what a user should hear about the reading.
    """

    name: str
    path: Path
    views: list[View]
    bounds: np.ndarray | None
    has_alpha: bool
    dialect: str = "blender"
    points: np.ndarray | None = None
    notes: list[str] = field(default_factory=list)
    outer_bounds: np.ndarray | None = None
    subject: np.ndarray | None = None

    def scaled(self, factor: float) -> Dataset:
        """All views at another size."""
        return replace(self, views=[view.scaled(factor) for view in self.views])

    @property
    def fingerprint(self) -> str:
        """Hex digest of all views' fingerprints: the same for the same photos and cameras, wherever they lie."""
        digest = hashlib.blake2b(digest_size=16)
        for view in self.views:
            digest.update(view.fingerprint.encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.views)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(
            path, f"cannot be read ({error.strerror})", "Restore the file or fix its permissions."
        ) from error
