"""Captures: reading what people have, in the conventions they have it in, and refusing with reasons.

`load(path, split)` looks at what lies at `path` and hands it to the reader of that convention:

    transforms_train.json (and _test, _val)   `transforms`   NeRF 'Blender'
    transforms.json                           `transforms`   instant-ngp, nerfstudio
    cameras.bin|txt, sparse/, sparse/0, ...   `colmap`       COLMAP model, text or binary

Everything that can be judged without decoding pixels is judged here (files, headers, sizes, numbers, poses), so that a
bad capture fails before the first second of work; pixels are checked when a view is first used.
"""

from __future__ import annotations

from pathlib import Path

from nerf_plugin.datasets.model import Dataset, DatasetError, View

__all__ = ["Dataset", "DatasetError", "View", "load"]

SPLITS = ("train", "test", "val", "all")


def load(path: Path | str, split: str = "train") -> Dataset:
    """Reads a capture.

    `path`: a folder, or a transforms JSON file. `split`: "train", "test", "val" (same as test where there is none) or
    "all". Where the capture names no test views, every eighth of the frames sorted by name (0, 8, 16, ...) is held out.
    The world frame, and the unit of length, are those of the file. Raises DatasetError.
    """
    from nerf_plugin.datasets import colmap, transforms

    path = Path(path)
    if split not in SPLITS:
        raise DatasetError(path, f"there is no split {split!r}", f"Choose one of {', '.join(SPLITS)}.")
    if not path.exists():
        raise DatasetError(path, "does not exist", "Give the folder of a capture, or its transforms.json.")
    if path.is_file():
        if path.suffix == ".json":
            return transforms.load_file(path, split)
        raise DatasetError(path, "is a file but no transforms JSON", "Give the folder of the capture.")
    if any((path / f"transforms_{name}.json").exists() for name in ("train", "test", "val")):
        return transforms.load_blender(path, split)
    if (path / "transforms.json").exists():
        return transforms.load_file(path / "transforms.json", split)
    if colmap.find_models(path):
        return colmap.load(path, split)
    raise DatasetError(
        path,
        "holds no transforms_train.json, no transforms.json and no COLMAP model",
        "Give the folder that has one of them; for photos without camera poses, run `daf nerf poses` on them first.",
    )
