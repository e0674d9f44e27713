"""Splits that are set aside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mapreduce.scheduler import journal, losses, progress
from mapreduce.scheduler.jobs import Job
from mapreduce.scheduler.model import Kind
from mapreduce.scheduler.phase import Phase
from mapreduce.scheduler.state import State
from mapreduce.scheduler.workers import Worker

from .planting import bug, swap, without


@bug
def skips_are_not_journaled() -> Any:
    """A split that was set aside is forgotten by a restart."""
    return without(journal.Skipped)


@bug
def skips_of_earlier_stages_are_trimmed() -> Any:
    """What was set aside goes with the journal of its stage."""

    def make(original: Any) -> Any:
        return lambda s, job, skips: original(s, job, [])

    return swap(progress, "trim", make)


@bug
def skips_without_bound() -> Any:
    """As many splits are set aside as fail."""

    def make(original: Any) -> Any:
        def wrapped(s: State, job: Job, phase: Phase, index: int, error: Any) -> None:
            before, job.spec = job.spec, replace(job.spec, limits=replace(job.spec.limits, skip_bad=99))
            original(s, job, phase, index, error)
            job.spec = before

        return wrapped

    return swap(losses, "give_up", make)


@bug
def skips_are_counted_by_stage() -> Any:
    """Each stage may set aside as many splits as the job may in all."""

    def make(original: Any) -> Any:
        def wrapped(s: State, job: Job, phase: Phase, index: int, error: Any) -> None:
            before, job.set_aside = job.set_aside, []
            original(s, job, phase, index, error)
            job.set_aside = before

        return wrapped

    return swap(losses, "give_up", make)


@bug
def skips_at_the_first_failure() -> Any:
    """A split is set aside although its task might still work."""

    def make(original: Any) -> Any:
        def wrapped(s: State, worker: Worker, event: Any) -> None:
            phase = progress.fenced(s, worker, event.task[:3], event.task.index, event.attempt)
            if phase is not None and phase.kind is Kind.MAP and s.jobs[phase.job].spec.limits.skip_bad:
                phase.charge(event.task.index).failures = 5
            original(s, worker, event)

        return wrapped

    return swap(losses, "failed", make)


@bug
def a_rewind_keeps_the_skips() -> Any:
    """A job that starts over still lists what it set aside in its last run."""

    def make(original: Any) -> Any:
        def wrapped(self: Job, fence: int, why: str) -> None:
            before = list(self.skipped())
            original(self, fence, why)
            self.set_aside = before

        return wrapped

    return swap(Job, "rewind", make)
