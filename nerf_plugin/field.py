"""A trained radiance field: density and view-dependent colour on a sparse grid, and its one file format.

The file (`docs/field-format.md` has every byte) is a magic line, a JSON header and raw little-endian arrays. Values are
kept as 16-bit floats; a `Field` holds exactly what its file holds, so saving, loading and saving again gives the same
bytes, and every figure measured on a field in memory is true of the file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nerf_plugin.export.atomic import write_pieces
from nerf_plugin.grid import Grid
from nerf_plugin.harmonics import LINES, converted, degree_of, functions, lanes, width
from nerf_plugin.kernels import march as marching
from nerf_plugin.kernels.lattice import inside, interpolate
from nerf_plugin.shells import Shells

MAGIC = b"DAF radiance field 1\n"
_PIECE = 65536
"""Rows that are copied at a time."""
_ARRAYS = {"places": "<i8", "present": "<u8", "occupied": "<u8", "values": "<f2"}
_OPTIONAL = {"shells": "<f2"}
_MAX_HEADER = 1 << 20
WHITE = (1.0, 1.0, 1.0)
Background = tuple[float, float, float] | None


class FieldError(ValueError):
    """A field file that cannot be read; says which, what is wrong and what to do."""


@dataclass(frozen=True)
class Rendering:
    """rgb (H, W, 3) float32, 0..1 over the background; alpha (H, W) float32; depth (H, W) float32: world distance along
    the ray at which half of the light is gone, 0 where alpha < 0.5."""

    rgb: np.ndarray
    alpha: np.ndarray
    depth: np.ndarray


class Field:
    """Density and colour in the world frame of the photos.

    grid: the sparse lattice. rows: (N, 16), or (N, 32) with harmonics of degree 2, numbers in the layout of
    `kernels.march`; what is no value in them is ignored. density: optical density per world unit where
    softplus(raw + shift) is 1. shells: what surrounds the box, if that is known.
    """

    def __init__(
        self, grid: Grid, rows: np.ndarray, density: float, shift: float, shells: Shells | None = None
    ) -> None:
        if rows.shape not in ((grid.rows, 16), (grid.rows, 32)):
            raise FieldError(
                f"the grid has {grid.rows} voxels but rows have shape {rows.shape}, not ({grid.rows}, 16 or 32)"
            )
        self.grid = grid
        self.density, self.shift = float(density), float(shift)
        self.shells = shells and replace(shells, values=shells.values.clip(-65504, 65504).astype(np.float16))
        self._rows = np.zeros(rows.shape, np.float16)
        kept = lanes(self.degree)
        for start in range(0, len(rows), _PIECE):
            piece = slice(start, start + _PIECE)
            self._rows[piece, kept] = np.clip(rows[piece, kept], -65504, 65504).astype(np.float16)

    @property
    def lo(self) -> np.ndarray:
        """(3,) float64 world position of voxel (0, 0, 0)."""
        return self.grid.lo

    @property
    def voxel(self) -> float:
        """Edge of a voxel in world units."""
        return self.grid.voxel

    @property
    def resolution(self) -> tuple[int, int, int]:
        """Voxels along x, y, z."""
        return self.grid.resolution

    @property
    def bounds(self) -> np.ndarray:
        """(2, 3) float64 world box outside which the field is empty."""
        return self.grid.bounds

    @property
    def rows(self) -> np.ndarray:
        """(N, 16) or (N, 32) float16 raw values, read-only."""
        view = self._rows.view()
        view.flags.writeable = False
        return view

    @property
    def degree(self) -> int:
        """Of the harmonics that there is room for: 1 or 2."""
        return degree_of(self._rows)

    def of_degree(self, degree: int) -> Field:
        """The field with harmonics of another degree: what it lacks is zero, what is too much is left out."""
        return Field(self.grid, converted(self._rows, degree), self.density, self.shift, self.shells)

    def within(self, box: np.ndarray) -> Field:
        """The part of the field in `box`, (2, 3) world, cut at whole cells; without surroundings."""
        grid, rows = self.grid.within(np.asarray(box, np.float64))
        return Field(grid, self._rows[rows], self.density, self.shift)

    def _bits(self) -> np.ndarray:
        """(N*L,) uint16: `rows` as kernels take them."""
        return self._rows.view(np.uint16).reshape(-1)

    def _at(self, points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        local = ((np.asarray(points, np.float64).reshape(-1, 3) - self.grid.lo) / self.grid.voxel).astype(np.float32)
        values = np.empty((len(local), count), np.float32)
        alive = np.empty(len(local), np.uint8)
        grid = self.grid
        interpolate(
            self._bits(), count, grid.table, grid.shape, grid.first, grid.present, local, 0.0, values,
            LINES[self.degree],
        )  # fmt: skip
        inside(grid.table, grid.shape, grid.occupied, local, alive)
        return values, alive.astype(bool)

    def sigma(self, points: np.ndarray) -> np.ndarray:
        """Density per world unit at points (N, 3): (N,) float32, 0 outside alive cells."""
        values, alive = self._at(points, 1)
        depth = np.logaddexp(np.float32(0), values[:, 0] + np.float32(self.shift)) * np.float32(self.density)
        return np.where(alive, depth, np.float32(0))

    def color(self, points: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Colour at points (N, 3) seen along unit directions (N, 3) or (3,): (N, 3) float32, 0..1, in the photos' sRGB
        values. Where there is no voxel at all: mid-grey.
        """
        values, _ = self._at(points, width(self.degree))
        along = functions(np.broadcast_to(np.asarray(directions, np.float32), (len(values), 3)), self.degree)
        raw, where = np.float32(0), lanes(self.degree)
        for number in range(along.shape[1]):
            raw = raw + along[:, number, None] * values[:, where[3 * number + 1 : 3 * number + 4]]
        return (1 / (1 + np.exp(-raw))).astype(np.float32)

    def render(self, camera: Any, background: Background = None, step: float = 0.5,
               samples: int = 1) -> Rendering:  # fmt: skip
        """The picture a `nerf_plugin.cameras.Camera` takes of the field.

        background: a colour; None: the field's surroundings, or white if it knows none. step: distance of samples in
        voxels. samples: rays along each side of a pixel, averaged (depth: the nearest).
        """
        h, w = camera.height, camera.width
        total = np.zeros((h * w, 4), np.float32)
        depth = np.zeros(h * w, np.float32)
        xs, ys = np.tile(np.arange(w), h), np.repeat(np.arange(h), w)
        for a in range(samples):
            for b in range(samples):
                u, v = (a + 0.5) / samples - 0.5, (b + 0.5) / samples - 0.5
                origin, directions = camera.rays(xs + u, ys + v)
                out = self.trace(origin, directions, background, step)
                total += out[:, :4]
                depth = np.where((depth == 0) | ((out[:, 4] > 0) & (out[:, 4] < depth)), out[:, 4], depth)
        total /= samples * samples
        alpha = total[:, 3].reshape(h, w)
        rgb = np.clip(total[:, :3], 0, 1).reshape(h, w, 3)
        return Rendering(rgb, alpha, np.where(alpha >= 0.5, depth.reshape(h, w), np.float32(0)))

    def trace(
        self, origins: np.ndarray, directions: np.ndarray, background: Background = None, step: float = 0.5
    ) -> np.ndarray:
        """Colour, alpha and median distance along rays: (N, 5) float32.

        origins: (N, 3) or (3,) world; directions: (N, 3) unit. Distance is 0 for rays that stay more than half clear.
        """
        grid, count = self.grid, len(directions)
        rays = np.empty((count, 6), np.float32)
        rays[:, :3] = (np.asarray(origins, np.float64) - grid.lo) / grid.voxel
        rays[:, 3:] = directions
        if background is None and self.shells is not None:
            back = self.shells.look(rays, grid.lo, grid.voxel)
        else:
            back = np.empty((count, 3), np.float32)
            back[:] = WHITE if background is None else background
        out = np.empty(count * 5, np.float32)
        work, corner = marching.scratch()
        none, rows = np.zeros(0, np.float32), self._bits()
        marching.march(
            rows, none, np.zeros(0, np.uint64), grid.table, grid.shape, grid.first, grid.present, grid.occupied,
            grid.box, rays.reshape(-1), none, back.reshape(-1), none, count, -1, step,
            self.density * grid.voxel * step, self.shift, 0.0, 0.0, 0.0, 1e-4, False, out, work, corner,
            LINES[self.degree],
        )  # fmt: skip
        result = out.reshape(-1, 5)
        result[:, 4] *= grid.voxel
        return result

    def pieces(self) -> Iterator[bytes]:
        """The file's content, a few megabytes at a time: a function of the field alone, the same bytes everywhere."""
        plain = self.grid.to_plain()
        arrays = {name: plain[name] for name in ("places", "present", "occupied")} | {"values": self._rows}
        if self.shells is not None:
            arrays["shells"] = self.shells.values
        kept = {"values": lanes(self.degree)}
        layout, offset = {}, 0
        for name, array in arrays.items():
            kind = (_ARRAYS | _OPTIONAL)[name]
            shape = [len(array), len(kept[name])] if name in kept else list(array.shape)
            layout[name] = {"type": kind, "shape": shape, "offset": offset}
            size = math.prod(shape) * np.dtype(kind).itemsize
            offset += size + -size % 64
        header = json.dumps(
            {
                "lo": plain["lo"].tolist(),
                "voxel": plain["voxel"],
                "bricks": plain["bricks"],
                "density": self.density,
                "shift": self.shift,
                "sh_degree": self.degree,
                "arrays": layout,
                **({} if self.shells is None else {"shells": self.shells.geometry()}),
            },
            sort_keys=True,
        ).encode()
        start = MAGIC + f"{len(header)}\n".encode() + header
        yield start + bytes(-len(start) % 64)
        for name, array in arrays.items():
            size = 0
            for first in range(0, len(array), _PIECE):
                piece = array[first : first + _PIECE]
                data = np.ascontiguousarray(piece[:, kept[name]] if name in kept else piece, layout[name]["type"])
                yield data.tobytes()
                size += data.nbytes
            yield bytes(-size % 64)

    def to_bytes(self) -> bytes:
        """The file's content."""
        return b"".join(self.pieces())

    def save(self, path: Path | str) -> None:
        """Writes the file by atomic rename. Raises ExportError where it cannot be written."""
        write_pieces(path, self.pieces())

    @classmethod
    def load(cls, path: Path | str) -> Field:
        """Reads a file. Raises FieldError if it is not a field, is cut short or contradicts itself."""
        return cls.from_bytes(Path(path).read_bytes(), str(path))

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "field") -> Field:
        """The inverse of `to_bytes`."""
        again = "Train it again, or copy it again from where it came from."
        if not data.startswith(MAGIC):
            raise FieldError(f"{name}: not a DAF radiance field (version 1). {again}")
        try:
            end = data.index(b"\n", len(MAGIC), len(MAGIC) + 12)
            size = int(data[len(MAGIC) : end])
            if not 0 < size < _MAX_HEADER:
                raise ValueError(f"its header claims {size} bytes")
            header = json.loads(data[end + 1 : end + 1 + size])
            start = end + 1 + size
            start += -start % 64
            arrays = {}
            for key, kind in (_ARRAYS | (_OPTIONAL if "shells" in header else {})).items():
                entry = header["arrays"][key]
                shape = [int(n) for n in entry["shape"]]
                if entry["type"] != kind or min(shape) < 0 or int(entry["offset"]) < 0:
                    raise ValueError(f"its array {key!r} is described wrongly")
                arrays[key] = np.frombuffer(data, kind, int(np.prod(shape)), start + int(entry["offset"])).reshape(
                    shape
                )
            grid = Grid.from_plain({**header, **arrays})
            _check(grid)
            degree = header["sh_degree"]
            if degree not in (1, 2):
                raise ValueError(f"it has harmonics of degree {degree!r}, which this version does not know")
            rows = np.zeros((len(arrays["values"]), width(degree)), np.float16)
            rows[:, lanes(degree)] = arrays["values"]
            shells = Shells.from_plain(header["shells"] | {"values": arrays["shells"]}) if "shells" in header else None
            return cls(grid, rows, float(header["density"]), float(header["shift"]), shells)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise FieldError(f"{name}: damaged field file: {error}. {again}") from error


def _check(grid: Grid) -> None:
    """What the kernels rely on: places in order and inside, every alive cell with its eight voxels."""
    cells = int(grid.shape.prod())
    places = grid.places
    if min(grid.bricks) < 1 or cells > 1 << 31 or not grid.voxel > 0 or not np.isfinite(grid.lo).all():
        raise ValueError("its lattice makes no sense")
    if not (len(places) == len(grid.present) == len(grid.occupied)):
        raise ValueError("its brick arrays differ in length")
    if len(places) and (places[0] < 0 or places[-1] >= cells or (np.diff(places) <= 0).any()):
        raise ValueError("its bricks are out of order")
    x, y, z = grid.resolution
    alive = grid.alive()
    has = np.zeros((x + 1, y + 1, z + 1), bool)
    voxels = grid.voxels()
    has[voxels[:, 0], voxels[:, 1], voxels[:, 2]] = True
    for corner in range(8):
        a, b, c = corner >> 2, (corner >> 1) & 1, corner & 1
        if (alive & ~has[a : a + x, b : b + y, c : c + z]).any():
            raise ValueError("an alive cell lacks a corner")
