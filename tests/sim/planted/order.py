"""Reduces that read too little, too early or in another order, and counters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from mapreduce.scheduler import progress
from mapreduce.scheduler.jobs import Stage
from mapreduce.scheduler.model import Kind
from mapreduce.scheduler.phase import Phase
from mapreduce.scheduler.state import State

from .planting import bug, swap


@bug
def reduce_unordered() -> Any:
    """A reduce gets its segments in the order in which the maps were done, not by number."""

    def make(original: Any) -> Any:
        def wrapped(self: Stage, partition: int) -> Iterator[Any]:
            yield from sorted(original(self, partition), key=lambda segment: segment[1].blob.hash)

        return wrapped

    return swap(Stage, "segments", make)


@bug
def reduce_misses_the_last_map() -> Any:
    """Off by one."""

    def make(original: Any) -> Any:
        def wrapped(self: Stage, partition: int) -> Iterator[Any]:
            yield from (segment for segment in original(self, partition) if segment[0] < self.maps.count - 1)

        return wrapped

    return swap(Stage, "segments", make)


@bug
def offsets_outlive_their_output() -> Any:
    """Every segment is read from the start of the map's output."""

    def make(original: Any) -> Any:
        def wrapped(self: Stage, partition: int) -> Iterator[Any]:
            yield from ((number, output, 0, size) for number, output, _, size in original(self, partition))

        return wrapped

    return swap(Stage, "segments", make)


@bug
def reduces_start_early() -> Any:
    """The last map is not waited for."""
    return patch.object(
        Phase, "complete", property(lambda self: self.done >= self.count - (self.kind == Kind.MAP and self.count > 1))
    )


@bug
def counters_of_redone_tasks_count_again() -> Any:
    """Counters of a map that runs again are added again."""

    def make(original: Any) -> Any:
        def wrapped(self: Phase, index: int) -> None:
            original(self, index)
            self.redone.pop(index, None)

        return wrapped

    return swap(Phase, "lose", make)


@bug
def counters_of_all_attempts() -> Any:
    """Late results bring their counters."""

    def make(original: Any) -> Any:
        def wrapped(s: State, phase: Phase, index: int, output: Any) -> None:
            original(s, phase, index, output)
            job = s.jobs[phase.job]
            if job.stage is not None and phase.kind is Kind.MAP:
                job.stage.counters["records"] = job.stage.counters.get("records", 0) + 1

        return wrapped

    return swap(progress, "late", make)
