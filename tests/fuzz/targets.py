"""What is fuzzed: every reader of bytes that others bring, each with what it may raise and a few sound inputs.

A `Target` reads one input. Whatever the input, it ends well or in one of `allowed`, which are the errors that the
reader's documentation promises; any other exception is a bug. Files are written into a folder that holds what else
belongs to them (the photos of a capture, the other parts of a COLMAP model).
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from PIL import Image

from mapreduce.errors import BadInput, DafError, WireError
from mapreduce.keys import make, read_key
from mapreduce.scheduler import journal
from mapreduce.wire import codec, typed
from mapreduce.wire.typed import encode
from nerf_plugin.cameras import Camera, look_at
from nerf_plugin.datasets import DatasetError, images, load
from nerf_plugin.datasets.ply import read_points
from nerf_plugin.field import Field, FieldError
from nerf_plugin.paths import read_path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Target:
    """`read(data, folder)` reads one input; `seeds()` are sound ones; `text`: numbers in it are decimal."""

    read: Callable[[bytes, Path], Any]
    allowed: tuple[type[Exception], ...]
    seeds: Callable[[], list[bytes]]
    text: bool = False


# --------------------------------------------------------------------------------------------------------- on the wire


def packets() -> list[bytes]:
    arrays = {"a": np.arange(6, dtype="<f4").reshape(2, 3), "b": [np.int64(3), (1, "x"), 1j, Path("p")]}
    return [codec.pack(arrays), codec.pack([]), codec.pack({1: b"x" * 100, "deep": [[[[]]]]})]


def messages(union: Any) -> Callable[[], list[bytes]]:
    def made() -> list[bytes]:
        from tests.wire.test_typed import TO_COORDINATOR

        return [encode(message) for message in TO_COORDINATOR]

    return made


def records() -> list[bytes]:
    from tests.scheduler.test_journal import RECORDS

    return [msgpack.packb(journal.pack(record)) for record in RECORDS]


def read_record(data: bytes, _: Path) -> None:
    try:
        packed = msgpack.unpackb(data, use_list=True, strict_map_key=False)
    except Exception:  # the store's own check; what is no msgpack never comes to us
        return
    journal.unpack(packed)


# -------------------------------------------------------------------------------------------------------- users' files


@cache
def camera(index: int = 0) -> Camera:
    pose = look_at(np.array([np.cos(index) * 4, np.sin(index) * 4, 1.0]), np.zeros(3))
    return Camera.from_matrix(pose, 24, 16, 20.0)


@cache
def picture(kind: str) -> bytes:
    pixels = np.random.default_rng(3).integers(0, 256, (16, 24, 4), np.uint8)
    buffer = io.BytesIO()
    image = Image.fromarray(pixels if kind != "jpeg" else pixels[..., :3])
    image.save(buffer, kind)
    return buffer.getvalue()


def photos(folder: Path) -> None:
    (folder / "images").mkdir(exist_ok=True)
    (folder / "points.ply").write_bytes(plys()[1])
    for index in range(3):
        path = folder / "images" / f"{index}.png"
        if not path.exists():
            path.write_bytes(picture("png"))


def transforms() -> list[bytes]:
    frames = [{"file_path": f"images/{n}.png", "transform_matrix": camera(n).matrix.tolist()} for n in range(3)]
    lens = {"fl_x": 20.0, "fl_y": 20.0, "cx": 12, "cy": 8, "w": 24, "h": 16, "k1": 0.01, "camera_model": "OPENCV"}
    more = {"applied_transform": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], "ply_file_path": "points.ply"}
    return [
        json.dumps({"camera_angle_x": 0.7, "frames": frames}).encode(),
        json.dumps({**lens, **more, "frames": frames}).encode(),
        json.dumps({**lens, "aabb_scale": 4, "scale": 0.3, "offset": [0.5, 0.5, 0.5], "frames": frames}).encode(),
    ]


def read_transforms(data: bytes, folder: Path) -> None:
    photos(folder)
    (folder / "transforms.json").write_bytes(data)
    load(folder, "all")


PARTS = ("cameras", "images", "points3D")


@cache
def model(ending: str) -> dict[str, bytes]:
    """The files of a COLMAP model of three photos."""
    import struct

    q, t = (0.7, 0.1, 0.7, 0.1), (0.1, -0.2, 4.0)
    if ending == "txt":
        shots = "".join(f"{n + 1} {' '.join(map(str, (*q, *t)))} 1 {n}.png\n1.0 2.0 -1\n" for n in range(3))
        return {
            "cameras": b"# cameras\n1 OPENCV 24 16 20.0 20.0 12.0 8.0 0.01 0.0 0.0 0.0\n",
            "images": f"# images\n{shots}".encode(),
            "points3D": b"# points\n1 0.1 0.2 0.3 1 2 3 0.5 1 0 2 0 3 0\n2 1.0 0.2 0.3 1 2 3 0.5\n",
        }
    shot = [struct.pack("<i7di", n + 1, *q, *t, 1) + f"{n}.png\0".encode() + struct.pack("<Q", 0) for n in range(3)]
    return {
        "cameras": struct.pack("<QiiQQ4d", 1, 1, 1, 24, 16, 20.0, 20.0, 12.0, 8.0),
        "images": struct.pack("<Q", 3) + b"".join(shot),
        "points3D": struct.pack("<QQ3d3BdQ6i", 1, 1, 0.1, 0.2, 0.3, 1, 2, 3, 0.5, 3, 1, 0, 2, 0, 3, 0),
    }


def colmap(part: str, ending: str) -> Target:
    def read(data: bytes, folder: Path) -> None:
        photos(folder)
        for name, sound in model(ending).items():
            (folder / f"{name}.{ending}").write_bytes(data if name == part else sound)
        load(folder, "all")

    return Target(read, (DatasetError,), lambda: [model(ending)[part]], text=ending == "txt")


def read_image(data: bytes, folder: Path) -> None:
    path = folder / "image"
    path.write_bytes(data)
    images.header(path)
    images.decode(path)
    images.decode(path, at_least=4)


def plys() -> list[bytes]:
    head = "ply\nformat {} 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    rows = np.arange(6, dtype="<f4").tobytes()
    return [head.format("ascii").encode() + b"1 2 3\n4 5 6\n", head.format("binary_little_endian").encode() + rows]


def in_file(name: str, read: Callable[[Path], Any]) -> Callable[[bytes, Path], None]:
    def write_and_read(data: bytes, folder: Path) -> None:
        path = folder / name
        path.write_bytes(data)
        path.chmod(0o600)
        read(path)

    return write_and_read


def fields() -> list[bytes]:
    """The one that the released versions wrote."""
    found = sorted((ROOT / "golden").rglob("*.field")) + sorted((ROOT / "golden").rglob("*.nerf"))
    return [path.read_bytes() for path in found[:1]] or [b"no field\n"]


def camera_paths() -> list[bytes]:
    pose = camera().matrix.flatten().tolist()
    studio = {
        "camera_path": [{"camera_to_world": pose, "fov": 50}] * 2,
        "render_width": 24,
        "render_height": 16,
        "fps": 9,
    }
    return [json.dumps(studio).encode(), transforms()[1]]


@cache
def key_files() -> list[bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o700)
        make(Path(folder), "client", "alice", ("read",))
        return [(Path(folder) / "alice.key").read_bytes()]


def parameters(data: bytes, _: Path) -> None:
    """Parameters of a job as a coordinator hands them on: msgpack that nobody has looked into."""
    from mapreduce import params
    from plugins.kmeans import KMeans
    from plugins.wordcount import WordCount

    for cls in (WordCount, KMeans):
        params.unpack(cls, data)


def packed_parameters() -> list[bytes]:
    return [msgpack.packb({"paths": ["a", "b"], "top": 3}), msgpack.packb({"points": [[1.0, 2.0]], "k": 2})]


TARGETS: dict[str, Target] = {
    "packet": Target(lambda data, _: codec.loads(data, check=False), (codec.BadPacket,), packets),
    "to-coordinator": Target(lambda data, _: typed.at_coordinator(data), (WireError,), messages("coordinator")),
    "to-worker": Target(lambda data, _: typed.at_worker(data), (WireError,), messages("worker")),
    "to-client": Target(lambda data, _: typed.at_client(data), (WireError,), messages("client")),
    "record": Target(read_record, (ValueError,), records),
    "parameters": Target(parameters, (DafError,), packed_parameters),
    "transforms": Target(read_transforms, (DatasetError,), transforms, text=True),
    **{f"colmap-{part}-{ending}": colmap(part, ending) for ending in ("bin", "txt") for part in PARTS},
    "image": Target(read_image, (DatasetError,), lambda: [picture("png"), picture("jpeg"), picture("webp")]),
    "ply": Target(in_file("points.ply", read_points), (DatasetError,), plys, text=True),
    "field": Target(lambda data, _: Field.from_bytes(data), (FieldError,), fields),
    "camera-path": Target(in_file("path.json", read_path), (BadInput,), camera_paths, text=True),
    "key": Target(in_file("alice.key", read_key), (DafError,), key_files, text=True),
}


def corpus(name: str) -> Iterator[tuple[str, bytes]]:
    """Inputs that are kept because they once found something or lead somewhere, with their names."""
    for path in sorted((Path(__file__).parent / "corpus" / name).glob("*")):
        yield path.name, path.read_bytes()
