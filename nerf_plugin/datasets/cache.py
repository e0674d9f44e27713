"""Decoded photos on disk, mapped into memory: a worker that walks over fifty photos needs room for the pages it
touches, not for all.

Files are named by the view's fingerprint, so a changed photo, mask, lens or size is another file, and workers of one
machine share them. They are written beside their place and renamed, so several workers may fill the same cache at once.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from nerf_plugin.datasets.model import View


def cached_image(view: View, folder: Path | str) -> np.ndarray:
    """`view.image()` as a read-only (H, W, 4) uint8 memory map of a file in `folder` (made when it is not there)."""
    folder = Path(folder)
    file = folder / f"{view.fingerprint}.npy"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, suffix=".partial")
        try:
            with os.fdopen(handle, "wb") as stream:
                np.save(stream, view.image(), allow_pickle=False)
            os.replace(name, file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    return np.load(file, mmap_mode="r", allow_pickle=False)
