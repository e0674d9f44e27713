"""A scheduler restored from its journal stands where the old one stood."""

import pytest

from mapreduce.scheduler import events as ev
from mapreduce.scheduler import journal
from mapreduce.scheduler.core import Scheduler
from mapreduce.scheduler.model import StagePlan

from .desk import REDUCE, Desk, last, mapping


def same(old, new):
    a, b = old.scheduler.snapshot(1), new.scheduler.snapshot(1)
    fields = (
        "spec",
        "state",
        "stage",
        "maps_done",
        "reduces_done",
        "counters",
        "submitted",
        "value",
        "error",
        "outputs",
    )
    return all(getattr(a, field) == getattr(b, field) for field in fields)


def test_at_every_point_of_a_jobs_life():
    """Each event is followed by a restart that must see the same job."""
    desk = Desk()
    desk.join("w", "n", slots=2)
    desk.submit(token="t")
    steps = [
        lambda: desk.planned(StagePlan("s", 3, 2, b"setup")),
        lambda: desk.done(n=2, sizes=(4, 2), counters=({"n": 1}, {"n": 2})),
        lambda: desk.fail(),
        lambda: desk.done(sizes=(4, 2)),
        lambda: desk.done(kind=REDUCE, n=2, sizes=(3,)),
        lambda: desk.planned(StagePlan("s", 1, 1, b"", inputs=desk.scheduler.previous(1, 1).outputs)),
        lambda: desk.done(sizes=(9,)),
        lambda: desk.done(kind=REDUCE, sizes=(9,)),
        lambda: desk.planned(last()),
        lambda: desk.finish(),
    ]
    for step in steps:
        assert same(desk, desk.restart())
        step()
    assert desk.state() == "done" and same(desk, desk.restart())


def test_failures_are_remembered():
    desk = mapping(1)
    desk.fail("w")
    desk.fail("w")
    desk = desk.restart()
    desk.join("w", "n")
    desk.fail("w")
    assert desk.state() == "failed"


def test_tokens_are_remembered():
    desk = Desk()
    desk.submit(token="t")
    assert desk.restart().submit(token="t") == 1


def test_numbers_go_on_above_all_before():
    desk = mapping(1)
    attempt = desk.held["w"][0][1]
    for _ in range(3):
        desk = desk.restart()
        desk.join("w", "n")
        assert desk.held["w"][0][1] > attempt
        attempt = desk.held["w"][0][1]


def test_nothing_is_emitted_and_the_first_event_marks_the_fence():
    desk = mapping(1).restart()
    assert desk.actions == []
    desk.tick()
    assert desk.persisted(journal.Mark) == [journal.Mark(1, 2)]
    desk.tick()
    assert not desk.persisted(journal.Mark)


def test_outputs_of_nodes_that_do_not_come_back_are_lost():
    desk = mapping(2, node_grace=10.0)
    desk.done(sizes=(5,))
    desk = desk.restart()
    desk.join("v", "m")
    desk.tick(after=9.0)
    assert desk.scheduler.snapshot(1).maps_done == 1
    desk.tick(after=1.5)
    assert desk.scheduler.snapshot(1).maps_done == 0


def test_outputs_of_nodes_that_do_are_not():
    desk = mapping(2, node_grace=10.0)
    desk.done(sizes=(5,))
    desk = desk.restart()
    desk.join("w2", "n")
    desk.tick(after=20.0)
    assert desk.scheduler.snapshot(1).maps_done == 1


def test_restore_comes_first():
    desk = mapping(1)
    with pytest.raises(RuntimeError, match="restore comes first"):
        desk.scheduler.restore([], 0.0)


def test_a_journal_with_a_hole_is_refused():
    scheduler = Scheduler()
    with pytest.raises(ValueError, match="never admitted; the store is damaged"):
        scheduler.restore([journal.Done(1, 0, 1, "n", (0,))], 0.0)
    desk = mapping(1)
    without = [record for record in desk.records if not isinstance(record, journal.Planned)]
    with pytest.raises(ValueError, match="is not at that stage"):
        Scheduler().restore([*without, journal.Done(1, 0, 1, "n", (0,))], 0.0)


def test_forgotten_jobs_stay_forgotten():
    desk = Desk(keep_ended=0)
    desk.do(ev.CancelRequested(desk.submit(token="t")))
    desk = desk.restart()
    assert desk.scheduler.jobs() == () and desk.submit(token="t") == 2
