"""Small captures made on the spot: a ball with a pattern, photographed from all around, in the Blender convention."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nerf_plugin.cameras import Camera, look_at
from nerf_plugin.faces.noise import fbm

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


def opaque(folder: Path, size: int = 48) -> Path:
    """The same capture before a grey background: no alpha."""
    ball(folder, size=size)
    for photo in folder.glob("*/*.png"):
        image = np.asarray(Image.open(photo)).astype(float)
        grey = image[..., :3] * image[..., 3:] / 255 + 128 * (1 - image[..., 3:] / 255)
        Image.fromarray(grey.astype(np.uint8)).save(photo)
    return folder


def room(camera: Camera, half: float = 4.0) -> np.ndarray:
    """(H, W, 3) uint8 picture of the walls of a cubic room around the origin, covered with blots of many sizes."""
    h, w = camera.height, camera.width
    origin, directions = camera.rays(np.tile(np.arange(w), h), np.repeat(np.arange(h), w))
    with np.errstate(divide="ignore"):
        reach = (np.sign(directions) * half - origin) / directions
    wall = reach.argmin(1)
    points = np.asarray(origin) + directions * reach[np.arange(h * w), wall][:, None]
    colors = np.stack([fbm(points * 1.5, seed, 4) for seed in (100, 200, 300)], 1)
    return np.rint(255 * np.clip(0.5 + 0.6 * colors, 0, 1)).astype(np.uint8).reshape(h, w, 3)


def plain_photos(folder: Path, *, size: int = 160, views: int = 24, alpha: bool = False) -> list[Camera]:
    """Photos of the ball in a room, walking around it, and nothing that says from where; returns the cameras.

    JPEG; with `alpha` PNG whose alpha is the ball (the room is in the colours, as in a photo that was cut out).
    """
    folder.mkdir(parents=True)
    focal = size / 2 / math.tan(0.5)
    cameras = []
    for n in range(views):
        turn = 2 * math.pi * n / views
        position = np.array([1.6 * math.cos(turn), 1.6 * math.sin(turn), 0.5 + 0.3 * math.sin(3 * turn)])
        cameras.append(
            Camera(size, size, focal, focal, size / 2, size / 2, look_at(position, np.zeros(3))[:3, :3], position)
        )
        ball_seen = photograph(cameras[-1]).astype(np.float64)
        cover = ball_seen[..., 3:] / 255
        picture = np.rint(ball_seen[..., :3] * cover + room(cameras[-1]) * (1 - cover)).astype(np.uint8)
        if alpha:
            picture = np.dstack([picture, ball_seen[..., 3].astype(np.uint8)])
            Image.fromarray(picture).save(folder / f"shot_{n:02d}.png")
        else:
            Image.fromarray(picture).save(folder / f"shot_{n:02d}.jpg", quality=95)
    return cameras
