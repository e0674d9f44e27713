"""The cases as job types of this library. Loaded by workers as a plugin file, as a user's own would be."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mapreduce import Job, Stage

sys.path.append(str(Path(__file__).resolve().parent.parent))  # workers load this file alone: the package is beside it


@dataclass
class Empty(Job):
    """n tasks that do nothing."""

    n: int = 1
    reduces = 1

    def splits(self) -> Any:
        return range(self.n)

    def map(self, split: int, ctx: Any) -> Any:
        ctx.count("sum", split)


@dataclass
class Trips(Job):
    """n tasks that only say when they ran, in nanoseconds."""

    n: int = 1
    reduces = 1

    def splits(self) -> Any:
        return range(self.n)

    def map(self, split: int, ctx: Any) -> Any:
        ctx.count(f"at {split}", time.perf_counter_ns())


@dataclass
class Arrays(Job):
    """n arrays, added up by one reducer."""

    n: int = 1
    size: int = 4
    reduces = 1

    def splits(self) -> Any:
        return range(self.n)

    def map(self, split: int, ctx: Any) -> Any:
        array = np.full(self.size // 4, split % 7 + 1, dtype=np.float32)
        array[0] = split  # no two are the same, so none can be kept once for several
        yield 0, array

    def reduce(self, key: int, arrays: Any, ctx: Any) -> Any:
        arrays = iter(arrays)
        total = next(arrays).copy()
        for array in arrays:
            total += array
        yield 0, float(total.sum())

    def finish(self, results: Any, ctx: Any) -> float:
        [(_, total)] = results
        return float(total)


@dataclass
class Broadcast(Job):
    """Shared state, summed by every task. Its value is the seconds that making the state took."""

    tasks: int = 1
    size: int = 8
    reduces = 1

    def next_stage(self, history: Any) -> Stage | None:
        if history:
            return None
        begin = time.perf_counter()
        data = np.ones(self.size // 8)
        return Stage(range(self.tasks), shared={"data": data}, state=time.perf_counter() - begin, reduces=1)

    def map(self, split: int, ctx: Any) -> Any:
        ctx.count("sum", int(ctx.shared["data"].sum()))

    def finish(self, results: Any, ctx: Any) -> float:
        """Seconds that making the state took."""
        return float(ctx.state)


@dataclass
class Rounds(Job):
    """k-means of the benchmark: four parts, `rounds` rounds."""

    path: Path = Path()
    rounds: int = 1
    k: int = 2

    def next_stage(self, history: Any) -> Stage | None:
        from benchmarks.peers import common

        if len(history) > self.rounds:
            return None
        if not history:
            centres = np.load(self.path, mmap_mode="r")[: self.k].copy()
            marks: list[float] = []
        else:
            [(_, parts)] = history.last.outputs
            centres = common.new_centres(parts)
            marks = history.last.state
        if len(history) == self.rounds:
            return Stage([], "end", shared={"centres": centres}, state=[*marks, time.perf_counter()], reduces=1)
        return Stage(
            range(4),
            f"round {len(history)}",
            shared={"centres": centres},
            state=[*marks, time.perf_counter()],
            reduces=1,
        )

    def map(self, split: int, ctx: Any) -> Any:
        from benchmarks.peers import common

        part = ctx.cached(f"part {split}", lambda: np.array_split(np.load(self.path), 4)[split])
        yield 0, common.assign(part, ctx.shared["centres"])

    def reduce(self, key: int, parts: Any, ctx: Any) -> Any:
        yield 0, list(parts)

    def finish(self, results: Any, ctx: Any) -> Any:
        return {"centres": ctx.shared["centres"].tolist(), "marks": ctx.state}


@dataclass
class Hollow(Job):
    """Rounds of two tasks that cost next to nothing."""

    rounds: int = 1
    reduces = 1

    def next_stage(self, history: Any) -> Stage | None:
        if len(history) > self.rounds:
            return None
        marks = [*(history.last.state if history else ()), time.perf_counter()]
        state = history.last.outputs if history else np.zeros(8)
        if history:
            [(_, state)] = state
        splits = [] if len(history) == self.rounds else [0, 1]
        return Stage(splits, shared={"state": state}, state=marks, reduces=1)

    def map(self, split: int, ctx: Any) -> Any:
        yield 0, ctx.shared["state"] + split

    def reduce(self, key: int, parts: Any, ctx: Any) -> Any:
        first, second = parts
        yield 0, (first + second) / 2

    def finish(self, results: Any, ctx: Any) -> Any:
        return {"state": ctx.shared["state"].tolist(), "marks": ctx.state}


@dataclass
class Sleepy(Job):
    """n tasks that sleep."""

    n: int = 1
    seconds: float = 0.1
    reduces = 1

    def splits(self) -> Any:
        return range(self.n)

    def map(self, split: int, ctx: Any) -> Any:
        time.sleep(self.seconds)
        ctx.count("sum", split)
        yield 0, os.getpid()

    def finish(self, results: Any, ctx: Any) -> list[int]:
        return sorted({pid for _, pid in results})
