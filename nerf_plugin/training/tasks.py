"""A round of training as map and reduce.

map_task     rays of some views -> packed gradients, one packet per range of rows
reduce_task  the packets of one range, in map order, and all rows -> the range's new rows

Both are pure functions of plain data. Every round takes one optimiser step on the sum over all of its rays, so results
are those of plain large-batch gradient descent: they depend on neither the number of workers nor that of map tasks
(save for the rounding of packets). The rows of a level's grid are cut into `settings.parts` ranges by `Grid.ranges`; a
reduce task returns its range, and the next round's map tasks read all of them, side by side as they lie in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nerf_plugin.grid import Grid
from nerf_plugin.harmonics import LINES, degree_of, width
from nerf_plugin.kernels import march as marching
from nerf_plugin.kernels import update
from nerf_plugin.kernels.pixels import rays_of_pixels
from nerf_plugin.kernels.smooth import smooth
from nerf_plugin.memory import let_go_of
from nerf_plugin.training import outside as outer
from nerf_plugin.training.schedule import RoundPlan, rung
from nerf_plugin.training.settings import Settings
from nerf_plugin.training.views import draw, rung_camera

WHOLE = 1 << 19
"""A grid of fewer rows is cut into fewer ranges: each costs a reduce task, and every map task a packet. With 335,000
rows, two ranges instead of four make a round of 57 ms of one of 62, and with two workers 35 of 37."""

BLOCK = 128
"""Bricks whose gradients are merged, smoothed and used up before the next ones' are: what they and the new rows take,
about a megabyte, stays in a core's own cache until it is hashed."""

Packet = np.ndarray
"""Gradients of one range of bricks, (bytes,) uint8: a word of 8 bytes for each brick, which says which of its rows were
touched, then a record for each of these (see `kernels.update`)."""
Empty = Callable[[int, Any], np.ndarray]
"""Memory for an array that a task hands on: `numpy.empty`, or what an engine has that saves a copy."""
Final = Callable[[np.ndarray], None]
"""Told of each part of such an array, from its front on, that will not change any more."""


def unheard(part: np.ndarray) -> None:
    """A `Final` for those who do not care."""


@dataclass(frozen=True)
class Rows:
    """All rows of a grid. values: (M, L) float16, L being `harmonics.width`. first: (B,) int32, where each brick's rows
    begin in it: the grid's own numbers, or larger ones where ranges lie apart from each other."""

    values: np.ndarray
    first: np.ndarray

    @classmethod
    def apart(cls, grid: Grid, values: np.ndarray, starts: Sequence[int]) -> Rows:
        """Rows whose range number i begins at starts[i] of `values`, as many ranges as there are starts."""
        first = grid.first.copy()
        for (brick, end, row, _), start in zip(grid.ranges(len(starts)), starts, strict=True):
            first[brick:end] += np.int32(start - row)
        return cls(values, first)


def parted(packet: Packet, bricks: int) -> tuple[np.ndarray, np.ndarray]:
    """A packet of so many bricks as `kernels.update` takes it: words (bricks,) uint64, records (bytes,) int8."""
    return packet[: 8 * bricks].view(np.uint64), packet[8 * bricks :].view(np.int8)


class Scratch:
    """Buffers that one process keeps between tasks: they save page faults, never carry results."""

    def __init__(self) -> None:
        self.work, self.corner = marching.scratch()
        self.clear()

    def clear(self) -> None:
        """Give back what grew with the grid; it grows again when it is asked for."""
        self._grads = np.zeros(0, np.float32)
        self._clean = True

    def gradients(self, size: int) -> np.ndarray:
        """(size,) float32 of zeros. The borrower hands it back as zeros by calling `clean`."""
        if len(self._grads) < size:
            self._grads = np.zeros(0, np.float32)  # the old ones go first
            self._grads = np.zeros(size, np.float32)
        elif not self._clean:
            self._grads[:] = 0
        self._clean = False
        return self._grads[:size]

    def clean(self) -> None:
        """The borrowed gradients are zeros again."""
        self._clean = True


def parts_of(settings: Settings, rows: int) -> int:
    """Ranges that so many rows are cut into: `settings.parts` from WHOLE rows on, half as many for half the rows and so
    on (not 3 of 4, which two workers cannot share evenly). They decide who computes what, not what comes out."""
    parts = settings.parts
    while parts > 1 and rows * settings.parts < parts * WHOLE:
        parts //= 2
    return parts


def density(settings: Settings, box: np.ndarray) -> float:
    """Optical density per world unit where softplus(raw + shift) is 1."""
    return settings.reference / float((np.asarray(box[1]) - box[0]).max())


def shift(settings: Settings) -> float:
    """What is added to raw density: raw 0 is `alpha_start` over one voxel of the first grid, unless settings say."""
    if settings.raw_shift is not None:
        return settings.raw_shift
    depth = -np.log1p(-settings.alpha_start) * settings.levels[0].resolution / settings.reference
    return float(np.log(np.expm1(depth)))


def gather_rays(settings: Settings, plan: RoundPlan, task: int, grid: Grid,
                views: Sequence[Mapping[str, Any]]
                ) -> tuple[np.ndarray, np.ndarray, list[outer.Span]]:  # fmt: skip
    """The rays and targets of a map task, (R*6,), (R*4,) float32, and which photo's they are. Pages of mapped photos
    are let go again: a task reads a few per cent of its photos, but would in time hold all of them."""
    jobs, read = [], []
    for index in plan.views(len(views), task, settings.tasks):
        view = views[index]
        halvings = rung(view["size"], settings.levels[plan.level].resolution)
        image = view["rungs"][str(halvings)]
        chosen = draw(settings, index, plan, image["candidates"])
        jobs.append((index, image["pixels"], chosen, rung_camera(view["camera"], halvings)))
        read.append(image)
    count = sum(len(chosen) for _, _, chosen, _ in jobs)
    rays, target = np.empty(count * 6, np.float32), np.empty(count * 4, np.float32)
    spans, at = [], 0
    for index, pixels, chosen, camera in jobs:
        rays_of_pixels(pixels.reshape(-1), pixels.shape[1], chosen, camera, grid.lo, grid.voxel, rays, target, at)
        spans.append((index, at, at + len(chosen)))
        at += len(chosen)
    let_go_of(read)
    return rays, target, spans


