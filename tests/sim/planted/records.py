"""What a restart has to know."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from mapreduce.scheduler import journal, progress
from mapreduce.scheduler.state import State

from .planting import bug, nothing, swap, without


@bug
def results_not_committed() -> Any:
    """Done is not persisted."""
    return without(journal.Done)


@bug
def plans_not_committed() -> Any:
    """Planned is not persisted."""
    return without(journal.Planned)


@bug
def losses_not_committed() -> Any:
    """Lost is not persisted: after a restart the job believes in outputs that are gone."""
    return without(journal.Lost)


@bug
def rewinds_not_committed() -> Any:
    """Rewound is not persisted."""
    return without(journal.Rewound)


@bug
def charges_not_committed() -> Any:
    """Failures are forgotten by a restart."""
    return without(journal.Charged)


@bug
def ends_not_committed() -> Any:
    """A job that ended starts again after a restart."""
    return without(journal.Ended)


@bug
def mark_not_committed() -> Any:
    """The fence is not persisted."""
    return without(journal.Mark)


@bug
def kept_results_not_committed_again() -> Any:
    """What the first stage had done survives the loss of its splits, but not a restart after it."""
    return patch.object(progress, "commit_again", nothing)


@bug
def kept_outputs_believed() -> Any:
    """A first stage that is planned again counts on outputs that were lost in the meantime."""
    return patch.object(progress, "drop_lost", nothing)


@bug
def tokens_forgotten() -> Any:
    """A submission that is repeated makes another job."""

    def make(original: Any) -> Any:
        def wrapped(s: State, event: Any) -> None:
            s.tokens.clear()
            original(s, event)

        return wrapped

    return swap(progress, "submit", make)


@bug
def trimmed_too_much() -> Any:
    """The last plan trims the stage that FINISH still reads."""

    def make(persist: Any) -> Any:
        def wrapped(self: State, record: Any) -> None:
            if isinstance(record, journal.Planned) and record.plan.last:
                persist(self, journal.Trimmed(record.job))
            persist(self, record)

        return wrapped

    return swap(State, "persist", make)
