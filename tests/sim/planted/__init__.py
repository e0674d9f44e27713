"""Planted bugs: each breaks one thing in the scheduler, and the simulator must notice within a number of schedules.

A simulator that finds nothing may be blind. Every bug here is one that a scheduler of this kind has had somewhere: a
dropped fence, a commit that was skipped, an output that is not made again. `python -m tests.sim --planted 2000` plants
them one by one and says in which schedule, and by which promise, each was caught. One that is not caught is a hole in
the simulator.
"""

from __future__ import annotations

import multiprocessing

from ..schedule import simulate
from . import ending, fence, handing, keeping, losing, order, records, skipping  # noqa: F401  each registers its bugs
from .planting import BUGS


def hunt(name: str, seeds: int) -> tuple[str, int, str]:
    """(name, the schedule that caught it, how); -1 where none did."""
    with BUGS[name]():
        for seed in range(seeds):
            try:
                simulate(seed)
            except Exception as error:
                return name, seed, f"{type(error).__name__}: {str(error).splitlines()[0][:110]}"
    return name, -1, "not caught"


def _hunt(job: tuple[str, int]) -> tuple[str, int, str]:
    return hunt(*job)


def report(seeds: int, processes: int = 2) -> int:
    """Plant them all; a line each. Returns the number that got away."""
    away = 0
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for name, seed, how in pool.imap(_hunt, [(name, seeds) for name in BUGS]):
            away += seed < 0
            print(f"{'NOT CAUGHT' if seed < 0 else f'seed {seed}':>10}  {name}: {how}", flush=True)
    print(f"{len(BUGS)} planted, {len(BUGS) - away} caught within {seeds} schedules")
    return away
