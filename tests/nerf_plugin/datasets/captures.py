"""Small captures written by the tests themselves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from nerf_plugin.cameras import look_at


def poses(count: int, radius: float = 4.0) -> list[np.ndarray]:
    """Camera-to-world matrices on a ring and above it, looking at the origin."""
    angles = np.arange(count) * 2.4
    heights = np.linspace(-0.5, 2.0, count)
    return [
        look_at(np.array([radius * np.cos(a), radius * np.sin(a), h]), np.zeros(3)) for a, h in zip(angles, heights)
    ]


def picture(seed: int, width: int = 24, height: int = 16, channels: int = 4) -> np.ndarray:
    """(height, width, channels) uint8 noise, with half of its alpha zero."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    if channels == 4:
        pixels[..., 3] = np.where(np.arange(width) < width // 2, 255, 0)
    return pixels


def blender(folder: Path, count: int = 10, test: int = 2, size: tuple[int, int] = (24, 16)) -> Path:
    """A capture in the Blender convention; returns its folder."""
    for split, number, first in (("train", count, 0), ("test", test, 100)):
        if not number:
            continue
        (folder / split).mkdir(parents=True)
        frames = []
        for index, pose in enumerate(poses(number)):
            Image.fromarray(picture(first + index, *size)).save(folder / split / f"r_{index}.png")
            frames.append({"file_path": f"./{split}/r_{index}", "transform_matrix": pose.tolist(), "rotation": 0.1})
        head = {"camera_angle_x": 0.7, "frames": frames, "made_by": "a test"}
        (folder / f"transforms_{split}.json").write_text(json.dumps(head))
    return folder


def edit(file: Path, change) -> None:
    """Rewrites a JSON file through `change(dict)`."""
    head = json.loads(file.read_text())
    change(head)
    file.write_text(json.dumps(head))
