"""The shape of a sparse voxel grid: which cells are alive, and where a voxel's row is.

Space is cut into cells of one voxel edge; a cell that may hold something is alive, and the eight voxels at its corners
have a row of parameters. Cells and voxels are grouped in bricks of 4 x 4 x 4, so that what is alive in a brick fits one
64-bit word (`occupied`), and what has a row another (`present`). Rows are numbered brick by brick (bricks in C order of
their place, x slowest), within a brick by the voxel's bit 16 i + 4 j + k. A voxel's row number is therefore its brick's
`first` plus a population count: no index per voxel is stored anywhere.

`table` maps a brick's place to its number. Where there is none it holds -d: no brick with an alive cell is closer than
d bricks (Chebyshev distance), so a ray may jump that far. The table is derived, never stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from nerf_plugin.kernels.lattice import brick_table, mark_cells

EDGE = 4
"""Voxels along a brick's edge."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Immutable topology of a sparse grid.

    lo: (3,) float64 world position of voxel (0, 0, 0). voxel: edge length in world units. bricks: bricks along x, y, z.
    places: (B,) int64 ascending C-order index of each brick. present, occupied: (B,) uint64.
    """

    lo: np.ndarray
    voxel: float
    bricks: tuple[int, int, int]
    places: np.ndarray
    present: np.ndarray
    occupied: np.ndarray

    @classmethod
    def from_cells(cls, cells: np.ndarray, cells_lo: np.ndarray, cells_voxel: float, lo: np.ndarray, voxel: float,
                   bricks: tuple[int, int, int]) -> Grid:  # fmt: skip
        """The grid (lo, voxel, bricks) whose cells are alive where their centres lie in a set cell of a coarse lattice.

        cells: (X, Y, Z) bool or uint8; cell (0, 0, 0) of it spans cells_lo to cells_lo + cells_voxel.
        """
        shape = np.array(bricks, np.int64)
        occupied = np.zeros(int(shape.prod()), np.uint64)
        present = np.zeros(int(shape.prod()), np.uint64)
        ratio = float(voxel) / float(cells_voxel)
        offset = (np.asarray(lo, np.float64) - np.asarray(cells_lo, np.float64)) / float(cells_voxel)
        mark_cells(np.ascontiguousarray(cells, np.uint8), offset, ratio, shape, occupied, present)
        places = np.flatnonzero(present)
        x, y, z = bricks
        origin = np.asarray(lo, np.float64)
        return cls(origin, float(voxel), (int(x), int(y), int(z)), places, present[places], occupied[places])

    @property
    def resolution(self) -> tuple[int, int, int]:
        """Voxels along x, y, z."""
        return tuple(EDGE * b for b in self.bricks)  # type: ignore[return-value]

    @cached_property
    def first(self) -> np.ndarray:
        """(B,) int32: first row of each brick."""
        counts = np.bitwise_count(self.present).astype(np.int64)
        return np.asarray(np.cumsum(counts) - counts, np.int32)

    @cached_property
    def rows(self) -> int:
        """Number of voxels that have a row."""
        return int(np.bitwise_count(self.present).sum())

    @cached_property
    def shape(self) -> np.ndarray:
        """(3,) int64: `bricks`, as kernels take it."""
        return np.array(self.bricks, np.int64)

    @cached_property
    def table(self) -> np.ndarray:
        """Flat int32 of shape bricks + 1 (one empty layer at the upper ends): brick number, or -distance."""
        return brick_table(self.places, self.occupied, self.shape)

    @cached_property
    def box(self) -> np.ndarray:
        """(6,) float32: lower and upper corner of the alive bricks, voxel units."""
        alive = self.places[self.occupied != 0]
        if len(alive) == 0:
            return np.zeros(6, np.float32)
        at = np.stack(np.unravel_index(alive, self.bricks), 1)
        top = np.array(self.resolution) - 1 - 1e-3
        return np.concatenate([at.min(0) * EDGE, np.minimum((at.max(0) + 1) * EDGE, top)]).astype(np.float32)

    @property
    def bounds(self) -> np.ndarray:
        """(2, 3) float64 world box around what is alive."""
        return self.lo + self.box.astype(np.float64).reshape(2, 3) * self.voxel

    def voxels(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """(n, 3) int32 lattice coordinates of the rows of bricks start..stop, in row order."""
        present = self.present[start:stop]
        bits = np.unpackbits(present.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
        brick, bit = np.nonzero(bits)
        at = np.stack(np.unravel_index(self.places[start:stop], self.bricks), 1)[brick]
        inside = np.stack([bit >> 4, (bit >> 2) & 3, bit & 3], 1)
        return (at * EDGE + inside).astype(np.int32)

    def alive(self) -> np.ndarray:
        """Dense (X, Y, Z) bool: which cells are alive. For tests and topology changes, not for hot loops."""
        bits = np.unpackbits(self.occupied.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
        dense = np.zeros((int(self.shape.prod()), 64), bool)
        dense[self.places] = bits
        x, y, z = self.bricks
        return np.ascontiguousarray(
            dense.reshape(x, y, z, 4, 4, 4).transpose(0, 3, 1, 4, 2, 5).reshape(4 * x, 4 * y, 4 * z)
        )

    def within(self, box: np.ndarray) -> tuple[Grid, np.ndarray]:
        """The part of the grid whose cells have their centres in `box`, (2, 3) world, on the same lattice; and (rows,)
        bool, which rows of this grid are its rows, in the same order."""
        cells = self.alive()
        for axis in range(3):
            middle = self.lo[axis] + (np.arange(cells.shape[axis]) + 0.5) * self.voxel
            beyond = (middle < box[0][axis]) | (middle > box[1][axis])
            cells[(slice(None),) * axis + (beyond,)] = False
        part = Grid.from_cells(cells, self.lo, self.voxel, self.lo, self.voxel, self.bricks)
        kept = np.zeros(len(self.places), np.uint64)
        kept[np.searchsorted(self.places, part.places)] = part.present
        old, new = (
            np.unpackbits(bits.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little").astype(bool)
            for bits in (self.present, kept)
        )
        return part, new[old]

    def ranges(self, parts: int) -> list[tuple[int, int, int, int]]:
        """Cut into `parts` ranges of bricks with about the same number of rows: (brick, brick end, row, row end).

        A pure function of the grid, so every worker cuts alike. Ranges may be empty in tiny grids.
        """
        if parts not in self._ranges:
            self._ranges[parts] = self._cut(parts)
        return self._ranges[parts]

    @cached_property
    def _ranges(self) -> dict[int, list[tuple[int, int, int, int]]]:
        return {}

    def _cut(self, parts: int) -> list[tuple[int, int, int, int]]:
        ends = np.append(self.first, self.rows).astype(np.int64)
        cuts = np.searchsorted(ends, [self.rows * p // parts for p in range(parts + 1)])
        cuts[0], cuts[-1] = 0, len(self.places)
        return [(int(a), int(b), int(ends[a]), int(ends[b])) for a, b in pairwise(cuts.tolist())]

    def to_plain(self) -> dict[str, Any]:
        """Plain numbers and arrays: what travels between tasks, and what files hold."""
        return {
            "lo": np.asarray(self.lo, np.float64),
            "voxel": float(self.voxel),
            "bricks": list(self.bricks),
            "places": self.places.astype(np.int64),
            "present": self.present,
            "occupied": self.occupied,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Grid:
        """The inverse of `to_plain`."""
        x, y, z = plain["bricks"]
        return cls(
            np.asarray(plain["lo"], np.float64), float(plain["voxel"]), (int(x), int(y), int(z)),
            np.asarray(plain["places"]), np.asarray(plain["present"]), np.asarray(plain["occupied"]),
        )  # fmt: skip


def lattice(lo: np.ndarray, hi: np.ndarray, resolution: int) -> tuple[np.ndarray, float, tuple[int, int, int]]:
    """A lattice of about `resolution` cells along the longest side of the box, with a margin of one cell around it.

    Returns (lo, voxel, bricks) for `Grid.from_cells`. The box keeps its centre.
    """
    lo, hi = np.asarray(lo, np.float64), np.asarray(hi, np.float64)
    voxel = float((hi - lo).max()) / (resolution - 3)
    cells = np.ceil((hi - lo) / voxel - 1e-9).astype(int) + 2
    bricks = tuple(int(b) for b in -(-(cells + 1) // EDGE))
    extent = (np.array(bricks) * EDGE - 1) * voxel
    return (lo + hi) / 2 - extent / 2, voxel, bricks  # type: ignore[return-value]
