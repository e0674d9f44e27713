"""Training alone, as a job that keeps a diary: the stages of the nerf job up to the last round, nothing changed.

Every plan and every task appends one line to a file: when it began and ended, and how long the kernels in it and the
rest of its own code took. So a round's wall time can be taken apart: kernels, what the job does beside them, and all
that the engine does, be it between tasks or because a task asks it to. What the diary costs is noted as well. With
`every`, the plan of a stage also saves the rows it is given (after so many seconds, later after each further tenth of
the time), from which PSNR over time is computed after the run. Saving counts as training time: a few hundredths of a
second each.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[2]))  # workers load this file alone: the package is above it

from mapreduce import History, Job, Stage
from nerf_plugin.stages.training import TrainingStages

_diaries: dict[Path, int] = {}
"""This process's descriptor of each diary."""
_cost = [0.0]
"""Seconds that this process's last line took to write."""


@dataclass
class Training(TrainingStages, Job):
    """The training stages of the nerf job, timed."""

    dataset: Path = Path()
    diary: Path = Path()
    preset: str = "standard"
    effort: float = 1.0
    every: float = 0.0
    seed: int = 0
    shards: int = 4

    @cached_property
    def capture(self) -> Any:
        from nerf_plugin.datasets import load

        return load(self.dataset, "train")

    @cached_property
    def settings(self) -> Any:  # type: ignore[override]
        from nerf_plugin.training import PRESETS

        return replace(PRESETS[self.preset].scaled(self.effort), seed=self.seed).shared_by(self.shards)

    def train_views(self) -> list[dict[str, Any]]:
        return [view.to_plain() for view in self.capture.views]

    def bounds(self) -> Any:
        return self.capture.bounds

    def next_stage(self, history: History) -> Stage | None:
        begin, start = time.time(), time.perf_counter()
        stage = self.planned(history, begin)
        name = "" if history.last is None else history.last.name
        self.note("plan", begin=begin, stage=len(history), name=name, own=time.perf_counter() - start)
        return stage

    def planned(self, history: History, begin: float) -> Stage | None:
        last = history.last
        if last is None:
            return self.plan_prepare()
        if last.state["phase"] in ("prepare", "grid"):
            return self.plan_grid(last) if last.state["phase"] == "prepare" else self.plan_rows(last)
        if last.state["phase"] == "rows":
            return self.plan_round(last)
        then = self.training_over(last)
        if self.every and (then == "done" or self.due(begin)):
            self.save(last, begin)
        if then == "done":
            return None
        return self.plan_round(last) if then == "round" else self.plan_grid(last)

    # ------------------------------------------------------------------------------------------------------ the diary

    def note(self, what: str, **facts: Any) -> None:
        """Append a line; short writes to a file opened for appending do not mix. `diary`: what this process's last line
        cost."""
        start = time.perf_counter()
        line = {"what": what, "end": time.time(), "pid": os.getpid(), "diary": _cost.pop(), **facts}
        if self.diary not in _diaries:
            _diaries[self.diary] = os.open(self.diary / "diary.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(_diaries[self.diary], (json.dumps(line) + "\n").encode())
        _cost.append(time.perf_counter() - start)

    def due(self, now: float) -> bool:
        """Whether to save: not before `every` seconds, or a tenth of the time so far, have passed."""
        with open(self.diary / "diary.jsonl") as file:
            start = float(json.loads(file.readline())["begin"])
        latest = max((float(path.name) for path in self.diary.iterdir() if path.is_dir()), default=0.0)
        return now - latest >= max(self.every, 0.1 * (now - start))

    def save(self, last: Any, now: float) -> None:
        """Rows and grid of this moment, in a folder named by it."""
        import numpy as np

        folder = self.diary / f"{now:.6f}"
        folder.mkdir()
        [(_, plain)] = last.shared["grid"]
        np.savez(folder / "grid.npz", box=plain["box"], **plain["grid"])
        for part, rows in last.outputs:
            np.save(folder / f"rows-{part}.npy", rows)

    def trace(self, task: int, ctx: Any) -> Iterator[tuple[int, Any]]:
        """Map, as the job does it, and a line about it."""
        yield from self.watched("map", "map_task", partial(super().trace, task), ctx)

    def step(self, part: int, packets: Any, ctx: Any) -> Iterator[tuple[int, Any]]:
        """Reduce, as the job does it, and a line about it."""
        yield from self.watched("reduce", "reduce_task", partial(super().step, part, packets), ctx)

    def rows(self, ctx: Any, grid: Any) -> Any:
        """All rows of a round, as the engine maps them."""
        return ctx.timed(super().rows, ctx, grid)

    def watched(self, what: str, kernel: str, work: Callable[[Any], Iterator[Any]], ctx: Any) -> Iterator[Any]:
        """The pairs of one task; the diary gets its times and the bytes that it leaves."""
        import nerf_plugin.training as training
        from nerf_plugin.harmonics import lanes

        engine = Engine(ctx)
        inner, own = Stopwatch(getattr(training, kernel), engine), Stopwatch(work, engine)
        setattr(training, kernel, inner)
        begin, size = time.time(), 0
        try:
            for pair in own.items(own.timed(work, engine)):
                size += _bytes(pair[1])
                yield pair
        finally:
            setattr(training, kernel, inner.function)
        dense, live = ctx.cached(f"sizes {ctx.state['level']}", lambda: _sizes(ctx))
        self.note(
            what,
            begin=begin,
            own=own.wall,
            kernel=inner.wall,
            kernel_cpu=inner.cpu,
            bytes=size,
            stage=ctx.stage,
            task=ctx.task,
            round=ctx.state["round"],
            rays=int(inner.result[1]["rays"]) if what == "map" else 0,
            level=ctx.state["level"],
            dense=dense,
            live=live,
            values=len(lanes(max(1, self.settings.degree_at(ctx.state["level"], live)))),
        )


class Engine:
    """The context of a task, with what it spends on the task's behalf: seconds of memory for what is handed on, of its
    hash, and of mapping what is read."""

    def __init__(self, ctx: Any):
        self._ctx, self.spent = ctx, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    def timed(self, function: Callable[..., Any], *args: Any) -> Any:
        start = time.perf_counter()
        result = function(*args)
        self.spent += time.perf_counter() - start
        return result

    def empty(self, *args: Any) -> Any:
        return self.timed(self._ctx.empty, *args)

    def final(self, part: Any) -> None:
        start = time.perf_counter()
        self._ctx.final(part)
        self.spent += time.perf_counter() - start


_END = object()


class Stopwatch:
    """A function that adds up what its calls take, wall and CPU seconds, by clocks that stand still while the engine
    works, and keeps its last result. Where that begins with an iterator, what making its items takes is counted too."""

    result: Any = None

    def __init__(self, function: Callable[..., Any], engine: Engine):
        self.function, self.wall, self.cpu, self._engine = function, 0.0, 0.0, engine

    def __call__(self, *args: Any) -> Any:
        self.result = self.timed(self.function, *args)
        if isinstance(self.result, tuple):
            return self.items(self.result[0]), self.result[1]
        return self.result

    def items(self, iterator: Iterator[Any]) -> Iterator[Any]:
        """The same items; what making them takes is added."""
        while (item := self.timed(next, iterator, _END)) is not _END:
            yield item

    def timed(self, function: Callable[..., Any], *args: Any) -> Any:
        """What the function returns; its time is added."""
        engine = self._engine
        wall, cpu, spent = time.perf_counter(), time.thread_time(), engine.spent
        result = function(*args)
        spent -= engine.spent
        self.wall += time.perf_counter() - wall + spent
        self.cpu += time.thread_time() - cpu + spent
        return result


def _sizes(ctx: Any) -> tuple[int, int]:
    """Voxels of the level's box, and how many of them have a row."""
    import numpy as np

    [(_, plain)] = ctx.shared["grid"]
    x, y, z = plain["grid"]["bricks"]
    return 64 * x * y * z, int(np.bitwise_count(plain["grid"]["present"]).sum())


def _bytes(value: Any) -> int:
    return sum(map(_bytes, value.values())) if isinstance(value, dict) else int(value.nbytes)


def read_diary(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run, in the order they were written."""
    return [json.loads(line) for line in (folder / "diary.jsonl").read_text().splitlines()]
