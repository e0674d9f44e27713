"""What nodes keep, and what whoever comes back is told."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from mapreduce.scheduler.queries import Queries

from .planting import bug, swap


@bug
def who_comes_back_keeps_all() -> Any:
    """A worker that was away while something was released is never told."""
    return patch.object(Queries, "living", lambda self: (0, ()))


@bug
def who_comes_back_keeps_nothing_of_ended_jobs() -> Any:
    """Outputs of a job that ended while its worker was away are deleted when it is back."""

    def make(original: Any) -> Any:
        def wrapped(self: Queries) -> Any:
            below, jobs = original(self)
            return below, tuple(job for job in jobs if not self.state.jobs[job[0]].ended)

        return wrapped

    return swap(Queries, "living", make)


@bug
def who_comes_back_keeps_less_than_its_jobs_need() -> Any:
    """What a job's earlier stages left, and its stage at hand reads, is deleted on a node that comes back."""

    def make(original: Any) -> Any:
        def wrapped(self: Queries) -> Any:
            below, jobs = original(self)
            return below, tuple((job, stage, ()) for job, stage, _ in jobs)

        return wrapped

    return swap(Queries, "living", make)
