"""Camera paths: from what lies at a path, or a circle around a field.

Three things are read. A nerfstudio camera path (camera_path.json: `camera_path` with a list of `camera_to_world`, 16
numbers row by row, and `fov`, the vertical field of view in degrees; `render_width`, `render_height`, `fps`). A
transforms.json of any dialect (`frames` with `transform_matrix`; fl_x, fl_y, cx, cy, w, h or camera_angle_x, each for
all frames or for one); images need not exist, and lens distortion is not rendered. And a capture's folder, whose own
cameras are meant.

nerfstudio moves and scales a scene before it trains, and its camera paths are in that frame. Where it wrote
dataparser_transforms.json, give that too: its p' = scale (transform p) is undone.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mapreduce import BadInput
from nerf_plugin.cameras import Camera, look_at

MOST_FRAMES = 100_000
MOST_SIDE = 16384
FPS = 24.0
UPS = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}


@dataclass(frozen=True)
class CameraPath:
    """Cameras in the world frame of the photos, and frames a second."""

    cameras: list[Camera]
    fps: float = FPS


def read_path(path: Path, size: tuple[int, int] | None = None, frame_of: Path | None = None) -> CameraPath:
    """Cameras from a file or folder. size: (width, height) that every picture is to have; None: what the file says.
    frame_of: a dataparser_transforms.json. Raises BadInput, naming the file, the frame and what is wrong."""
    if path.is_dir():
        from nerf_plugin.datasets import load

        found = CameraPath([view.camera for view in load(path, "all").views])
    else:
        head = _json(path)
        if "camera_path" in head:
            found = _studio(path, head, size)
        elif "frames" in head:
            found = _transforms(path, head, size)
        else:
            raise BadInput(f"{path} has neither `camera_path` (nerfstudio) nor `frames` (transforms.json)")
    if not found.cameras:
        raise BadInput(f"{path} has no cameras")
    cameras = found.cameras if frame_of is None else _moved_back(found.cameras, frame_of)
    return CameraPath([camera if size is None else camera.resized(*size) for camera in cameras], found.fps)


def orbit(bounds: np.ndarray, frames: int, size: tuple[int, int], *, up: str = "z", elevation: float = 15.0,
          distance: float = 1.6, fov: float = 45.0) -> CameraPath:  # fmt: skip
    """Cameras in a circle around a box (2, 3).

    elevation, fov (vertical): degrees. distance: from the middle, in diagonals of the box.
    """
    axis = np.array(UPS[up])
    first = np.roll(axis, 1)
    second = np.cross(axis, first)
    middle, reach = bounds.mean(0), distance * float(np.linalg.norm(bounds[1] - bounds[0]))
    height = math.radians(elevation)
    width, rows = size
    cameras = []
    for turn in 2 * np.pi * np.arange(frames) / frames:
        flat = math.cos(turn) * first + math.sin(turn) * second
        pose = look_at(middle + reach * (math.cos(height) * flat + math.sin(height) * axis), middle, UPS[up])
        cameras.append(Camera.from_matrix(pose, width, rows, _focal(rows, math.radians(fov))))
    return CameraPath(cameras)


def _json(path: Path) -> dict[str, Any]:
    try:
        head = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); give a camera path or a transforms.json") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not valid JSON ({error})") from error
    if not isinstance(head, dict):
        raise BadInput(f"{path} is JSON but no object")
    return head


def _studio(path: Path, head: dict[str, Any], size: tuple[int, int] | None) -> CameraPath:
    kind = head.get("camera_type", "perspective")
    if kind != "perspective":
        raise BadInput(f"{path}: camera_type {kind!r} cannot be rendered, only perspective")
    width, height = size or _size(path, head, "render_width", "render_height")
    cameras = []
    for index, frame in enumerate(_frames(path, head, "camera_path")):
        pose = _pose(path, index, frame, "camera_to_world")
        fov = _number(path, index, frame, "fov", 1e-3, 179.0)
        cameras.append(Camera.from_matrix(pose, width, height, _focal(height, math.radians(fov))))
    return CameraPath(cameras, _number(path, None, {"fps": FPS} | head, "fps", 0.01, 1000))


def _transforms(path: Path, head: dict[str, Any], size: tuple[int, int] | None) -> CameraPath:
    cameras = []
    for index, frame in enumerate(_frames(path, head, "frames")):
        lens = head | frame
        if {"w", "h"} <= lens.keys():
            width, height = _size(path, lens, "w", "h")
        elif size is not None and "fl_x" not in lens:
            width, height = size
        else:
            raise BadInput(f"{path}, frame {index}: says no size (w, h)" + ("" if size else "; give --size"))
        pose = _pose(path, index, frame, "transform_matrix")
        if "fl_x" in lens:
            fx = _number(path, index, lens, "fl_x", 1e-3, 1e7)
        else:
            fx = _focal(width, _number(path, index, lens, "camera_angle_x", 1e-3, 3.14))
        fy = _number(path, index, {"fl_y": fx} | lens, "fl_y", 1e-3, 1e7)
        cx = _number(path, index, {"cx": width / 2} | lens, "cx", -1e7, 1e7)
        cy = _number(path, index, {"cy": height / 2} | lens, "cy", -1e7, 1e7)
        cameras.append(Camera.from_matrix(pose, width, height, fx, fy=fy, cx=cx, cy=cy))
    return CameraPath(cameras, _number(path, None, {"fps": FPS} | head, "fps", 0.01, 1000))


def _moved_back(cameras: list[Camera], file: Path) -> list[Camera]:
    head = _json(file)
    move = np.array([[0.0] * 4] * 3)
    try:
        move = np.array(head.get("transform"), np.float64)
    except (TypeError, ValueError):
        pass
    scale = _number(file, None, head, "scale", 1e-9, 1e9)
    if move.shape not in ((3, 4), (4, 4)) or not np.allclose(move[:3, :3] @ move[:3, :3].T, np.eye(3), atol=1e-3):
        raise BadInput(f"{file}: `transform` is no 3 x 4 matrix of a rotation and a shift")
    turn, shift = move[:3, :3].T, move[:3, 3]
    back = []
    for camera in cameras:
        matrix = camera.matrix
        matrix[:3, :3] = turn @ matrix[:3, :3]
        matrix[:3, 3] = turn @ (matrix[:3, 3] / scale - shift)
        back.append(
            Camera.from_matrix(matrix, camera.width, camera.height, camera.fx, fy=camera.fy, cx=camera.cx, cy=camera.cy)
        )
    return back


def _focal(pixels: int, angle: float) -> float:
    return 0.5 * pixels / math.tan(0.5 * angle)


def _frames(path: Path, head: dict[str, Any], key: str) -> list[dict[str, Any]]:
    frames = head[key]
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise BadInput(f"{path}: `{key}` is no list of objects")
    if len(frames) > MOST_FRAMES:
        raise BadInput(f"{path}: {len(frames)} frames are more than {MOST_FRAMES}")
    return frames


def _pose(path: Path, index: int, frame: dict[str, Any], key: str) -> np.ndarray:
    try:
        matrix = np.array(frame[key], np.float64).reshape(-1, 4)
    except (KeyError, TypeError, ValueError):
        matrix = np.zeros((0, 4))
    if matrix.shape not in ((3, 4), (4, 4)) or not np.isfinite(matrix).all():
        raise BadInput(f"{path}, frame {index}: `{key}` is no 4 x 4 matrix of numbers")
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    turn = matrix[:3, :3] / np.maximum(lengths, 1e-12)
    if lengths.min() < 1e-9 or not np.allclose(turn.T @ turn, np.eye(3), atol=1e-2) or np.linalg.det(turn) < 0:
        raise BadInput(f"{path}, frame {index}: `{key}` does not hold a rotation")
    return np.concatenate([turn, matrix[:3, 3:]], 1)


def _number(path: Path, index: int | None, found: dict[str, Any], key: str, least: float, most: float) -> float:
    value = found.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        where = path if index is None else f"{path}, frame {index}"
        problem = "is missing" if key not in found else f"is {value!r}, not a number from {least:g} to {most:g}"
        raise BadInput(f"{where}: `{key}` {problem}")
    return float(value)


def _size(path: Path, found: dict[str, Any], *keys: str) -> tuple[int, int]:
    width, height = (int(_number(path, None, found, key, 1, MOST_SIDE)) for key in keys)
    return width, height
