"""transforms.json in its three dialects.

They share frames with a `file_path` and an OpenGL camera-to-world `transform_matrix`, and differ in the rest:

- *Blender* (NeRF, Mildenhall et al. 2020): one file a split, `camera_angle_x` in radians, paths without extension,
RGBA.
- *instant-ngp*: one file; `fl_x fl_y cx cy w h` and Brown-Conrady `k1 k2 p1 p2` for all or per frame; `x_fov` in
degrees; frames
  whose image is missing are passed over, as instant-ngp does (its own `fox` names 17 such); `aabb_scale`.
- *nerfstudio*: one file; `camera_model`, `mask_path`, lists of file names by split, `ply_file_path` with sparse points.
  `applied_transform` says how the poses were brought here from COLMAP's frame. We stay where the file's poses are;
  nothing is re-oriented or rescaled, so meshes come out in the coordinates that went in.

Each number is looked up in the frame first, then in the file's head, whatever the dialect; unknown keys are passed
over.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from nerf_plugin.cameras import Camera
from nerf_plugin.datasets import bounds, images, ply
from nerf_plugin.datasets.model import Dataset, DatasetError, View
from nerf_plugin.datasets.splits import held_out, pick

_EXPORT = "Export the capture again, or correct the file."
_PINHOLES = ("PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE")
_BROWN = ("OPENCV", "SIMPLE_RADIAL", "RADIAL", "FULL_OPENCV")
_ABSURD = 1e9
_FISHEYE = ("OPENCV_FISHEYE", "FISHEYE")


def load_blender(folder: Path, split: str) -> Dataset:
    """A folder with transforms_{train,test,val}.json; without test and val, every eighth training frame is the test
    split.
    """
    files = {name: folder / f"transforms_{name}.json" for name in ("train", "val", "test")}
    there = {name: file for name, file in files.items() if file.exists()}
    if split == "all":
        parts = [_read(file, "blender") for file in there.values()]
        parts[0].views = [view for part in parts for view in part.views]
        return parts[0].dataset(parts[0].views)
    if "train" not in there:
        raise DatasetError(files["train"], "is missing", "Training views are read from it; export the capture again.")
    train = _read(files["train"], "blender")
    wanted = {"train": ("train",), "test": ("test", "val"), "val": ("val", "test")}[split]
    source = next((name for name in wanted if name in there), None)
    if split == "train":
        views = train.views if len(there) > 1 else pick(train.views, held_out(train.views), "train")
    elif source:
        views = _read(there[source], "blender").views
    else:
        views = pick(train.views, held_out(train.views), split)
    return train.dataset(views)


def load_file(file: Path, split: str) -> Dataset:
    """One transforms JSON that holds all frames."""
    found = _read(file, None)
    return found.dataset(found.views if split == "all" else found.split(split))


class _Capture:
    """One file, read: its head, its views, and how it wants to be split."""

    def __init__(self, file: Path, head: dict[str, Any], dialect: str, views: list[View], notes: list[str]) -> None:
        self.file, self.head, self.dialect, self.views, self.notes = file, head, dialect, views, notes

    def split(self, split: str) -> list[View]:
        lists = {name: self.head.get(f"{name}_filenames") for name in ("train", "val", "test")}
        if not any(lists.values()):
            return pick(self.views, held_out(self.views), split)
        for name, names in lists.items():
            if names is not None and not (isinstance(names, list) and all(isinstance(text, str) for text in names)):
                raise DatasetError(self.file, "is no list of file names", _EXPORT, field=f"{name}_filenames")
        order = {"train": ("train",), "test": ("test", "val"), "val": ("val", "test")}[split]
        names = next((lists[name] for name in order if lists[name]), None)
        if names is None:
            return pick(self.views, held_out(self.views), split)
        known = {view.name: view for view in self.views}
        for name in names:
            if _plain_name(str(name)) not in known:
                raise DatasetError(
                    self.file, f"names {name!r}, which no frame has", _EXPORT, field=f"{split}_filenames"
                )
        return [known[_plain_name(str(name))] for name in names]

    def dataset(self, views: list[View]) -> Dataset:
        has_alpha = images.any_transparent(self.views)
        points = None
        if self.head.get("ply_file_path"):
            points = ply.read_points(self.file.parent / str(self.head["ply_file_path"]))
        box = bounds.estimate([view.camera for view in self.views], points, has_alpha)
        return Dataset(
            name=self.file.parent.resolve().name if self.file.name.startswith("transforms") else self.file.stem,
            path=self.file.parent,
            views=views,
            bounds=box,
            has_alpha=has_alpha,
            dialect=self.dialect,
            points=points,
            notes=self.notes,
            outer_bounds=self._declared_box(box) if not has_alpha else None,
            subject=bounds.subject([view.camera for view in self.views], has_alpha),
        )

    def _declared_box(self, box: np.ndarray | None) -> np.ndarray | None:
        """What instant-ngp would model: a cube of side `aabb_scale` in its units, p_ngp = scale p + offset."""
        size, scale = self.head.get("aabb_scale"), self.head.get("scale", 0.33)
        try:
            offset = np.array(self.head.get("offset", (0.5, 0.5, 0.5)), np.float64)
            numbers = np.array([size, scale, *offset], np.float64)
        except (TypeError, ValueError):
            return bounds.outer(box, False)
        if numbers.shape != (5,) or not (np.abs(numbers) < 1e6).all() or scale < 1e-6 or size <= 0:
            return bounds.outer(box, False)
        middle = (0.5 - offset) / scale
        return np.stack([middle - 0.5 * size / scale, middle + 0.5 * size / scale])


def _read(file: Path, dialect: str | None) -> _Capture:
    head = _parse(file)
    frames = head.get("frames")
    if not isinstance(frames, list) or not frames:
        problem = "has no frames" if "frames" in head else "has no list of frames"
        raise DatasetError(file, problem, _EXPORT, field="frames")
    if dialect is None:
        studio = ("camera_model", "applied_transform", "ply_file_path", "train_filenames", "orientation_override")
        marked = any(key in head for key in studio) or any(isinstance(f, dict) and "mask_path" in f for f in frames)
        plain = "camera_angle_x" in head and "fl_x" not in head and "aabb_scale" not in head
        dialect = "nerfstudio" if marked else "blender" if plain else "instant-ngp"
    views: list[View] = []
    missing: list[str] = []
    first: images.Header | None = None
    for index, frame in enumerate(frames):
        if not isinstance(frame, dict):
            raise DatasetError(file, "is not an object", _EXPORT, frame=index)
        name, path = _find_image(file, frame, index)
        matrix = _pose(file, frame, index)
        if not images.is_file(path):
            if "aabb_scale" not in head:
                raise DatasetError(
                    path,
                    f"does not exist, but {file.name} names it (file_path {frame['file_path']!r})",
                    "Restore the image, or take its frame out of the file.",
                    frame=index,
                    field="file_path",
                )
            missing.append(name)
            continue
        shape = images.header(path)
        if dialect == "blender" and not {"w", "h"} <= {*head, *frame}:
            first = first or shape
            if first.upright_size != shape.upright_size:
                now, before = _size(shape.upright_size), _size(first.upright_size)
                raise DatasetError(
                    path,
                    f"has {now} pixels where the frames before it have {before}",
                    "With one camera_angle_x all images must have one size; otherwise give w and h by frame.",
                    frame=index,
                )
        lens, upright = _lens(file, head, frame, index, matrix, shape, path)
        mask = _find_mask(file, frame, index, path)
        views.append(View(name, path, lens.pinhole(), lens if lens.distortion else None, mask, upright))
    notes = []
    if missing:
        gone = f"{missing[0]} for one"
        notes.append(
            f"{len(missing)} of {len(frames)} frames of {file.name} have no image and are passed over ({gone})"
        )
    if len(views) * 2 < len(frames):
        problem = f"only {len(views)} of its {len(frames)} frames have their image ({missing[0]} is missing, for one)"
        raise DatasetError(file, problem, "Restore the images beside the file.", field="frames")
    return _Capture(file, head, dialect, views, notes)


def _parse(file: Path) -> dict[str, Any]:
    try:
        head = json.loads(file.read_text("utf-8"), parse_int=lambda text: int(text) if len(text) < 19 else float(text))
    except OSError as error:
        raise DatasetError(file, f"cannot be read ({error.strerror})", "Give the folder of a capture.") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(file, f"is not valid JSON ({error})", _EXPORT) from error
    if not isinstance(head, dict):
        raise DatasetError(file, "is JSON but no object with frames", _EXPORT)
    return head


def _find_image(file: Path, frame: dict[str, Any], index: int) -> tuple[str, Path]:
    text = frame.get("file_path")
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise DatasetError(file, "is missing or no text", _EXPORT, frame=index, field="file_path")
    base = file.parent / text.replace("\\", "/")
    candidates = [base] + [base.with_name(base.name + suffix) for suffix in images.SUFFIXES]
    named = base if base.suffix.lower() in images.SUFFIXES else candidates[1]
    return _plain_name(text), next((path for path in candidates if images.is_file(path)), named)


def _plain_name(text: str) -> str:
    return text.replace("\\", "/").removeprefix("./")


def _find_mask(file: Path, frame: dict[str, Any], index: int, image: Path) -> Path | None:
    text = frame.get("mask_path")
    if text is None:
        return images.sibling_mask(image)
    mask = file.parent / str(text).replace("\\", "/")
    if not images.is_file(mask):
        raise DatasetError(mask, f"does not exist, but {file.name} names it", _EXPORT, frame=index, field="mask_path")
    return mask


def _pose(file: Path, frame: dict[str, Any], index: int) -> np.ndarray:
    def bad(problem: str, advice: str = _EXPORT) -> DatasetError:
        return DatasetError(file, problem, advice, frame=index, field="transform_matrix")

    if "transform_matrix" not in frame:
        raise bad("is missing")
    try:
        matrix = np.array(frame["transform_matrix"], np.float64)
    except (TypeError, ValueError) as error:
        raise bad("is not a matrix of numbers") from error
    if matrix.shape not in ((3, 4), (4, 4)):
        raise bad(f"has shape {matrix.shape} and not (4, 4)")
    return check_pose(matrix, bad)


def check_pose(matrix: np.ndarray, bad: Any) -> np.ndarray:
    """(4, 4) float64 with the nearest rotation; raises `bad(problem, advice)` for what is no rigid camera-to-world
    matrix.
    """
    if not np.isfinite(matrix).all():
        raise bad(
            "contains NaN or infinity",
            "The pose of this photo was not found: take the frame out, or estimate it again.",
        )
    if np.abs(matrix).max() > _ABSURD:
        raise bad(f"holds a number as large as {np.abs(matrix).max():.3g}")
    rotation = matrix[:3, :3]
    off = np.abs(rotation.T @ rotation - np.eye(3)).max()
    if off > 1e-2:
        lengths = ", ".join(f"{length:.3g}" for length in np.linalg.norm(rotation, axis=0))
        raise bad(
            f"is not rigid (its columns have lengths {lengths}, or are not at right angles)",
            "Export without scale or shear.",
        )
    if np.linalg.det(rotation) < 0:
        raise bad("mirrors the world (determinant -1)", "Flip the sign of one axis: camera axes are right, up, back.")
    u, _, vt = np.linalg.svd(rotation)
    result = np.eye(4)
    result[:3, :3] = u @ vt
    result[:3, 3] = matrix[:3, 3]
    return result


def _lens(
    file: Path,
    head: dict[str, Any],
    frame: dict[str, Any],
    index: int,
    matrix: np.ndarray,
    shape: images.Header,
    path: Path,
) -> tuple[Camera, bool]:
    """The camera of the stored (or turned upright) photo, at the photo's actual size; and whether it is to be turned
    upright.
    """

    def number(key: str) -> float | None:
        value = frame.get(key, head.get(key))
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise DatasetError(file, f"is {value!r:.60} and no finite number", _EXPORT, frame=index, field=key)
        if abs(value) > _ABSURD:
            raise DatasetError(file, f"is {value:g}, which no camera has", _EXPORT, frame=index, field=key)
        return float(value)

    def positive(key: str) -> float | None:
        value = number(key)
        if value is not None and value <= 0:
            raise DatasetError(file, f"is {value:g} and must be positive", _EXPORT, frame=index, field=key)
        return value

    w, h = positive("w"), positive("h")
    declared = (w, h) if w and h else None
    upright = images.turn_upright(shape, declared)
    width, height = shape.upright_size if upright else (shape.width, shape.height)
    sx, sy = (width / w, height / h) if w and h else (1.0, 1.0)
    if abs(sx / sy - 1) > 0.02:
        raise DatasetError(
            path,
            f"has {width}x{height} pixels where {file.name} says {w:g}x{h:g}",
            "Correct w and h, or use the images that the poses were made from.",
            frame=index,
            field="w, h",
        )

    def focal(axis: str, side: int, scale: float) -> float | None:
        if (length := positive(f"fl_{axis}")) is not None:
            return length * scale
        radians, degrees = positive(f"camera_angle_{axis}"), positive(f"{axis}_fov")
        if radians is None and degrees is None:
            return None
        angle = radians if radians is not None else math.radians(degrees or 0.0)
        if angle >= math.pi:
            key, unit = (f"camera_angle_{axis}", "radians") if radians is not None else (f"{axis}_fov", "degrees")
            raise DatasetError(file, f"is no field of view in {unit}", _EXPORT, frame=index, field=key)
        return 0.5 * side / math.tan(0.5 * angle)

    fx, fy = focal("x", width, sx), focal("y", height, sy)
    if fx is None and fy is None:
        advice = "Give camera_angle_x (radians), fl_x (pixels) or x_fov (degrees)."
        raise DatasetError(file, "has no focal length", advice, frame=index, field="fl_x")
    fx, fy = (fx or fy or 0.0), (fy or fx or 0.0)
    cx, cy = number("cx"), number("cy")
    distortion, fisheye = _distortion(file, head, frame, index, number)
    camera = Camera.from_matrix(
        matrix,
        width,
        height,
        fx,
        fy=fy,
        cx=width / 2 if cx is None else cx * sx,
        cy=height / 2 if cy is None else cy * sy,
        distortion=distortion,
        fisheye=fisheye,
    )
    return camera, upright


def _distortion(
    file: Path, head: dict[str, Any], frame: dict[str, Any], index: int, number: Any
) -> tuple[tuple[float, ...], bool]:
    model = str(frame.get("camera_model", head.get("camera_model", "OPENCV"))).upper()
    fisheye = model in _FISHEYE or bool(frame.get("is_fisheye", head.get("is_fisheye", False)))
    if model not in (*_PINHOLES, *_BROWN, *_FISHEYE):
        problem, advice = f"{model!r} is not supported", "Undistort to PINHOLE, or use OPENCV or OPENCV_FISHEYE."
        raise DatasetError(file, problem, advice, frame=index, field="camera_model")
    if model in _PINHOLES:
        return (), False
    k1, k2, k3, k4, p1, p2 = (number(key) or 0.0 for key in ("k1", "k2", "k3", "k4", "p1", "p2"))
    if fisheye:
        return (k1, k2, k3, k4), True
    if k4:
        raise DatasetError(file, "is given for a lens that is no fisheye", _EXPORT, frame=index, field="k4")
    coefficients = (k1, k2, p1, p2, k3)
    return (coefficients if any(coefficients) else ()), False


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
