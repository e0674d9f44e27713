"""The first grid, and the step from one grid to the next finer one.

First: the visual hull (Laurentini 1994). A voxel that some view sees outside its mask, dilated by a ring, is empty. The
box is tightened to the hull before the first level's lattice is laid. Without masks there is no hull: the box grows to
take in the surroundings, and what enough views see stays, except close to the cameras, where fog would form that only
one photo contradicts.

Next: a voxel is kept if it is opaque enough over one voxel and contributed enough to the pictures; a cell lives on if
it was alive and a kept voxel is among its corners, or within a margin of them; a cell of the finer lattice is alive if
its centre lies in one that lives on. Raw values are interpolated, moments start anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from mapreduce import BadInput
from nerf_plugin.field import Field
from nerf_plugin.grid import EDGE, Grid, lattice
from nerf_plugin.harmonics import LINES, STATE, degree_of, width
from nerf_plugin.kernels.lattice import carve, count_seen, interpolate
from nerf_plugin.training.settings import Settings
from nerf_plugin.training.tasks import density, shift
from nerf_plugin.training.views import rung_camera

START_MARGIN = 1
"""Cells around a field's matter that training on from it begins with."""
PIECE = 1024
"""Bricks whose voxels are worked on at a time: what a voxel needs on the way is ten times what it is kept in."""
EMPTY = -2.0
"""Raw density that a voxel without a row counts with when a finer grid starts from it."""


def hull(views: Sequence[Mapping[str, Any]], lo: np.ndarray, voxel: float, shape: Sequence[int],
         start: int = 0, stop: int | None = None) -> np.ndarray:  # fmt: skip
    """(stop - start, Y, Z) uint8: which voxels of an x-slab of a lattice lie inside all masks."""
    stop = shape[0] if stop is None else stop
    keep = np.ones((stop - start, shape[1], shape[2]), np.uint8)
    for view in views:
        if not view["opaque"]:
            camera = rung_camera(view["camera"], view["mask_rung"])
            carve(keep, start, np.asarray(lo, np.float64), float(voxel), camera, view["mask"])
    return keep


def visible(settings: Settings, views: Sequence[Mapping[str, Any]], lo: np.ndarray, voxel: float, shape: Sequence[int],
            middle: np.ndarray) -> np.ndarray:  # fmt: skip
    """(X, Y, Z) uint8: which voxels of a lattice at least `settings.seen_by` views (or all, if fewer) have in view.

    What is nearer to a camera than `settings.near` times its distance from `middle` does not count.
    """
    seen = np.zeros(tuple(shape), np.uint16)
    for view in views:
        near = settings.near * float(np.linalg.norm(view["camera"][9:12] - middle))
        width, height = view["size"]
        count_seen(seen, 0, np.asarray(lo, np.float64), float(voxel), view["camera"], width, height, near)
    return (seen >= min(settings.seen_by, len(views))).astype(np.uint8)


def _cells_of_voxels(keep: np.ndarray, margin: int) -> np.ndarray:
    """A cell is set if a voxel among its corners, or within `margin` cells of it, is set."""
    cells = keep.astype(bool)
    for axis in range(3):
        grown = cells.copy()
        for offset in range(-margin, margin + 2):
            source = [slice(None)] * 3
            goal = [slice(None)] * 3
            source[axis] = slice(max(0, offset), cells.shape[axis] + min(0, offset))
            goal[axis] = slice(max(0, -offset), cells.shape[axis] + min(0, -offset))
            grown[tuple(goal)] |= cells[tuple(source)]
        cells = grown
    return cells