def map_task(settings: Settings, plan: RoundPlan, task: int, box: np.ndarray, grid: Grid, rows: Rows,
             views: Sequence[Mapping[str, Any]], scratch: Scratch | None = None,
             outside: Mapping[str, np.ndarray] | None = None,
             empty: Empty = np.empty, final: Final = unheard) -> tuple[Iterator[Any], dict[str, float]]:  # fmt: skip
    """Gradients of the rays of one map task.

    box: (2, 3) world box that the run began with. views: what `prepare_view` returned for each
    photo; only those of this task are touched. Returns packets and figures: for each of `settings.parts` ranges
    a Packet, and {rays, alive, steps, loss}; loss: sum of squared errors. Packets are made as they are asked for, all
    of them before the next task uses `scratch`. Given a state of `training.outside`, there is one packet more, its.
    """
    scratch, degree = scratch or Scratch(), degree_of(rows.values)
    rays, target, spans = gather_rays(settings, plan, task, grid, views)
    count = len(target) // 4
    grads = scratch.gradients(rows.values.size)
    touched = np.zeros(len(grid.places), np.uint64)
    back, pull = np.ones(count * 3, np.float32), np.empty(count * 3, np.float32)
    if outside is not None:
        photo = outer.aim(outside, spans, target)
        back = outer.behind(outside, rays, grid.lo, grid.voxel)
    out = np.empty(count * 5, np.float32)
    seed = (settings.seed * 7919 + plan.number * settings.tasks + task) & 0x7FFFFFFF
    loss, alive, steps = marching.march(
        rows.values.view(np.uint16).reshape(-1), grads, touched, grid.table, grid.shape, rows.first, grid.present,
        grid.occupied, grid.box,
        rays, target, back, pull, count, seed, settings.step,
        density(settings, box) * grid.voxel * settings.step, shift(settings), settings.alpha_weight,
        settings.point_weight, plan.distortion, settings.stop, True, out, scratch.work, scratch.corner,
        LINES[degree],
    )  # fmt: skip

    def packets() -> Iterator[Any]:
        for start, stop, _, _ in grid.ranges(settings.parts):
            packet = _packet(degree, grads, touched, rows.first, start, stop, empty)
            final(packet)
            yield packet
        scratch.clean()
        if outside is not None:
            yield outer.packet(settings, plan, outside, spans, rays, grid.lo, grid.voxel, pull, out, photo)

    return packets(), {"rays": count, "alive": alive, "steps": steps, "loss": loss}


def _packet(degree: int, grads: np.ndarray, touched: np.ndarray, first: np.ndarray, start: int, stop: int, empty: Empty
            ) -> Packet:  # fmt: skip
    """The packet of bricks start..stop."""
    record = width(degree) + update.BESIDE
    packet = empty(8 * (stop - start) + record * update.count_touched(touched, start, stop), np.uint8)
    words, records = parted(packet, stop - start)
    n = update.pack(grads, touched, first, start, stop, words, records, LINES[degree])
    return packet[: words.nbytes + record * n]


def reduce_task(settings: Settings, plan: RoundPlan, grid: Grid, part: int, rows: Rows, packets: Sequence[Packet],
                empty: Empty = np.empty, final: Final = unheard) -> np.ndarray:  # fmt: skip
    """One optimiser step of a range of rows.

    part: number of the range, of `grid.ranges(settings.parts)`. packets: those of the range, in map order. Returns the
    range's new rows, (n, L) float16.
    """
    begin, end, low, high = grid.ranges(settings.parts)[part]
    lines, size = LINES[degree_of(rows.values)], rows.values.shape[1]
    old, new = rows.values.view(np.uint16), empty((high - low) * size, np.uint16)
    sums = np.zeros(min(BLOCK, end - begin) * 64 * size, np.float32)
    apart = int(rows.first[begin]) - low if end > begin else 0
    inputs = [parted(packet, end - begin) for packet in packets]
    done = [0] * len(packets)
    for brick in range(begin, end, BLOCK):
        last = min(brick + BLOCK, end)
        start, stop = int(grid.first[brick]), int(grid.first[last]) if last < len(grid.first) else grid.rows
        total = sums[: (stop - start) * size]
        for i, (words, records) in enumerate(inputs):
            rest = records[(size + update.BESIDE) * done[i] :]
            done[i] += update.merge(total, grid.first, brick, words[brick - begin : last - begin], rest, lines)
        if plan.smooth:
            smooth(old.reshape(-1), total, brick, last, grid.table, grid.shape, rows.first, grid.present, grid.places,
                   plan.smooth, lines)  # fmt: skip
        block = new[(start - low) * size : (stop - low) * size]
        update.step(
            old[start + apart : stop + apart].reshape(-1), total, plan.rate_sigma, plan.rate_color, plan.rate_sh,
            plan.rate_sh2, plan.damp_sigma, plan.damp_color, plan.smooth, settings.beta, block, lines,
        )  # fmt: skip
        final(block)
    return new.view(np.float16).reshape(-1, size)
