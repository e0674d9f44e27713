"""Attempts and their numbers: what must not count."""

from __future__ import annotations

from typing import Any

from mapreduce.scheduler import dispatch, journal, losses, progress, replay
from mapreduce.scheduler.jobs import Job
from mapreduce.scheduler.state import State
from mapreduce.scheduler.workers import Worker

from .planting import bug, swap


@bug
def fence_dropped() -> Any:
    """A result counts whatever attempt it is of, if somebody runs the task."""

    def make(done: Any) -> Any:
        def wrapped(s: State, worker: Worker, event: Any) -> None:
            phase = s.phase(event.job, event.stage, event.kind)
            if phase is not None:
                for index, attempt, _ in event.done:
                    for other in s.fleet:
                        if other is not worker and index in other.held.get(phase, ()) and index not in phase.backups:
                            other.drop(phase, index)
                            s.fleet.weigh(other)
                            batch = dispatch.Batch(s.now, 0.0, attempt)
                            worker.hold(phase, [index], batch)
            done(s, worker, event)

        return wrapped

    return swap(progress, "tasks_done", make)


@bug
def fence_ignores_the_number() -> Any:
    """A worker's own older attempt counts for its newer one."""

    def make(done: Any) -> Any:
        def wrapped(s: State, worker: Worker, event: Any) -> None:
            phase = s.phase(event.job, event.stage, event.kind)
            held = worker.held.get(phase, {}) if phase is not None else {}
            told = tuple((i, worker.attempt(phase, i) if i in held else a, o) for i, a, o in event.done)  # type: ignore[arg-type]
            done(s, worker, type(event)(event.worker, event.job, event.stage, event.kind, told, event.counters))

        return wrapped

    return swap(progress, "tasks_done", make)


@bug
def plan_not_fenced() -> Any:
    """PLAN and FINISH results count from whoever holds the task, whatever the attempt."""

    def make(fenced: Any) -> Any:
        def wrapped(s: State, worker: Worker, where: Any, index: int, attempt: int) -> Any:
            phase = s.phase(*where)
            if phase is not None and index in worker.held.get(phase, ()):
                attempt = worker.attempt(phase, index)
            return fenced(s, worker, where, index, attempt)

        return wrapped

    return swap(progress, "fenced", make)


@bug
def restart_keeps_the_fence() -> Any:
    """Attempts after a restart are numbered as before it."""

    def make(original: Any) -> Any:
        def wrapped(s: State, records: Any, now: float) -> None:
            records = list(records)
            lowered = [journal.Mark(r.fence - 1, r.next_job) if isinstance(r, journal.Mark) else r for r in records]
            original(s, [type(r)(r.job, 0, r.rewinds) if isinstance(r, journal.Rewound) else r for r in lowered], now)

        return wrapped

    return swap(replay, "replay", make)


@bug
def rewind_keeps_the_fence() -> Any:
    """Attempts after a rewind are numbered as before it."""

    def make(original: Any) -> Any:
        def wrapped(self: Job, fence: int, why: str) -> None:
            original(self, self.fence, why)

        return wrapped

    return swap(Job, "rewind", make)


@bug
def control_numbers_start_again() -> Any:
    """A PLAN task that is made anew gets the numbers of the old one."""

    def make(original: Any) -> Any:
        def wrapped(self: Job) -> None:
            original(self)
            self.last_control = {}

        return wrapped

    return swap(Job, "_drop_control", make)


@bug
def adopts_anything() -> Any:
    """A worker that comes back keeps attempts from before a rewind."""

    def make(original: Any) -> Any:
        def wrapped(s: State, worker: Worker, task: Any, attempt: int) -> bool:
            phase = s.phase(task.job, task.stage, task.kind)
            if phase is None:
                return bool(original(s, worker, task, attempt))
            since, phase.since = phase.since, 0
            attempts = phase.attempts[task.index] if 0 <= task.index < phase.count else 0
            try:
                if 0 <= task.index < phase.count and phase.states[task.index] == 1:
                    phase.attempts[task.index] = 0
                return bool(original(s, worker, task, attempt))
            finally:
                phase.since = since
                if 0 <= task.index < phase.count and not phase.attempts[task.index]:
                    phase.attempts[task.index] = attempts

        return wrapped

    return swap(losses, "adopt", make)


@bug
def failures_count_twice() -> Any:
    """A failure told again after a lost connection is charged again."""

    def make(original: Any) -> Any:
        def wrapped(s: State, worker: Worker, task: Any, attempt: int) -> bool:
            phase = s.phase(task.job, task.stage, task.kind)
            charge = phase.charges.get(task.index) if phase is not None else None
            if charge is not None:
                charge.last = 0
            return bool(original(s, worker, task, attempt))

        return wrapped

    return swap(losses, "adopt", make)
