"""What is kept of ended jobs: by number, age and bytes; over restarts; and what a worker that comes back must keep."""

from __future__ import annotations

from typing import Any

from mapreduce.scheduler import events as ev
from mapreduce.scheduler.model import StagePlan
from mapreduce.scheduler.queries import NO_STAGE

from .desk import MAP, PLAN, REDUCE, Desk, last


def whole(desk: Desk, size: int = 10) -> int:
    """A job from submission to end, whose one output has `size` bytes; returns its number."""
    job = desk.submit()
    desk.planned(StagePlan("s", 1, 1, b"setup"))
    desk.done(sizes=(3,))
    desk.done(kind=REDUCE, sizes=(size,))
    desk.planned(last())
    desk.finish(value=b"v")
    return job


def desk(**settings: Any) -> Desk:
    made = Desk(**settings)
    made.join("w", "n")
    return made


def remembered(made: Desk) -> list[int]:
    return [view.job for view in made.scheduler.jobs()]


def beat_for(made: Desk, seconds: float) -> None:
    for _ in range(int(seconds)):
        made.beat("w", 1.0)
        made.tick()


def test_jobs_are_kept_for_so_long_after_their_end():
    made = desk(keep_for=60.0)
    whole(made)
    beat_for(made, 40)
    whole(made)
    beat_for(made, 19)
    assert remembered(made) == [1, 2]
    beat_for(made, 2)
    assert remembered(made) == [2]
    beat_for(made, 40)
    assert remembered(made) == []


def test_after_a_restart_the_time_of_day_tells_how_old_they_are():
    made = desk(keep_for=60.0)
    whole(made)  # submitted at 0 by the wall clock, and over at once
    again = made.restart()
    again.scheduler.state.settings = made.scheduler.settings
    assert remembered(again) == [1]
    again.do(ev.Tick(50.0))
    assert remembered(again) == [1]
    again.do(ev.Tick(50.0), 9.0)
    assert remembered(again) == [1]
    again.do(ev.Tick(1e9), 0.5)
    assert remembered(again) == [1], "a clock that jumps later does nothing"
    again.do(ev.Tick(), 1.0)
    assert remembered(again) == []


def test_a_time_of_day_before_the_end_makes_no_job_younger_than_new():
    made = desk(keep_for=60.0)
    whole(made)
    again = made.restart()
    again.scheduler.state.jobs[1].at = 1e9
    again.do(ev.Tick(5.0))
    assert again.scheduler.state.jobs[1].ended_at == again.scheduler.state.now


def test_the_oldest_go_when_there_are_too_many_bytes_and_the_newest_stays():
    made = desk(keep_bytes=30)
    for size in (10, 10, 5):
        whole(made, size)
    assert remembered(made) == [1, 2, 3]
    whole(made, 10)
    assert remembered(made) == [2, 3, 4]
    whole(made, 1_000)
    assert remembered(made) == [5], "who asked for it has not seen it yet"


def test_an_ended_job_is_forgotten_when_somebody_asks_and_a_live_one_is_not():
    made = desk()
    whole(made)
    live = made.submit()
    made.do(ev.ForgetRequested(live))
    made.do(ev.ForgetRequested(77))
    assert remembered(made) == [1, live]
    actions = made.do(ev.ForgetRequested(1))
    assert ev.Release(1) in actions and remembered(made) == [live]
    assert remembered(made.restart()) == [live]


def test_what_a_worker_that_joins_must_keep():
    made = desk()
    assert made.all(ev.Keep) == [ev.Keep("w")]
    whole(made)
    running = made.submit()
    made.planned(StagePlan("s", 1, 1, b"setup"))
    below, jobs = made.scheduler.living()
    assert below == running + 1
    living = {job: (stage, set(units)) for job, stage, units in jobs}
    assert living == {1: (NO_STAGE, {(0, REDUCE)}), 2: (0, {(0, PLAN), (0, MAP), (0, REDUCE)})}
    made.done(sizes=(3,))
    made.done(kind=REDUCE, sizes=(3,))
    _, jobs = made.scheduler.living()
    assert jobs[1][1] == 0, "while stage 1 is planned, what stage 0 left is read"
