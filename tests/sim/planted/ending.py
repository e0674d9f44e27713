"""What has to end with its job, and what may not yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from mapreduce.scheduler import losses
from mapreduce.scheduler.jobs import Job
from mapreduce.scheduler.model import Kind
from mapreduce.scheduler.phase import Phase
from mapreduce.scheduler.state import State
from mapreduce.scheduler.workers import Worker

from .planting import bug, swap


@bug
def cancel_does_not_abort() -> Any:
    """The running attempts of a job that ends go on."""

    def make(original: Any) -> Any:
        def wrapped(self: State, phase: Phase) -> None:
            before = len(self.out)
            original(self, phase)
            del self.out[before:]

        return wrapped

    @contextmanager
    def both() -> Iterator[None]:
        def deaf(heartbeat: Any) -> Any:
            def wrapped(s: State, worker: Worker, event: Any) -> None:
                before = len(s.out)
                heartbeat(s, worker, event)
                s.out[before:] = [action for action in s.out[before:] if type(action).__name__ != "Abort"]

            return wrapped

        with swap(State, "stop", make), swap(losses, "heartbeat", deaf):
            yield

    return both()


@bug
def rivals_run_on() -> Any:
    """The loser of two attempts keeps its place."""

    def make(original: Any) -> Any:
        def wrapped(self: State, phase: Phase, index: int) -> None:
            phase.backups.pop(index)

        return wrapped

    return swap(State, "drop_rival", make)


@bug
def released_too_early() -> Any:
    """The last stage's outputs are deleted before FINISH has read them."""

    def make(original: Any) -> Any:
        def wrapped(self: Job) -> Any:
            gone = original(self)
            return (
                (*gone, (self.stage.number, Kind.REDUCE)) if self.ahead is not None and self.stage is not None else gone
            )

        return wrapped

    return swap(Job, "outgrown", make)


@bug
def shared_state_released() -> Any:
    """What the new stage reads of the old one is deleted."""

    def make(original: Any) -> Any:
        def wrapped(self: Job) -> Any:
            plan = self.stage.plan if self.stage is not None else None
            inputs = {(o.stage, o.kind) for o in plan.inputs if o.blob is not None} if plan is not None else set()
            return (*original(self), *inputs)

        return wrapped

    return swap(Job, "outgrown", make)


@bug
def never_released() -> Any:
    """Outputs that nobody needs stay."""
    return patch.object(Job, "outgrown", lambda self: ())
