"""Training alone, as a job that keeps a diary: the stages of the nerf job up to the last round, nothing changed.

Every plan and every task appends one line to a file: when it began and ended, and how long the kernels in it took. So a
round's wall time can be taken apart: kernels, the rest of the tasks, and what the engine does between them. With
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


@dataclass
class Training(TrainingStages, Job):
    """The training stages of the nerf job, timed."""

    dataset: Path = Path()
    diary: Path = Path()
    preset: str = "standard"
    effort: float = 1.0
    every: float = 0.0
    seed: int = 0

    @cached_property
    def capture(self) -> Any:
        from nerf_plugin.datasets import load

        return load(self.dataset, "train")

    @cached_property
    def settings(self) -> Any:  # type: ignore[override]
        from nerf_plugin.training import PRESETS

        return replace(PRESETS[self.preset].scaled(self.effort), seed=self.seed)

    def train_views(self) -> list[dict[str, Any]]:
        return [view.to_plain() for view in self.capture.views]

    def bounds(self) -> Any:
        return self.capture.bounds

    def next_stage(self, history: History) -> Stage | None:
        begin = time.time()
        last = history.last
        self.note("plan", begin=begin, stage=len(history), name="" if last is None else last.name)
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
        """Append a line; short writes to a file opened for appending do not mix. It stays open: what a line costs
        counts as the engine's."""
        line = json.dumps({"what": what, "end": time.time(), "pid": os.getpid(), **facts}) + "\n"
        if self.diary not in _diaries:
            _diaries[self.diary] = os.open(self.diary / "diary.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(_diaries[self.diary], line.encode())

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

    def watched(self, what: str, kernel: str, work: Callable[[Any], Iterator[Any]], ctx: Any) -> Iterator[Any]:
        """The pairs of one task; the diary gets its times and the bytes that it leaves. What the engine does while the
        kernels run (memory for what they hand on, and its hash) is not theirs."""
        import nerf_plugin.training as training
        from nerf_plugin.harmonics import lanes

        inner = Stopwatch(getattr(training, kernel))
        setattr(training, kernel, inner)
        begin, cpu, size, engine = time.time(), time.thread_time(), 0, Engine(ctx)
        try:
            for pair in work(engine):
                size += _bytes(pair[1])
                yield pair
        finally:
            setattr(training, kernel, inner.function)
        spent = time.thread_time() - cpu
        dense, live = ctx.cached(f"sizes {ctx.state['level']}", lambda: _sizes(ctx))
        self.note(
            what,
            begin=begin,
            cpu=spent,
            kernel=inner.wall - engine.spent.wall,
            kernel_cpu=inner.cpu - engine.spent.cpu,
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
    """The context, with what `empty` and `final` take added up."""

    def __init__(self, ctx: Any):
        self._ctx, self.spent = ctx, Stopwatch(ctx.empty)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    def empty(self, *args: Any) -> Any:
        return self.spent.timed(self._ctx.empty, *args)

    def final(self, *args: Any) -> None:
        self.spent.timed(self._ctx.final, *args)


_END = object()


class Stopwatch:
    """A function that adds up what its calls take, wall and CPU seconds, and keeps its last result. Where that begins
    with an iterator, what making its items takes is counted too."""

    result: Any = None

    def __init__(self, function: Callable[..., Any]):
        self.function, self.wall, self.cpu = function, 0.0, 0.0

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
        wall, cpu = time.perf_counter(), time.thread_time()
        result = function(*args)
        self.wall += time.perf_counter() - wall
        self.cpu += time.thread_time() - cpu
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
