"""A photo session: cameras around a head, pictures in the NeRF 'Blender' convention, and the truth beside them.

    transforms_{train,test}.json, train/r_0.png ..., test/r_0.png ...   RGBA, straight alpha, sRGB (RGB in a room)
    gt/mesh.obj               the surface that was photographed, closed, world frame, colours at its vertices
    gt/visible_points.npz     area-uniform points that two training cameras or more see: points, normals, rgb, n_views
    gt/test_depth.npz         depth of the test views along the camera's axis, 0 where there is nothing
    face.json                 seed, version and every parameter of the person

A session is written to a folder of its own beside its place and renamed at the end, so half a face is never found.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nerf_plugin.cameras import Camera, look_at
from nerf_plugin.datasets.model import DatasetError
from nerf_plugin.export.obj import write_obj
from nerf_plugin.faces.identity import VERSION, Identity, draw
from nerf_plugin.faces.model import Model, build
from nerf_plugin.faces.raster import Studio
from nerf_plugin.faces.surroundings import before
from nerf_plugin.mesh.surface import Mesh

ANGLE_X = 0.6911112070083618
DISTANCE = 3.25
POINTS = 200_000
"""As many as scanned captures have: the density of the truth is the floor of every distance to it."""
BUILDING = 100  # how many pictures' time it takes to sculpt and paint a head, for progress
_GOLDEN = math.pi * (3 - math.sqrt(5))


def face_cameras(seed: int, split: str, count: int, size: int) -> list[Camera]:
    """`count` square pinholes around the head, even over azimuth and height: a Fibonacci spiral turned by the seed."""
    rng = np.random.Generator(np.random.Philox(key=[seed, VERSION + (1 << 32) + (split == "test")]))
    turn, focal = rng.uniform(0, 2 * math.pi), 0.5 * size / math.tan(0.5 * ANGLE_X)
    low, high = (-0.42, 0.93) if split == "train" else (-0.3, 0.85)
    cameras = []
    for index in range(count):
        height = low + (high - low) * (index + 0.5) / count
        azimuth = turn + _GOLDEN * index + rng.uniform(-0.05, 0.05)
        flat = math.sqrt(1 - height * height)
        spot = DISTANCE * np.array([flat * math.cos(azimuth), flat * math.sin(azimuth), height])
        cameras.append(Camera.from_matrix(look_at(spot, np.zeros(3)), size, size, focal))
    return cameras


def generate(
    out: Path | str,
    seed: int,
    *,
    size: int = 400,
    views: int = 100,
    test_views: int = 20,
    spacing: float = 1.0,
    surroundings: str = "none",
    progress: Callable[[int], Any] | None = None,
) -> Path:
    """One face as a capture in folder `out`; the same bytes for the same arguments.

    `size`: pixels a side. `spacing`: see `model.build`. `surroundings`: "none", and the photos have alpha; "wall" or
    "room", see `surroundings`, and they have none. `progress` is called with the work just
    done, in pictures' worth (BUILDING for the head itself).
    Replaces an earlier face at `out`; raises DatasetError when something else lies there. Returns `out`.
    """
    out = Path(out)
    if out.exists() and not (out / "face.json").exists():
        raise DatasetError(out, "exists and holds no generated face", "Choose another folder, or move it away.")
    work = out.with_name(f".{out.name}.partial")
    shutil.rmtree(work, ignore_errors=True)
    (work / "gt").mkdir(parents=True)
    who = draw(seed)
    model = build(who, spacing)
    if progress is not None:
        progress(BUILDING)
    studio = Studio(model.fine_vertices, model.fine_faces, model.colours)
    points, normals, rgb = _surface_points(model, seed)
    seen, depths = np.zeros(len(points), np.int16), np.zeros((test_views, size, size), np.float32)
    for split, count in (("train", views), ("test", test_views)):
        (work / split).mkdir()
        frames = []
        for index, camera in enumerate(face_cameras(seed, split, count, size)):
            image, depth = studio.photograph(camera)
            if surroundings != "none":
                image = before(image, surroundings, camera, seed)
            Image.fromarray(image).save(work / split / f"r_{index}.png", compress_level=4)
            frames.append({"file_path": f"./{split}/r_{index}", "transform_matrix": camera.matrix.tolist()})
            if split == "train":
                studio.count_seen(camera, points, normals, seen)
            else:
                depths[index] = depth
            if progress is not None:
                progress(1)
        head = {"camera_angle_x": ANGLE_X, "frames": frames}
        (work / f"transforms_{split}.json").write_text(json.dumps(head, indent=1))
    _write_truth(work / "gt", model, points, normals, rgb, seen, depths)
    session: dict[str, Any] = {"size": size, "views": views, "test_views": test_views, "spacing": spacing}
    if surroundings != "none":
        session["surroundings"] = surroundings
    _write_identity(work / "face.json", who, session)
    shutil.rmtree(out, ignore_errors=True)
    work.rename(out)
    return out


def _surface_points(model: Model, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Area-uniform points (N, 3) on the fine mesh with its normals (N, 3) and colours (N, 3) uint8; stratified by
    area.
    """
    a, b, c = (model.fine_vertices[model.fine_faces[:, i]] for i in range(3))
    flat = np.cross(b - a, c - a)
    ends = np.cumsum(np.linalg.norm(flat, axis=1))
    rng = np.random.Generator(np.random.Philox(key=[seed, VERSION + (2 << 32)]))
    where = (np.arange(POINTS) + rng.random(POINTS)) / POINTS * ends[-1]
    face = np.minimum(np.searchsorted(ends, where, side="right"), len(ends) - 1)
    u, v = rng.random((2, POINTS))
    root = np.sqrt(u)
    weights = np.stack([1 - root, root * (1 - v), root * v], 1)[..., None]
    corners = model.fine_faces[face]
    points = (model.fine_vertices[corners] * weights).sum(1)
    normals = flat[face] / np.linalg.norm(flat[face], axis=1, keepdims=True)
    rgb = np.clip((model.colours[corners] * weights).sum(1) + 0.5, 0, 255).astype(np.uint8)
    return points, normals, rgb


def _write_truth(
    folder: Path,
    model: Model,
    points: np.ndarray,
    normals: np.ndarray,
    rgb: np.ndarray,
    seen: np.ndarray,
    depths: np.ndarray,
) -> None:
    colours = np.round(model.colours[: len(model.vertices)] / 255, 4).astype(np.float32)
    write_obj(folder / "mesh.obj", Mesh(model.vertices, model.faces, colours))
    kept = seen >= 2
    np.savez_compressed(
        folder / "visible_points.npz",
        points=points[kept].astype(np.float32),
        normals=normals[kept].astype(np.float32),
        rgb=rgb[kept],
        n_views=seen[kept],
    )
    np.savez_compressed(folder / "test_depth.npz", depth=depths)


def _write_identity(file: Path, who: Identity, session: dict[str, Any]) -> None:
    file.write_text(json.dumps({"version": VERSION, **session, "identity": who.to_plain()}, indent=1))
