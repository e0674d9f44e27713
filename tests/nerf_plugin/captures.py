"""Small captures made on the spot: a ball with a pattern, photographed from all around, in the Blender convention."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nerf_plugin.cameras import Camera, look_at

RADIUS = 0.5
ANGLE = 0.7


def photograph(camera: Camera) -> np.ndarray:
    """(H, W, 4) uint8 straight-alpha picture of the ball, four rays a pixel."""
    h, w = camera.height, camera.width
    total = np.zeros((h * w, 4))
    xs, ys = np.tile(np.arange(w), h), np.repeat(np.arange(h), w)
    for dx, dy in ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25)):
        origin, directions = camera.rays(xs + dx, ys + dy)
        directions = directions.astype(np.float64)
        along = -directions @ np.asarray(origin)
        left = RADIUS**2 - (np.asarray(origin) @ origin - along**2)
        hit = left > 0
        points = np.asarray(origin) + directions * (along - np.sqrt(np.maximum(left, 0)))[:, None]
        color = 0.5 + 0.5 * np.sin(9 * points + [0, 1, 2]) * 0.9
        total[:, :3] += np.where(hit[:, None], color, 0)
        total[:, 3] += hit
    alpha = total[:, 3:] / 4
    color = total[:, :3] / np.maximum(total[:, 3:], 1)
    return np.rint(255 * np.concatenate([color, alpha], 1)).astype(np.uint8).reshape(h, w, 4)


def ball(folder: Path, *, size: int = 48, views: int = 14, test_views: int = 3) -> Path:
    """Write the capture; returns its folder."""
    focal = size / 2 / math.tan(ANGLE / 2)
    for split, count, phase in (("train", views, 0.0), ("test", test_views, 0.37)):
        (folder / split).mkdir(parents=True)
        frames: list[dict[str, Any]] = []
        for n in range(count):
            height = 1 - 2 * (n + 0.5) / count
            turn = math.pi * (3 - math.sqrt(5)) * n + phase
            side = math.sqrt(1 - height * height)
            position = 2.0 * np.array([side * math.cos(turn), side * math.sin(turn), height])
            pose = look_at(position, np.zeros(3))
            camera = Camera(size, size, focal, focal, size / 2, size / 2, pose[:3, :3], position)
            Image.fromarray(photograph(camera)).save(folder / split / f"{n:03d}.png")
            frames.append({"file_path": f"./{split}/{n:03d}", "transform_matrix": pose.tolist()})
        text = json.dumps({"camera_angle_x": ANGLE, "frames": frames})
        (folder / f"transforms_{split}.json").write_text(text)
    return folder
