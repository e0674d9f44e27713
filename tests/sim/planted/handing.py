"""Which worker gets which task."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from mapreduce.scheduler import dispatch, losses
from mapreduce.scheduler.jobs import Job
from mapreduce.scheduler.model import JobState
from mapreduce.scheduler.phase import Phase
from mapreduce.scheduler.policy import Policy
from mapreduce.scheduler.table import TaskEvent
from mapreduce.scheduler.workers import Fleet, Worker

from .planting import bug, nothing, swap


@bug
def any_worker_will_do() -> Any:
    """Job types are not looked at."""

    def make(original: Any) -> Any:
        def wrapped(self: Policy, worker: Worker, skip: Any = frozenset()) -> Any:
            worker.keys = list(self.heaps)
            return original(self, worker, skip)

        return wrapped

    return swap(Policy, "best", make)


@bug
def low_priority_first() -> Any:
    """Upside down."""
    entry = Policy._entry
    return patch.object(Policy, "_entry", staticmethod(lambda job: (job.spec.priority, *entry(job)[1:])))


@bug
def draining_workers_get_more() -> Any:
    """Draining is heard and forgotten."""
    return patch.object(Fleet, "drain", nothing)


@bug
def credit_without_end() -> Any:
    """A worker is sent all there is."""
    return patch.object(dispatch, "room", lambda s, worker, phase: phase.ready)


@bug
def freed_slots_stay_empty() -> Any:
    """Work that becomes ready waits for the next result."""
    return patch.object(dispatch, "offer", lambda s: setattr(s, "fresh", False))


@bug
def closed_phases_hand_out() -> Any:
    """Tasks of a closed phase go back as ready."""

    def make(original: Any) -> Any:
        def wrapped(self: Phase, index: int) -> None:
            closed = not self.is_open
            original(self, index)
            if closed:
                self.move(index, TaskEvent.OPENED)

        return wrapped

    return swap(Phase, "give_back", make)


@bug
def settles_for_less() -> Any:
    """A job whose reduce outputs were lost while planning does not go back."""

    def make(original: Any) -> Any:
        def wrapped(self: Job) -> None:
            if self.state not in (JobState.PLANNING, JobState.FINISHING):
                original(self)

        return wrapped

    return swap(Job, "settle", make)


@bug
def wrong_bytes_are_believed() -> Any:
    """A node that holds wrong bytes keeps what it has: its outputs are read again and again."""
    original = losses.input_lost
    return patch.object(
        losses, "input_lost", lambda s, job, nodes, since, wrong=False: wrong or original(s, job, nodes, since)
    )


@bug
def those_set_aside_get_more() -> Any:
    """A node whose bytes were wrong is set aside, and given work all the same."""
    return patch.object(Worker, "resting", property(lambda self: self.draining))