def initial(
    settings: Settings, views: Sequence[Mapping[str, Any]], bounds: np.ndarray
) -> tuple[np.ndarray, Grid, np.ndarray]:
    """Box (2, 3) float64, grid and rows (N, L) float16 to begin with.

    bounds: (2, 3) world box that holds the subject. Raises BadInput when the photos leave nothing of it.
    """
    bounds = subject = np.asarray(bounds, np.float64)
    masked = not all(view["opaque"] for view in views)
    first_voxels = hull if masked else partial(visible, settings, middle=bounds.mean(0))
    if not masked:
        bounds = bounds.mean(0) + (bounds - bounds.mean(0)) * settings.surround
    lo, voxel, bricks = lattice(bounds[0], bounds[1], settings.hull_resolution)
    found = np.argwhere(first_voxels(views, lo, voxel, [EDGE * b for b in bricks]))
    if len(found) == 0:
        raise BadInput(
            "the masks of the photos have no point of the bounding box in common, so there is nothing to learn: the "
            "poses are wrong or in another frame than the box, or some masks are. `daf nerf check CAPTURE` shows which "
            "photos disagree; leave those out, or correct their poses or masks"
            if masked
            else f"no point of the bounding box is seen by {min(settings.seen_by, len(views))} photos, so there is "
            "nothing to learn: the poses are wrong, or in another frame than the box. `daf nerf check CAPTURE` shows "
            "where the cameras are"
        )
    box = np.stack([lo + (found.min(0) - 1.5) * voxel, lo + (found.max(0) + 1.5) * voxel])
    box = np.stack([np.maximum(box[0], bounds[0]), np.minimum(box[1], bounds[1])])
    lo, voxel, bricks = lattice(box[0], box[1], settings.levels[0].resolution)
    keep = first_voxels(views, lo, voxel, [EDGE * b for b in bricks])
    grid = Grid.from_cells(_cells_of_voxels(keep, 0), lo, voxel, lo, voxel, bricks)
    return box, grid, first_rows(settings, subject, grid)


def first_rows(settings: Settings, bounds: np.ndarray, grid: Grid, start: int = 0, stop: int | None = None
               ) -> np.ndarray:  # fmt: skip
    """(n, L) float16 rows of bricks start..stop of the first grid: raw density 0 in `bounds`, the (2, 3) world box
    that holds the subject, `settings.raw_around` outside it. Fog around the subject explains a photo as well as the
    subject does, so that this begins with a lead."""
    pieces = list(_pieces(grid, start, len(grid.places) if stop is None else stop))
    begin = pieces[0][2] if pieces else 0
    rows = np.zeros((pieces[-1][3] - begin if pieces else 0, width(settings.degree_at(0, grid.rows))), np.float16)
    if settings.raw_around:
        for first, last, row, end in pieces:
            world = grid.lo + grid.voxels(first, last) * grid.voxel
            around = ((world < bounds[0]) | (world > bounds[1])).any(1)
            rows[row - begin : end - begin, 0] = np.where(around, settings.raw_around, 0)
    return rows


def finer_grid(settings: Settings, level: int, box: np.ndarray, grid: Grid, rows: np.ndarray) -> Grid:
    """The topology of level `level`, from the grid and rows of the one before."""
    weight = rows[:, 12].astype(np.float64)
    seen = settings.prune_weight * weight.sum() / max(1, np.count_nonzero(weight))
    dense = np.zeros(grid.resolution, bool)
    for start, stop, row, end in _pieces(grid, 0, len(grid.places)):
        raw = rows[row:end, 0].astype(np.float64)
        depth = np.logaddexp(0, raw + shift(settings)) * density(settings, box) * grid.voxel
        keep = (depth > -np.log1p(-settings.prune_alpha)) & (weight[row:end] > seen)
        voxels = grid.voxels(start, stop)[keep]
        dense[voxels[:, 0], voxels[:, 1], voxels[:, 2]] = True
    cells = _cells_of_voxels(dense, settings.prune_margin) & grid.alive()
    lo, voxel, bricks = lattice(box[0], box[1], settings.levels[level].resolution)
    return Grid.from_cells(cells, grid.lo, grid.voxel, lo, voxel, bricks)


