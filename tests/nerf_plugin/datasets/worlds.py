"""A world without parallax: colour is a smooth function of direction alone.

A photo of it through any lens and pose is known exactly, so whatever a reader does (axes, quaternions, intrinsics,
distortion, rotation, scaling) ends in pictures that either agree with the world along the rays of the camera it
returns, or do not.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import captures
import numpy as np
from PIL import Image

from nerf_plugin.cameras import Camera

WIDTH, HEIGHT = 96, 72


def colour(directions: np.ndarray) -> np.ndarray:
    """(N, 3) 0..255 seen along unit directions (N, 3)."""
    waves = np.array([[3.0, 1.0, -2.0], [-1.0, 2.5, 2.0], [2.0, -2.0, 3.0]])
    return 127.5 + 110 * np.sin(directions @ waves.T + np.array([0.3, 1.1, 2.0]))


def shoot(camera: Camera) -> np.ndarray:
    """(H, W, 3) uint8: the photo that this camera, lens and all, takes of the world."""
    xs, ys = (grid.ravel() for grid in np.meshgrid(np.arange(camera.width), np.arange(camera.height)))
    _, directions = camera.rays(xs, ys)
    return np.rint(colour(directions.astype(float))).astype(np.uint8).reshape(camera.height, camera.width, 3)


def worst(view) -> float:
    """Largest difference between a view's pixels and the world along its camera's rays."""
    pixels = view.image()
    assert not view.camera.distortion
    assert pixels.shape == (view.camera.height, view.camera.width, 4)
    return float(np.abs(pixels[..., :3].astype(float) - shoot(view.camera)).max())


def cameras(count: int = 6, **lens) -> list[Camera]:
    """Cameras in a ring; lens parameters as Camera's."""
    lens = {"fy": 83.0, "cx": 46.5, "cy": 37.2, **lens}
    return [Camera.from_matrix(pose, WIDTH, HEIGHT, 80.0, **lens) for pose in captures.poses(count)]


def save(pixels: np.ndarray, path: Path, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def intrinsics(camera: Camera) -> dict:
    keys = ("k1", "k2", "k3", "k4") if camera.fisheye else ("k1", "k2", "p1", "p2", "k3")
    found = dict(zip(keys, camera.distortion))
    size = {"w": camera.width, "h": camera.height}
    return {"fl_x": camera.fx, "fl_y": camera.fy, "cx": camera.cx, "cy": camera.cy, **size, **found}


def write_transforms(
    folder: Path, shots: list[Camera], head: dict, per_frame=lambda index, camera: {}, name="images/{}.png"
):
    """Photos and a transforms.json; returns the folder."""
    frames = []
    for index, camera in enumerate(shots):
        path = name.format(f"{index:03d}")
        save(shoot(camera), folder / path)
        frames.append({"file_path": path, "transform_matrix": camera.matrix.tolist(), **per_frame(index, camera)})
    (folder / "transforms.json").write_text(json.dumps({**head, "frames": frames}))
    return folder


COLMAP_IDS = {
    "SIMPLE_PINHOLE": 0, "PINHOLE": 1, "SIMPLE_RADIAL": 2, "RADIAL": 3, "OPENCV": 4, "OPENCV_FISHEYE": 5,
    "FULL_OPENCV": 6, "FOV": 7, "SIMPLE_RADIAL_FISHEYE": 8, "RADIAL_FISHEYE": 9,
}  # fmt: skip


def colmap_params(model: str, c: Camera) -> list[float]:
    k = list(c.distortion)
    return {
        "SIMPLE_PINHOLE": [c.fx, c.cx, c.cy],
        "PINHOLE": [c.fx, c.fy, c.cx, c.cy],
        "SIMPLE_RADIAL": [c.fx, c.cx, c.cy, *k[:1]],
        "RADIAL": [c.fx, c.cx, c.cy, *k[:2]],
        "OPENCV": [c.fx, c.fy, c.cx, c.cy, *k[:4]],
        "OPENCV_FISHEYE": [c.fx, c.fy, c.cx, c.cy, *k[:4]],
        "FULL_OPENCV": [c.fx, c.fy, c.cx, c.cy, *k[:8]],
        "SIMPLE_RADIAL_FISHEYE": [c.fx, c.cx, c.cy, *k[:1]],
        "RADIAL_FISHEYE": [c.fx, c.cx, c.cy, *k[:2]],
        "FOV": [c.fx, c.fy, c.cx, c.cy, 0.5],
    }[model]


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """w x y z of a rotation matrix, through its symmetric eigenproblem (Bar-Itzhack 2000)."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    k = np.array(
        [[a - e - i, d + b, g + c, h - f], [d + b, e - a - i, h + f, c - g], [g + c, h + f, i - a - e, d - b],
         [h - f, c - g, d - b, a + e + i]]
    ) / 3  # fmt: skip
    x, y, z, w = np.linalg.eigh(k)[1][:, -1]
    return np.array([w, x, y, z])


def write_colmap(folder: Path, shots: list[Camera], model: str, binary: bool, names: list[str], points=()) -> Path:
    """A COLMAP model in `folder` (no photos); one camera for all."""
    folder.mkdir(parents=True, exist_ok=True)
    params, first = colmap_params(model, shots[0]), shots[0]
    poses = []
    for camera in shots:
        world_to_camera = (camera.rotation * (1, -1, -1)).T
        poses.append((quaternion(world_to_camera), -world_to_camera @ camera.position))
    if binary:
        head = struct.pack("<QiiQQ", 1, 1, COLMAP_IDS[model], first.width, first.height)
        (folder / "cameras.bin").write_bytes(head + struct.pack(f"<{len(params)}d", *params))
        body = struct.pack("<Q", len(shots))
        for index, ((q, t), name) in enumerate(zip(poses, names)):
            body += struct.pack("<i7di", index + 1, *q, *t, 1) + name.encode() + b"\0"
            body += struct.pack("<Q", 2) + struct.pack("<ddqddq", 1.0, 2.0, -1, 3.0, 4.0, 7)
        (folder / "images.bin").write_bytes(body)
        body = struct.pack("<Q", len(points))
        for index, point in enumerate(points):
            body += struct.pack("<Q3d3BdQ", index, *point, 1, 2, 3, 0.5, 3) + struct.pack("<6i", 1, 0, 2, 0, 3, 0)
        (folder / "points3D.bin").write_bytes(body)
    else:
        text = f"# cameras\n1 {model} {first.width} {first.height} {' '.join(repr(float(p)) for p in params)}\n"
        (folder / "cameras.txt").write_text(text)
        lines = ["# images"]
        for index, ((q, t), name) in enumerate(zip(poses, names)):
            numbers = " ".join(repr(float(v)) for v in (*q, *t))
            lines += [f"{index + 1} {numbers} 1 {name}", "1.0 2.0 -1" if index % 2 else ""]
        (folder / "images.txt").write_text("\n".join(lines) + "\n")
        rows = [
            f"{i} {x!r} {y!r} {z!r} 1 2 3 0.5 1 0 2 0 3 0" for i, (x, y, z) in enumerate(np.asarray(points).tolist())
        ]
        (folder / "points3D.txt").write_text("# points\n" + "\n".join(rows) + "\n")
    return folder
