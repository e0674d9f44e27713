"""Captures: reading what people have, in the conventions they have it in, and refusing with reasons.

`load(path, split)` looks at what lies at `path` and hands it to the reader of that convention:

    transforms_train.json (and _test, _val)   `transforms`   NeRF 'Blender'
    transforms.json                           `transforms`   instant-ngp, nerfstudio
    cameras.bin|txt, sparse/, sparse/0, ...   `colmap`       COLMAP model, text or binary
    photos and nothing else                   `plain`        the capture that was made of them, at PHOTOS-posed

Everything that can be judged without decoding pixels is judged here (files, headers, sizes, numbers, poses), so that a
bad capture fails before the first second of work; pixels are checked when a view is first used.
"""

from __future__ import annotations

from pathlib import Path

from nerf_plugin.datasets.model import Dataset, DatasetError, View

__all__ = ["Dataset", "DatasetError", "View", "load", "recognise"]

SPLITS = ("train", "test", "val", "all")


def load(path: Path | str, split: str = "train") -> Dataset:
    """Reads a capture.

    `path`: a folder, or a transforms JSON file. `split`: "train", "test", "val" (same as test where there is none) or
    "all". Where the capture names no test views, every eighth of the frames sorted by name (0, 8, 16, ...) is held out.
    The world frame, and the unit of length, are those of the file. Raises DatasetError.
    """
    from nerf_plugin.datasets import colmap, plain, transforms

    path = Path(path)
    if split not in SPLITS:
        raise DatasetError(path, f"there is no split {split!r}", f"Choose one of {', '.join(SPLITS)}.")
    if not path.exists():
        raise DatasetError(path, "does not exist", "Give the folder of a capture, or its transforms.json.")
    kind = recognise(path)
    if kind == "file":
        return transforms.load_file(path, split)
    if path.is_file():
        raise DatasetError(path, "is a file but no transforms JSON", "Give the folder of the capture.")
    if kind == "blender":
        return transforms.load_blender(path, split)
    if kind == "transforms":
        return transforms.load_file(path / "transforms.json", split)
    if kind == "colmap":
        return colmap.load(path, split)
    if kind == "photos":
        return colmap.load(plain.posed(path), split)
    raise DatasetError(
        path,
        "holds no transforms_train.json, no transforms.json, no COLMAP model and no photos",
        "Give the folder that has one of them.",
    )


def recognise(path: Path) -> str | None:
    """What lies at `path`: "file" (a transforms JSON), or a folder that is "blender", "transforms", "colmap" or
    "photos" (without poses); None when it is no capture. Looks at names only."""
    from nerf_plugin.datasets import colmap, plain

    if path.is_file():
        return "file" if path.suffix == ".json" else None
    if not path.is_dir():
        return None
    if any((path / f"transforms_{name}.json").exists() for name in ("train", "test", "val")):
        return "blender"
    if (path / "transforms.json").exists():
        return "transforms"
    if colmap.find_models(path):
        return "colmap"
    return "photos" if plain.photos_in(path) else None
