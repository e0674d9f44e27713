"""Which round does what: pure functions of the settings, the round's number and the photos' sizes.

Every view has its own endless stream of ray chunks (a fresh permutation of its candidate tiles each epoch); a round
reads the next few chunks of each of its views. So all views are seen equally often, no pixel twice before all were
seen once, and what a task reads depends on nothing but (settings, round, task).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from nerf_plugin.training.settings import LARGE, Settings

TILE = 8
"""Pixels along a side of a tile."""
CHUNK = TILE * TILE
"""Rays that stay together: the pixels of one tile, where all of it is wanted; in large rounds those of four tiles of a
square. Rays side by side share voxels: larger chunks are faster and leave fewer gradients to send, smaller ones are
spread more evenly, which matters where rays are few."""

MIN_CHUNKS = 4


@dataclass(frozen=True)
class RoundPlan:
    """One round. level, index (within the level), first and last (of the level); rates and damping of this round;
    `every`: a view takes part in every so many-th round; `chunks` of `chunk` rays from each view that does; done: the
    fraction of the run's rays that were traced before."""

    number: int
    level: int
    index: int
    last: bool
    every: int
    chunk: int
    chunks: int
    rate_sigma: float
    rate_color: float
    rate_sh: float
    rate_sh2: float
    damp_sigma: float
    damp_color: float
    distortion: float
    smooth: float
    done: float = 0.0

    def views(self, count: int, task: int, tasks: int) -> range:
        """Numbers of the views of map task `task`, out of `count` views: fixed shards, taken in turn."""
        members = range(task, count, tasks)
        return members[self.index % self.every :: self.every]

    @property
    def position(self) -> int:
        """First chunk of each view's stream to read."""
        return self.index // self.every * self.chunks


def plan(settings: Settings, number: int, views: int) -> RoundPlan:
    """The plan of round `number` (0-based) for so many views. Raises IndexError past the last round."""
    if not 0 <= number < settings.rounds:
        raise IndexError(f"round {number} of {settings.rounds}")
    starts = [0, *accumulate(spec.rounds for spec in settings.levels)]
    level = bisect_right(starts, number) - 1
    start, spec = starts[level], settings.levels[level]
    done = sum(s.rounds * s.rays for s in settings.levels[:level]) + (number - start) * spec.rays
    final = spec.resolution == settings.levels[-1].resolution
    pace = settings.rate_end ** (done / settings.rays) * settings.stride(spec)
    rate_sh = settings.rate_sh if done >= settings.sh_start * settings.rays else settings.rate_sh_early
    started = settings.degree > 1 and done >= max(settings.sh_start, settings.sh2_start) * settings.rays
    chunk = 4 * CHUNK if spec.rays >= LARGE else CHUNK
    wanted = spec.rays / chunk
    every = max(1, min(math.ceil(views / settings.tasks), round(views * MIN_CHUNKS / wanted)))
    chunks = max(1, round(wanted * every / views))
    return RoundPlan(
        number=number, level=level, index=number - start, last=number == start + spec.rounds - 1, every=every,
        chunk=chunk, chunks=chunks, rate_sigma=settings.rate_sigma * pace, rate_color=settings.rate_color * pace,
        rate_sh=rate_sh if settings.degree else 0.0, rate_sh2=rate_sh * settings.rate_sh2 if started else 0.0,
        damp_sigma=settings.damp_sigma if final else 0.0, damp_color=settings.damp_color if final else 0.0,
        distortion=settings.distortion_weight if done >= settings.distortion_start * settings.rays else 0.0,
        smooth=settings.smooth if done >= settings.smooth_start * settings.rays else 0.0,
        done=done / settings.rays,
    )  # fmt: skip


def rung(size: Sequence[int], resolution: int) -> int:
    """How often to halve an image of `size` pixels for a grid, so that it has 1 to 2 pixels a voxel."""
    return max(0, round(math.log2(max(size) / resolution) - 0.6))


def rungs(settings: Settings, size: Sequence[int]) -> list[int]:
    """The rungs of the image pyramid that a run may need, ascending."""
    wanted = {rung(size, level.resolution) for level in settings.levels}
    if settings.pixel:
        wanted |= set(range(rung(size, max(settings.most, settings.levels[-1].resolution)), min(wanted)))
    return sorted(wanted)


def generator(seed: int, *counter: int) -> np.random.Generator:
    """A generator for one place of a run: the same for the same numbers, independent for different ones."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *counter])))
