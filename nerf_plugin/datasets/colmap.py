"""COLMAP models, binary and text.

A reconstruction may fall apart into several models (sparse/0, sparse/1, ...), and the first is not always the best: the
one with the most registered images is taken (then the most points). Poses in a model take the world to a camera with
OpenCV axes (x right, y down, looking along +z) by a quaternion w x y z; they are turned into our convention here and
the world is left as it is. Format: https://colmap.github.io/format.html.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nerf_plugin.cameras import Camera
from nerf_plugin.datasets import bounds, images
from nerf_plugin.datasets.model import Dataset, DatasetError, View
from nerf_plugin.datasets.splits import held_out, pick

_AGAIN = "Export the model again (colmap model_converter), or run the reconstruction again."
# Name and number of parameters by model id, in COLMAP's order.
_MODELS = (
    ("SIMPLE_PINHOLE", 3),
    ("PINHOLE", 4),
    ("SIMPLE_RADIAL", 4),
    ("RADIAL", 5),
    ("OPENCV", 8),
    ("OPENCV_FISHEYE", 8),
    ("FULL_OPENCV", 12),
    ("FOV", 5),
    ("SIMPLE_RADIAL_FISHEYE", 4),
    ("RADIAL_FISHEYE", 5),
    ("THIN_PRISM_FISHEYE", 12),
)
_MIN_TRACK, _MAX_ERROR = 3, 2.0


@dataclass
class _Lens:
    model: str
    width: int
    height: int
    params: tuple[float, ...]


@dataclass
class _Shot:
    name: str
    camera: int
    quaternion: np.ndarray
    translation: np.ndarray


def find_models(folder: Path) -> list[Path]:
    """Folders at or below `folder` that hold a model, in order of path."""
    places = [folder, folder / "sparse", folder / "colmap" / "sparse", folder / "dense" / "sparse"]
    places += [child for place in places[1:] if place.is_dir() for child in sorted(place.iterdir())]
    return [place for place in places if _part(place, "cameras") and _part(place, "images")]


def load(folder: Path, split: str) -> Dataset:
    """The largest model in `folder`, with its photos; every eighth by name is held out."""
    models = find_models(folder)
    sizes = [(_count(model, "images"), _count(model, "points3D")) for model in models]
    model, size = max(zip(models, sizes), key=lambda pair: pair[1])
    notes = []
    if len(models) > 1:
        notes.append(f"{len(models)} COLMAP models; {model.relative_to(folder)} is the largest with {size[0]} images")
    lenses, shots = _read_cameras(model), _read_images(model)
    if not shots:
        raise DatasetError(model, "has no registered images", "Run the reconstruction again with more overlap.")
    points = _read_points(model)
    root = _image_root(folder, model, shots)
    views = [_view(model, root, index, shot, lenses) for index, shot in enumerate(shots)]
    views.sort(key=lambda view: view.name)
    has_alpha = images.any_transparent(views)
    box = bounds.estimate([view.camera for view in views], points, has_alpha)
    return Dataset(
        name=folder.resolve().name,
        path=folder,
        views=views if split == "all" else pick(views, held_out(views), split),
        bounds=box,
        has_alpha=has_alpha,
        dialect="colmap",
        points=points,
        notes=notes,
        outer_bounds=bounds.outer(box, has_alpha),
        subject=bounds.subject([view.camera for view in views], has_alpha),
    )


def _part(model: Path, name: str) -> Path | None:
    return next((model / (name + end) for end in (".bin", ".txt") if (model / (name + end)).is_file()), None)


def _count(model: Path, name: str) -> int:
    part = _part(model, name)
    if part is None:
        return 0
    if part.suffix == ".bin":
        with part.open("rb") as file:
            head = file.read(8)
        return struct.unpack("<Q", head)[0] if len(head) == 8 else 0
    lines = sum(1 for _ in _lines(part))
    return lines // 2 if name == "images" else lines


def _lines(part: Path) -> Iterator[list[str]]:
    """Words of each line; comments are left out, empty lines (an image without points) are not."""
    for line in part.read_text("utf-8", errors="replace").splitlines():
        if not line.startswith("#"):
            yield line.split()


class _Bytes:
    """A binary part, read from front to back; running over its end is a DatasetError."""

    def __init__(self, part: Path) -> None:
        self.part, self.raw, self.at = part, part.read_bytes(), 0

    def take(self, layout: str) -> tuple[Any, ...]:
        try:
            found = struct.unpack_from("<" + layout, self.raw, self.at)
        except struct.error as error:
            raise DatasetError(self.part, "ends too early", _AGAIN) from error
        self.at += struct.calcsize("<" + layout)
        return found

    def text(self) -> str:
        end = self.raw.find(b"\0", self.at)
        if end < 0:
            raise DatasetError(self.part, "ends inside a name", _AGAIN)
        name = self.raw[self.at : end].decode("utf-8", errors="replace")
        self.at = end + 1
        return name

    def count(self, at_least: int) -> int:
        """A number of records that take `at_least` bytes each, so that a damaged number cannot make us allocate the
        world.
        """
        (number,) = self.take("Q")
        if number * at_least > len(self.raw) - self.at:
            raise DatasetError(self.part, f"claims {number} records, more than it has room for", _AGAIN)
        return int(number)


def _read_cameras(model: Path) -> dict[int, _Lens]:
    part = _part(model, "cameras")
    assert part is not None
    lenses = {}
    if part.suffix == ".txt":
        for words in _lines(part):
            if words:
                try:
                    size = int(words[2]), int(words[3])
                    lenses[int(words[0])] = _Lens(words[1], *size, tuple(float(word) for word in words[4:]))
                except (ValueError, IndexError) as error:
                    raise DatasetError(part, f"has a camera that cannot be read ({' '.join(words)})", _AGAIN) from error
    else:
        data = _Bytes(part)
        for _ in range(data.count(24)):
            number, kind, width, height = data.take("iiQQ")
            if not 0 <= kind < len(_MODELS):
                raise DatasetError(part, f"has a camera of unknown model {kind}", _AGAIN)
            name, params = _MODELS[kind]
            lenses[number] = _Lens(name, width, height, data.take(f"{params}d"))
    for number, lens in lenses.items():
        known = dict(_MODELS).get(lens.model)
        if known is None or known != len(lens.params) or lens.width < 1 or lens.height < 1:
            problem = f"camera {number} ({lens.model}, {lens.width}x{lens.height}) has {len(lens.params)} parameters"
            raise DatasetError(part, problem, _AGAIN)
        if not np.isfinite(lens.params).all():
            raise DatasetError(part, f"camera {number} has a parameter that is no finite number", _AGAIN)
    return lenses


def _read_images(model: Path) -> list[_Shot]:
    part = _part(model, "images")
    assert part is not None
    shots = []
    if part.suffix == ".txt":
        for words in list(_lines(part))[::2]:
            if not words:
                continue
            try:
                numbers = np.array([float(word) for word in words[1:8]])
                shots.append(_Shot(" ".join(words[9:]), int(words[8]), numbers[:4], numbers[4:]))
            except (ValueError, IndexError) as error:
                raise DatasetError(part, f"has an image that cannot be read ({' '.join(words)})", _AGAIN) from error
    else:
        data = _Bytes(part)
        for _ in range(data.count(73)):
            numbers = np.array(data.take("i7d")[1:])
            (camera,) = data.take("i")
            name = data.text()
            marks = data.count(24)
            data.at += 24 * marks
            shots.append(_Shot(name, camera, numbers[:4], numbers[4:]))
    return shots


def _read_points(model: Path) -> np.ndarray | None:
    """(N, 3) float64 of the points that at least three images agree on within two pixels."""
    part = _part(model, "points3D")
    if part is None:
        return None
    kept = []
    if part.suffix == ".txt":
        for words in _lines(part):
            try:
                if len(words) >= 8 + 2 * _MIN_TRACK and float(words[7]) <= _MAX_ERROR:
                    kept.append([float(word) for word in words[1:4]])
            except ValueError as error:
                raise DatasetError(part, f"has a point that cannot be read ({' '.join(words)})", _AGAIN) from error
    else:
        data = _Bytes(part)
        for _ in range(data.count(51)):
            _, x, y, z, _, _, _, error = data.take("Q3d3Bd")
            track = data.count(8)
            data.at += 8 * track
            if track >= _MIN_TRACK and error <= _MAX_ERROR:
                kept.append([x, y, z])
    points = np.array(kept, np.float64).reshape(-1, 3)
    return points[np.isfinite(points).all(1)]


def _image_root(folder: Path, model: Path, shots: list[_Shot]) -> Path:
    places = [folder / "images", folder / "input", folder, model / "images", model.parent / "images"]
    places += [model.parent.parent / "images", folder.parent / "images"]
    for place in places:
        if any(images.is_file(place / shot.name) for shot in shots[:50]):
            return place
    advice = f"Put the photos that the model was made from into {folder / 'images'}."
    raise DatasetError(folder / "images" / shots[0].name, "does not exist, but the COLMAP model names it", advice)


def _view(model: Path, root: Path, index: int, shot: _Shot, lenses: dict[int, _Lens]) -> View:
    part = _part(model, "images")
    assert part is not None
    path = root / shot.name
    if not images.is_file(path):
        advice = "Restore the photo, or delete its image from the model (colmap image_deleter)."
        raise DatasetError(path, "does not exist, but the COLMAP model names it", advice, frame=index)
    if shot.camera not in lenses:
        raise DatasetError(part, f"names camera {shot.camera}, which the model does not have", _AGAIN, frame=index)
    norm = float(np.linalg.norm(shot.quaternion))
    if not np.isfinite(norm) or not np.isfinite(shot.translation).all() or norm < 1e-6:
        problem = f"the pose of {shot.name} contains NaN or infinity, or no rotation"
        raise DatasetError(part, problem, "Delete the image from the model.", frame=index)
    declared = lenses[shot.camera]
    shape = images.header(path)
    upright = images.turn_upright(shape, (declared.width, declared.height), otherwise=False)
    width, height = shape.upright_size if upright else (shape.width, shape.height)
    sx, sy = width / declared.width, height / declared.height
    if abs(sx / sy - 1) > 0.02:
        problem = f"has {width}x{height} pixels where the COLMAP model says {declared.width}x{declared.height}"
        raise DatasetError(path, problem, "Use the photos that the model was made from.", frame=index)
    w, x, y, z = shot.quaternion / norm
    world_to_camera = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    fx, fy, cx, cy, distortion, fisheye = _intrinsics(part, declared)
    camera = Camera(
        declared.width,
        declared.height,
        fx,
        fy,
        cx,
        cy,
        rotation=world_to_camera.T * (1, -1, -1),
        position=-world_to_camera.T @ shot.translation,
        distortion=distortion,
        fisheye=fisheye,
    ).resized(width, height)
    if not 1e-3 < min(camera.fx, camera.fy) <= max(camera.fx, camera.fy) < 1e9:
        problem = f"camera {shot.camera} has a focal length of {camera.fx:g} x {camera.fy:g} pixels of {path.name}"
        raise DatasetError(part.with_stem("cameras"), problem, _AGAIN)
    lens = camera if camera.distortion else None
    return View(shot.name, path, camera.pinhole(), lens, images.sibling_mask(path, root), upright)


def _intrinsics(part: Path, lens: _Lens) -> tuple[float, float, float, float, tuple[float, ...], bool]:
    p = lens.params
    if lens.model in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE"):
        fx, fy, cx, cy, rest = p[0], p[0], p[1], p[2], p[3:]
    else:
        fx, fy, cx, cy, rest = p[0], p[1], p[2], p[3], p[4:]
    fisheye = lens.model.endswith("FISHEYE")
    if lens.model in ("FOV", "THIN_PRISM_FISHEYE"):
        raise DatasetError(part, f"has a {lens.model} camera, which is not supported", "Run colmap image_undistorter.")
    if fx <= 0 or fy <= 0:
        raise DatasetError(part, "has a camera with a focal length that is not positive", _AGAIN)
    if not fisheye and len(rest) in (1, 2):
        rest = (*rest, 0.0)[:2] + (0.0, 0.0)
    return fx, fy, cx, cy, (tuple(rest) if any(rest) else ()), fisheye and any(rest)
