"""Camera poses of raw photos, by COLMAP through pycolmap (an extra: its wheel is large, and most captures come with
poses).

The result is a folder of its own that `load` reads like any COLMAP capture: `images/` with the photos turned upright,
`sparse/N/` with the models. Photos share one camera (OPENCV) when they have one size. Features are found at no more
than 1600 pixels a side: more costs minutes on a CPU and moves poses by less than a pixel. COLMAP looks at photos once
more at twice their size; that takes most of the time and is left out for all but small ones.

COLMAP is silent while it works, so its database is read meanwhile: a row for each photo or pair that is done.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from nerf_plugin.datasets import images, tally
from nerf_plugin.datasets.errors import DatasetError
from nerf_plugin.datasets.images import photos_in

MAX_SIDE, MAX_FEATURES, EXHAUSTIVE = 1600, 4096, 120
SMALL = 1000
"""Photos of fewer pixels a side are looked at in twice their size, too: they have too few features otherwise."""
BLOCK = 8
"""Photos whose pairs are matched, and put into the database, together."""
EVERY = 3.0
"""Seconds between words of progress."""


def estimate_poses(
    photos: Path, out: Path, seed: int = 0, say: Callable[[str], Any] = lambda line: None
) -> tuple[int, int]:
    """Finds poses for the photos in a folder and writes a capture to `out`, which must not exist or be empty.

    Returns how many photos were placed (in the largest model) and how many there are. `say` hears about each step.
    Raises DatasetError when pycolmap is not installed, a photo is damaged, or no two photos fit together.
    """
    pycolmap = load_pycolmap()
    if not photos.is_dir():
        raise DatasetError(photos, "is no folder", "Give the folder that holds the photos.")
    if out.exists() and any(out.iterdir()):
        raise DatasetError(out, "exists and is not empty", "Choose another folder with --out, or move it away.")
    files = photos_in(photos)
    if len(files) < 3:
        raise DatasetError(photos, f"holds {len(files)} photos", "Take 40 to 100 photos around the subject.")
    sizes = _gather(files, out / "images")
    database = out / "database.db"
    pycolmap.set_random_seed(seed)
    extraction = pycolmap.FeatureExtractionOptions()
    extraction.max_image_size, extraction.sift.max_num_features = MAX_SIDE, MAX_FEATURES
    extraction.sift.first_octave = -1 if max(max(size) for size in sizes) < SMALL else 0
    reader = pycolmap.ImageReaderOptions()
    reader.camera_model = "OPENCV"
    mode = pycolmap.CameraMode.SINGLE if len(sizes) == 1 else pycolmap.CameraMode.PER_IMAGE
    with told(say, "camera poses, 1 of 3: features of photos", database, "keypoints", len(files)):
        pycolmap.extract_features(
            database, out / "images", camera_mode=mode, reader_options=reader, extraction_options=extraction
        )
    if len(files) <= EXHAUSTIVE:
        pairs = len(files) * (len(files) - 1) // 2
        blocks = pycolmap.ExhaustivePairingOptions()
        blocks.block_size = BLOCK
        with told(say, "camera poses, 2 of 3: matching pairs of photos", database, "matches", pairs):
            pycolmap.match_exhaustive(database, pairing_options=blocks)
    else:
        line = "camera poses, 2 of 3: matching photos with those taken just before and after, pairs"
        with told(say, line, database, "matches"):
            pycolmap.match_sequential(database)
    options = pycolmap.IncrementalPipelineOptions()
    options.random_seed, options.min_model_size = seed, 3
    (out / "sparse").mkdir()
    count = 2

    def next_camera() -> None:
        nonlocal count
        count += 1
        say(f"camera poses, 3 of 3: placing cameras: {min(count, len(files))} of {len(files)}")

    say("camera poses, 3 of 3: placing cameras")
    models = pycolmap.incremental_mapping(
        database, out / "images", out / "sparse", options=options, next_image_callback=next_camera
    )
    placed = max((model.num_reg_images() for model in models.values()), default=0)
    if placed < 3:
        advice = "Take sharp photos of a textured subject that share at least two thirds of their view with the next."
        raise DatasetError(photos, f"finding poses: {placed} of {len(files)} photos could be fitted together", advice)
    return placed, len(files)


@contextmanager
def told(say: Callable[[str], Any], what: str, database: Path, table: str, total: int = 0) -> Iterator[None]:
    """Say now and then how many rows of a table the block has written; `total`: how many there will be, 0: unknown. The
    counting is done by another process (see tally.py)."""
    say(f"{what}: {f'0 of {total}' if total else 0}")
    command = [sys.executable, "-I", tally.__file__, str(database), table, str(EVERY)]
    counting = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def listen() -> None:
        assert counting.stdout is not None
        for line in counting.stdout:
            if line.strip():
                say(f"{what}: {int(line)}" + (f" of {total}" if total else ""))

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield
    finally:
        counting.kill()
        counting.wait()
        thread.join()


def _gather(files: list[Path], folder: Path) -> set[tuple[int, int]]:
    """Copies photos, turned upright so that nobody need wonder about EXIF; returns their sizes."""
    folder.mkdir(parents=True)
    sizes = set()
    for path in files:
        shape = images.header(path)
        sizes.add(shape.upright_size)
        if shape.orientation == 1:
            shutil.copy(path, folder / path.name)
        else:
            Image.fromarray(images.decode(path)[..., :3]).save(folder / path.name, quality=97)
    return sizes


def load_pycolmap() -> Any:
    """The module pycolmap, hushed. Raises DatasetError when it is not installed."""
    try:
        import pycolmap
    except ImportError as error:
        problem = "poses are estimated by pycolmap, which is not installed"
        raise DatasetError("pycolmap", problem, "Install the extra: pip install 'daf[poses]'.") from error
    pycolmap.logging.minloglevel = 2
    return pycolmap
