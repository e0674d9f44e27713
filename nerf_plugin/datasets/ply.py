"""Sparse points from PLY files (ASCII, binary of either byte order): only the vertices' x, y and z are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nerf_plugin.datasets.model import DatasetError

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2", "uint16":
    "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4", "double": "f8",
    "float64": "f8",
}  # fmt: skip


def read_points(path: Path) -> np.ndarray:
    """(N, 3) float64. Raises DatasetError for what is no PLY with vertices first, or is cut short."""
    advice = "Export the point cloud again, or take ply_file_path out of the transforms file."
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DatasetError(path, f"cannot be read ({error.strerror})", advice) from error
    head, mark, body = raw.partition(b"end_header\n")
    if not mark:
        head, mark, body = raw.partition(b"end_header\r\n")
    lines = head.decode("ascii", "replace").split("\n")
    if not mark or not lines[0].startswith("ply"):
        raise DatasetError(path, "is no PLY file", advice)
    layout, count, fields, inside = "", 0, [], False
    for line in lines:
        words = line.split()
        if words[:1] in (["format"], ["element"], ["property"]) and len(words) < 3:
            raise DatasetError(path, f"has a header line that says too little: {line[:60]!r}", advice)
        if words[:1] == ["format"]:
            layout = words[1]
        elif words[:1] == ["element"]:
            if fields:
                break
            if not words[2].isdecimal() or len(words[2]) > 12:
                raise DatasetError(path, f"has a header line that gives no count: {line[:60]!r}", advice)
            inside, count = words[1] == "vertex", int(words[2])
        elif words[:1] == ["property"] and inside:
            if words[1] not in _TYPES:
                raise DatasetError(path, f"has vertices with a property of type {words[1]}", advice)
            fields.append((words[2], _TYPES[words[1]]))
    names = [name for name, _ in fields]
    if not {"x", "y", "z"} <= set(names):
        raise DatasetError(path, "has no vertices with x, y and z", advice)
    try:
        if layout == "ascii":
            rows = [line.split()[: len(names)] for line in body.decode("ascii").split("\n", count)[:count]]
            table = np.array(rows, np.float64).reshape(count, len(names))
            points = np.stack([table[:, names.index(axis)] for axis in "xyz"], 1)
        else:
            order = ">" if layout == "binary_big_endian" else "<"
            record = np.dtype([(name, order + kind) for name, kind in fields])
            table = np.frombuffer(body, record, count)
            points = np.stack([table[axis].astype(np.float64) for axis in "xyz"], 1)
    except (ValueError, UnicodeDecodeError) as error:
        raise DatasetError(path, f"is cut short or damaged ({error})", advice) from error
    return points[np.isfinite(points).all(1)]
