"""The inline engine: every task in this process, one after another, through the same functions and the same blobs as
anywhere else.

For debugging (a breakpoint in `map` just works) and as the oracle that other engines are compared with. Values go
through the codec and the shuffle here too, so what cannot be sent or merged is found on the first line of a job's life.
"""

from __future__ import annotations

import os
import reprlib
import tempfile
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import tasks
from ..blobs import BlobStore, Reader
from ..job import Artifact, Job, Result, Skipped
from ..wire.messages import Ref, Update
from ..working.host import VARIABLE, DataDirectory

OnUpdate = Callable[[Update], None]


class InlineEngine:
    """Runs one job at a time. `run` may be called again; blobs of a run live as long as its Result."""

    def __enter__(self) -> InlineEngine:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(
        self,
        job: Job,
        *,
        seed: int | None = None,
        on_update: OnUpdate | None = None,
        skip_bad: int = 0,
        **_: Any,
    ) -> Result:
        """Run `job` to its end. Errors of the job's own methods come through as they are, but for those of the first
        `skip_bad` splits whose map raises: they are set aside."""
        folder = _Folder()
        return _Run(job, job.seed if seed is None else seed, folder.directory, on_update, skip_bad).run(folder)


class _Folder:
    """Where a run's blobs are. It goes with whoever refers to it; that of a program that was killed is deleted by the
    next run."""

    def __init__(self) -> None:
        self.directory = DataDirectory(base=Path(os.environ.get(VARIABLE) or tempfile.gettempdir()).absolute())
        self.path = self.directory.path
        weakref.finalize(self, self.directory.close)


class _Run:
    """One job on its way through its stages."""

    def __init__(
        self,
        job: Job,
        seed: int,
        folder: DataDirectory,
        on_update: OnUpdate | None,
        skip_bad: int,
    ):
        store, scratch = BlobStore(folder.blobs), folder.scratch
        self._env = tasks.Env(job, 1, seed, store, Reader(store, "inline"), scratch, report=self._report)
        self._on_update = on_update or (lambda update: None)
        self._counters: dict[str, int] = {}
        self._started = time.time()
        self._tasks = 0
        self._skip_bad, self._skipped = skip_bad, list[Skipped]()
        self._stage = (0, "", 0, 0, (0.0, 0.0))
        self._done = [0, 0]
        self._units: set[tuple[int, int]] = set()
        """(stage, kind) of earlier stages that still lie there."""

    def run(self, keep: object) -> Result:
        """`keep` is what the result refers to, so that its blobs stay."""
        env, number = self._env, 0
        previous: tasks.Previous | None = None
        while not (plan := tasks.run_plan(env, number, previous)).last:
            if number > 0:
                self._forget(number, plan.inputs)
            previous = self._run_stage(number, plan)
            number += 1
        env.store.pool.clear()
        finish = tasks.run_finish(env, number, previous)
        self._add(finish.counters)
        value, files = tasks.unpack_value(finish.value)
        artifacts = [Artifact(Path(path), digest, size) for path, digest, size in files]
        outputs = tasks.outputs_of(env.reader, env.job_id, [] if previous is None else previous.outputs)
        metrics = {"seconds": time.time() - self._started, "tasks": self._tasks, "stages": number, "retries": 0}
        self._tell("done")
        told = (value, outputs, artifacts, self._counters, metrics, keep, tuple(self._skipped))
        return Result(1, type(env.job).name, *told)

    def _run_stage(self, number: int, plan: tasks.Plan) -> tasks.Previous:
        env = self._env
        self._stage, self._done = (number, plan.name, plan.maps, plan.reduces, plan.share), [0, 0]
        stage = tasks.LoadedStage(env, number, plan.setup, plan.inputs, plan.splits, plan.reduces)
        maps = [self._count(0, self._map(stage, index)) for index in range(plan.maps)]
        outputs: list[Ref | None] = []
        for partition in range(plan.reduces):
            result = self._count(1, tasks.run_reduce(env, stage, partition, _segments(number, partition, maps)))
            outputs.append(Ref(result.hash, result.size, env.node, number, tasks.REDUCE) if result.hash else None)
        env.store.release(env.job_id, [(number, tasks.MAP)])
        return tasks.Previous(number, plan.setup, plan.inputs, outputs, self._counters)

    def _map(self, stage: tasks.LoadedStage, index: int) -> tasks.TaskResult:
        """One map task, or nothing where its split is set aside."""
        try:
            return tasks.run_map(self._env, stage, index)
        except Exception as error:
            if len(self._skipped) >= self._skip_bad:
                raise
            from ..working.failure import of_exception
            from .cluster import skipped

            text = f"map {index}: {reprlib.repr(stage.split(index))}"
            self._skipped.append(skipped(stage.number, index, of_exception(error, text=text)))
            return tasks.TaskResult(b"", 0, (), {})

    def _forget(self, number: int, inputs: tuple[Ref, ...]) -> None:
        """Delete what earlier stages left, but for what stage `number` was given."""
        self._units |= {(number - 1, tasks.PLAN), (number - 1, tasks.REDUCE)}
        outgrown = self._units - {(ref.stage, ref.kind) for ref in inputs}
        self._units -= outgrown
        if outgrown:
            self._env.store.release(self._env.job_id, sorted(outgrown))

    def _count(self, phase: int, result: tasks.TaskResult) -> tasks.TaskResult:
        self._add(result.counters)
        self._tasks += 1
        self._done[phase] += 1
        self._tell("mapping" if phase == 0 else "reducing")
        return result

    def _add(self, counters: dict[str, int]) -> None:
        for name, n in counters.items():
            self._counters[name] = self._counters.get(name, 0) + n

    def _report(self, done: float, total: float, note: str) -> None:
        self._tell("mapping", note, done / total if total else 0.0)

    def _tell(self, state: str, note: str = "", progress: float = 0.0) -> None:
        number, name, maps, reduces, (begin, end) = self._stage
        share = min(1.0, (sum(self._done) + progress) / ((maps + reduces) or 1))
        elapsed = time.time() - self._started
        self._on_update(
            Update(
                1, type(self._env.job).name, state, number, name, maps, self._done[0], reduces, self._done[1],
                1, 0, dict(self._counters), self._started, elapsed, note=note, progress=share,
                whole=begin + share * (end - begin),
            )
        )  # fmt: skip


def _segments(stage: int, partition: int, maps: list[tasks.TaskResult]) -> list[tasks.Segment]:
    """The non-empty segments of one partition, in map order."""
    segments = []
    for index, output in enumerate(maps):
        if output.sizes and output.sizes[partition]:
            ref = Ref(output.hash, output.size, "", stage, tasks.MAP)
            segments.append((index, ref, sum(output.sizes[:partition]), output.sizes[partition]))
    return segments
