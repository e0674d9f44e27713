"""Camera poses of raw photos, by COLMAP through pycolmap (an extra: its wheel is large, and most captures come with
poses).

The result is a folder of its own that `load` reads like any COLMAP capture: `images/` with the photos turned upright,
`sparse/N/` with the models. Photos share one camera (OPENCV) when they have one size. Features are found at no more
than 1600 pixels a side: more costs minutes on a CPU and moves poses by less than a pixel.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from nerf_plugin.datasets import images
from nerf_plugin.datasets.errors import DatasetError
from nerf_plugin.datasets.images import photos_in

MAX_SIDE, MAX_FEATURES, EXHAUSTIVE = 1600, 4096, 120


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
    say(f"looking for features in {len(files)} photos")
    database = out / "database.db"
    pycolmap.set_random_seed(seed)
    extraction = pycolmap.FeatureExtractionOptions()
    extraction.max_image_size, extraction.sift.max_num_features = MAX_SIDE, MAX_FEATURES
    reader = pycolmap.ImageReaderOptions()
    reader.camera_model = "OPENCV"
    mode = pycolmap.CameraMode.SINGLE if len(sizes) == 1 else pycolmap.CameraMode.PER_IMAGE
    pycolmap.extract_features(
        database, out / "images", camera_mode=mode, reader_options=reader, extraction_options=extraction
    )
    if len(files) <= EXHAUSTIVE:
        say(f"matching {len(files) * (len(files) - 1) // 2} pairs of photos")
        pycolmap.match_exhaustive(database)
    else:
        say("matching photos with those taken just before and after")
        pycolmap.match_sequential(database)
    say("placing cameras")
    options = pycolmap.IncrementalPipelineOptions()
    options.random_seed, options.min_model_size = seed, 3
    (out / "sparse").mkdir()
    models = pycolmap.incremental_mapping(database, out / "images", out / "sparse", options=options)
    placed = max((model.num_reg_images() for model in models.values()), default=0)
    if placed < 3:
        advice = "Take sharp photos of a textured subject that share at least two thirds of their view with the next."
        raise DatasetError(photos, f"finding poses: {placed} of {len(files)} photos could be fitted together", advice)
    return placed, len(files)


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