def finest(settings: Settings, views: Sequence[Mapping[str, Any]], box: np.ndarray) -> int:
    """Cells along the longest side of the last level's grid: as many as make a voxel `settings.pixel` pixels wide at
    the middle of `box`, (2, 3) world, for the median photo; between what the level names and `settings.most`, in steps
    of 8.

    Finer voxels than that are seen by too few rays to be more than noise on other photos, coarser ones cannot show what
    the photos do. views: what `prepare_view` returned for each photo.
    """
    named = settings.levels[-1].resolution
    if not settings.pixel:
        return named
    middle = box.mean(0)
    cameras = np.stack([view["camera"] for view in views])
    pixel = np.median(np.linalg.norm(cameras[:, 9:12] - middle, axis=1) / cameras[:, 12:14].mean(1))
    cells = float((box[1] - box[0]).max() / (pixel * settings.pixel))
    return int(max(named, min(settings.most, 8 * round(cells / 8))))


def start_box(settings: Settings, field: Field) -> np.ndarray:
    """(2, 3) float64: the box that a field's training began with, so that its raw values mean the same.

    Raises ValueError when its density is in another unit than that of `settings`.
    """
    extent = (np.asarray(field.resolution) - 1) * field.voxel
    side = settings.reference / field.density
    if not 0.5 < side / extent.max() <= 1.0 + 1e-6:
        raise ValueError("its density is in a unit of its own: it was not trained by this version")
    return field.lo + extent / 2 + np.array([[-0.5], [0.5]]) * np.minimum(side, extent - 2 * field.voxel)


def start_grid(settings: Settings, box: np.ndarray, field: Field) -> Grid:
    """The topology to go on with: where the field has matter, and a margin in which it may have lost some."""
    lo, voxel, bricks = lattice(box[0], box[1], settings.levels[0].resolution)
    cells = field.grid.alive()
    for axis in range(3):
        grown = cells.copy()
        for offset in range(1, START_MARGIN + 1):
            ahead, behind = [slice(None)] * 3, [slice(None)] * 3
            ahead[axis], behind[axis] = slice(offset, None), slice(None, -offset)
            grown[tuple(ahead)] |= cells[tuple(behind)]
            grown[tuple(behind)] |= cells[tuple(ahead)]
        cells = grown
    return Grid.from_cells(cells, field.lo, field.voxel, lo, voxel, bricks)


def resample(old: Grid, rows: np.ndarray, new: Grid, start: int = 0, stop: int | None = None, degree: int = 1
             ) -> np.ndarray:  # fmt: skip
    """(n, L) float16 rows of bricks start..stop of the new grid, with room for harmonics of `degree` or what the old
    ones have: interpolated values, moments and weights zero."""
    halves = np.ascontiguousarray(rows, np.float16).view(np.uint16).reshape(-1)
    pieces = list(_pieces(new, start, len(new.places) if stop is None else stop))
    begin, size = pieces[0][2] if pieces else 0, rows.shape[1]
    values = np.zeros((pieces[-1][3] - begin if pieces else 0, max(size, width(degree))), np.float16)
    for first, last, row, end in pieces:
        world = new.lo + new.voxels(first, last) * new.voxel
        points = ((world - old.lo) / old.voxel).astype(np.float32)
        out = np.empty((len(points), size), np.float32)
        interpolate(halves, size, old.table, old.shape, old.first, old.present, points, EMPTY, out,
                    LINES[degree_of(rows)])  # fmt: skip
        out[:, STATE] = 0
        values[row - begin : end - begin, :size] = out
    return values


def _pieces(grid: Grid, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Bricks start..stop, `PIECE` at a time: (brick, brick end, row, row end)."""
    for first in range(start, stop, PIECE):
        last = min(first + PIECE, stop)
        end = int(grid.first[last]) if last < len(grid.first) else grid.rows
        yield first, last, int(grid.first[first]), end
