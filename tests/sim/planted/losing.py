"""What is lost and has to be noticed, charged and made again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from mapreduce.scheduler import losses
from mapreduce.scheduler.model import Kind
from mapreduce.scheduler.phase import Phase
from mapreduce.scheduler.state import State
from mapreduce.scheduler.workers import Worker

from .planting import bug, nothing, swap


@bug
def lost_maps_not_run_again() -> Any:
    """Map outputs that are gone with their node are believed to be there."""

    def make(original: Any) -> Any:
        def wrapped(self: Phase, node: str) -> list[int]:
            return [] if self.kind is Kind.MAP else list(original(self, node))

        return wrapped

    return swap(Phase, "held_at", make)


@bug
def lost_reduces_not_run_again() -> Any:
    """Reduce outputs that are gone with their node are believed to be there."""

    def make(original: Any) -> Any:
        def wrapped(self: Phase, node: str) -> list[int]:
            return [] if self.kind is Kind.REDUCE else list(original(self, node))

        return wrapped

    return swap(Phase, "held_at", make)


@bug
def lost_inputs_do_not_rewind() -> Any:
    """A job whose shared state is gone goes on."""
    return patch.object(losses, "needs_rewind", lambda s, job, node: False)


@bug
def nodes_are_never_given_up() -> Any:
    """The grace of a node never ends, and reports about it change nothing."""

    @contextmanager
    def both() -> Iterator[None]:
        with patch.object(losses, "node_lost", nothing), patch.object(losses, "lose_outputs", nothing):
            yield

    return both()


@bug
def leases_never_end() -> Any:
    """Silent workers keep their tasks."""
    return patch.object(losses, "expel", lambda s, worker: s.fleet.heard(worker, s.now))


@bug
def lost_assignments_go_unnoticed() -> Any:
    """Heartbeats that do not name a task change nothing."""

    def make(original: Any) -> Any:
        def wrapped(s: State, worker: Worker, event: Any) -> None:
            original(s, worker, event)
            worker.missing = set()

        return wrapped

    return swap(losses, "heartbeat", make)


@bug
def attempts_of_the_dead_are_not_requeued() -> Any:
    """A worker that is gone takes its tasks along."""
    return patch.object(losses, "lose_attempts", nothing)


@bug
def requeued_tasks_are_not_found() -> Any:
    """A task that came back behind the cursor is forgotten."""

    def make(original: Any) -> Any:
        def wrapped(self: Phase, index: int) -> None:
            original(self, index)
            self.requeued = [i for i in self.requeued if i != index]

        return wrapped

    return swap(Phase, "give_back", make)


@bug
def failures_are_free() -> Any:
    """A task may fail for ever."""

    def make(original: Any) -> Any:
        def wrapped(s: State, worker: Worker, event: Any) -> None:
            phase = s.phase(*event.task[:3])
            if phase is not None:
                phase.charges.pop(event.task.index, None)
            original(s, worker, event)

        return wrapped

    return swap(losses, "failed", make)


@bug
def losses_are_free() -> Any:
    """A task may take workers along for ever."""

    def make(original: Any) -> Any:
        def wrapped(s: State, worker: Worker, attempts: Any, reason: str) -> None:
            for phase, index in attempts:
                phase.charge(index).losses = -1
            original(s, worker, attempts, reason)

        return wrapped

    return swap(losses, "lose_attempts", make)
