"""Splits that are set aside: how many, when, and what remains of them."""

from __future__ import annotations

from mapreduce.scheduler import events as ev
from mapreduce.scheduler.model import JobSpec, Limits, StagePlan, TaskError

from .desk import MAP, OOPS, REDUCE, Desk, last

ALLOWED = 2


def desk(maps: int = 4, skip_bad: int = ALLOWED, slots: int = 1) -> Desk:
    """A desk whose job fails a task at its first failure, and is mapping."""
    made = Desk()
    made.join("w", "n", slots)
    made.do(ev.Submitted(b"client", "", JobSpec(0, "x", b"", limits=Limits(1, skip_bad=skip_bad))))
    made.planned(StagePlan("s", maps, 1, b"setup"))
    return made


def skipped(made: Desk) -> list[tuple[int, int]]:
    return [(skip.stage, skip.index) for skip in made.scheduler.snapshot(1).skipped]


def test_the_job_goes_on_without_a_bad_split():
    made = desk()
    made.done(sizes=(3,))
    made.fail()
    assert (made.state(), skipped(made)) == ("mapping", [(0, 1)])
    assert [action.task.index for action in made.all(ev.SetAside)] == [1]
    made.done(n=1, sizes=(3,))
    made.done(n=1, sizes=(3,))
    assert made.state() == "reducing"
    assert [index for index, *_ in made.scheduler.reduce_inputs(1, 0, 0)] == [0, 2, 3]
    made.done(kind=REDUCE, sizes=(1,))
    made.planned(last())
    made.finish()
    view = made.scheduler.snapshot(1)
    assert (view.state, skipped(made)) == ("done", [(0, 1)])
    assert view.skipped[0].error.message == OOPS.message
    assert any("set aside in stage 0" in line for line in made.scheduler.explain(1, made.now))


def test_one_more_than_allowed_fails_the_job_and_says_how_many_went_before():
    made = desk()
    made.fail()
    made.fail()
    assert made.state() == "mapping"
    made.fail()
    view = made.scheduler.snapshot(1)
    assert view.state == "failed"
    assert view.error is not None and "2 splits had been set aside before, 2 may be" in view.error.message
    assert skipped(made) == [(0, 0), (0, 1)]


def test_a_job_that_allows_none_fails_with_its_own_error():
    made = desk(skip_bad=0)
    made.fail()
    view = made.scheduler.snapshot(1)
    assert view.error is not None and (view.state, view.error.message) == ("failed", OOPS.message)


def test_all_splits_may_be_bad():
    made = desk(maps=2)
    made.fail()
    made.fail()
    assert made.state() == "reducing"
    assert made.scheduler.reduce_inputs(1, 0, 0) == ()


def test_a_split_is_set_aside_only_after_all_its_attempts():
    made = Desk()
    made.join("w", "n")
    made.do(ev.Submitted(b"client", "", JobSpec(0, "x", b"", limits=Limits(3, skip_bad=1))))
    made.planned(StagePlan("s", 1, 1, b"setup"))
    for _ in range(2):
        made.fail()
        assert skipped(made) == []
    made.fail()
    assert skipped(made) == [(0, 0)]


def test_reduces_are_never_set_aside():
    made = desk(maps=1)
    made.done(sizes=(3,))
    made.fail(kind=REDUCE)
    assert made.state() == "failed"


def test_the_backup_attempt_of_a_bad_split_is_called_back():
    made = desk(maps=4)
    for _ in range(3):
        made.done(sizes=(3,), after=0.1)
    made.join("v", "m")
    for _ in range(10):
        made.beat("w", 0.5)
        made.beat("v", 0.5)
        made.tick()
    assert len(made.held["v"]) == 1, "the straggler has a backup"
    backup = made.held["v"][0]
    made.fail("w")
    assert skipped(made) == [(0, 3)]
    assert [action.worker for action in made.all(ev.Abort)] == ["v"]
    made.do(ev.TasksDone("v", 1, 0, int(MAP), ((3, backup[1], made.scheduler.state.jobs[1].stage.maps.outputs[0]),)))
    assert not made.all(ev.Diverged), "what a late attempt of it brings is no contradiction"
    assert made.state() == "reducing"


def test_a_restart_remembers_what_was_set_aside():
    made = desk()
    made.fail()
    again = made.restart()
    assert skipped(again) == [(0, 0)]
    made.fail()
    made.done(sizes=(3,))
    made.done(sizes=(3,))
    made.done(kind=REDUCE, sizes=(1,))
    made.planned(StagePlan("second", 1, 1, b"setup"))
    again = made.restart()
    assert skipped(again) == [(0, 0), (0, 1)]
    assert again.scheduler.snapshot(1).maps_done == 0
    made.fail()
    assert made.state() == "failed", "the bound is the job's, not the stage's"
    assert skipped(made.restart()) == [(0, 0), (0, 1)]


def test_what_is_kept_of_an_error_is_short():
    made = desk()
    made.fail(error=TaskError("exception", "E", "m" * 9_000, "t" * 99_000, log="l" * 99_000, input="i" * 9_000))
    error = made.scheduler.snapshot(1).skipped[0].error
    assert sum(map(len, (error.message, error.traceback, error.log, error.input))) <= 8_000
