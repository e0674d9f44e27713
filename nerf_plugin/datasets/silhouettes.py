"""Mask files for a capture that has none: `nerf_plugin.foreground` on its photos, and where the readers look for masks.

Masks of one folder of photos go to `masks` beside it, those of several (train, test) to a folder each in `masks`. They
are written under another name and renamed together, so half a set of masks is never found.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from nerf_plugin.cameras import Camera
from nerf_plugin.datasets import bounds, images
from nerf_plugin.datasets.errors import DatasetError
from nerf_plugin.datasets.model import Dataset, View
from nerf_plugin.export.atomic import write_bytes
from nerf_plugin.foreground import Foreground, find

_CELLS, _COLUMNS, _CELL = 24, 6, 220
_BEHIND = (255, 0, 255)


def find_masks(capture: Dataset, say: Callable[[str], object] = lambda line: None) -> Foreground:
    """The foreground of all photos of a capture, by the consistency of their silhouettes; `mask(i)` is on the pixels of
    view i's file. Raises DatasetError when a photo cannot be decoded."""
    cameras = [_file_camera(view) for view in capture.views]

    def picture(index: int, width: int, height: int) -> np.ndarray:
        view = capture.views[index]
        pixels = images.decode(view.path, upright=view.upright, at_least=min(width, height))
        return images.resize(pixels, width, height)[..., :3]

    box = bounds.subject([view.camera for view in capture.views], has_alpha=False)
    assert box is not None, "a capture has views"
    return find(cameras, picture, box, say)


def check_unmasked(capture: Dataset) -> None:
    """Raises DatasetError where a capture has a foreground already, or its place for masks is taken."""
    if capture.has_alpha:
        raise DatasetError(capture.path, "has masks or alpha already", "Train with them, or move them away.")
    place = masks_folder(capture.views)
    if place.exists():
        raise DatasetError(place, "is there already", "Move it away to have masks made anew.")


def masks_folder(views: list[View]) -> Path:
    """Where the masks of these photos belong."""
    folders = {view.path.parent for view in views}
    common = Path(os.path.commonpath(folders))
    return (common.parent if common in folders or common.name == "images" else common) / "masks"


def write_masks(capture: Dataset, found: Foreground, say: Callable[[str], object] = lambda line: None) -> Path:
    """Writes all masks of a foreground; returns their folder. Raises DatasetError when there are masks already, or they
    cannot be written."""
    check_unmasked(capture)
    place = masks_folder(capture.views)
    several = len({view.path.parent for view in capture.views}) > 1
    try:
        work = Path(tempfile.mkdtemp(prefix=".masks.", dir=place.parent))
    except OSError as error:
        problem = f"cannot be made ({error.strerror}); the masks belong there"
        raise DatasetError(place, problem, "Copy the capture to a folder that can be written to.") from error
    try:
        for index, view in enumerate(capture.views):
            say(f"drawing the foreground: photo {index + 1} of {len(capture.views)}")
            folder = work / view.path.parent.name if several else work
            folder.mkdir(exist_ok=True)
            Image.fromarray(found.mask(index)).save(folder / f"{view.path.stem}.png")
        work.chmod(0o755)
        work.rename(place)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return place


def draw_sheet(capture: Dataset, found: Foreground, path: Path) -> Path:
    """Writes a PNG of up to 24 photos, evenly chosen: what was cut out of each, over a colour that nobody has."""
    chosen = np.unique(np.linspace(0, len(capture.views) - 1, min(_CELLS, len(capture.views))).astype(int))
    columns = min(_COLUMNS, len(chosen))
    page = Image.new("RGB", (columns * _CELL, -(-len(chosen) // columns) * _CELL), _BEHIND)
    for number, index in enumerate(chosen):
        view = capture.views[index]
        pixels = images.decode(view.path, upright=view.upright)
        pixels[..., 3] = found.mask(index)
        factor = _CELL / max(pixels.shape[:2])
        size = max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor))
        small = Image.fromarray(images.resize(pixels, *size))
        page.paste(small, (number % columns * _CELL, number // columns * _CELL), small)
    stream = io.BytesIO()
    page.save(stream, "PNG")
    return write_bytes(path, stream.getvalue())


def _file_camera(view: View) -> Camera:
    """The camera of a view's file, at the size and the way up that it is decoded."""
    shape = images.header(view.path)
    width, height = shape.upright_size if view.upright else (shape.width, shape.height)
    return (view.lens or view.camera).resized(width, height)
