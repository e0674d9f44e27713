"""Straight answers."""

import pytest

from mapreduce.scheduler import events as ev
from mapreduce.scheduler.model import StagePlan, TaskError

from .desk import REDUCE, Desk, last, mapping


def told(desk, job=1):
    return " | ".join(desk.scheduler.explain(job, desk.now))


def test_no_worker():
    desk = Desk()
    desk.submit()
    assert "1 plan task ready, but no worker is connected: start one with daf-worker" in told(desk)


def test_no_worker_of_the_type():
    desk = Desk()
    desk.join("w", a="1")
    desk.join("v", b="1")
    desk.submit("x")
    assert "waiting for a worker that knows job type x; none of the 2 connected does" in told(desk)


def test_no_worker_of_the_version():
    desk = Desk()
    desk.join("w", x="1")
    desk.submit("x", version="2")
    assert "waiting for a worker with version 2 of job type x; those connected have 1" in told(desk)


def test_all_draining():
    desk = Desk()
    desk.join("w")
    desk.do(ev.WorkerDraining("w"))
    desk.submit()
    assert "all workers that know job type x are draining" in told(desk)


@pytest.mark.parametrize(
    ("mine", "other", "relation"), [(0, 5, "higher priority"), (0, 0, "the same priority"), (5, 0, "lower priority")]
)
def test_slots_are_busy_with_another_job(mine, other, relation):
    desk = Desk()
    desk.join("w", slots=4)
    desk.submit(priority=other)
    desk.planned(StagePlan("s", 50, 0, b""), after=1.0)
    desk.submit(priority=mine)
    assert f"waiting for a slot: all 4 slots busy with job 1 of {relation}" in told(desk, 2)


def test_slots_are_busy_with_this_job():
    desk = mapping(50, slots=2)
    assert "all 2 slots busy with this job" in told(desk)


def test_reduce_waits_for_maps_and_the_oldest_is_named():
    desk = mapping(200, slots=3)
    for _ in range(99):
        desk.done(n=2, after=1.0)
    desk.now += 40.0
    lines = told(desk)
    assert "reduce waits for 2 of 200 maps" in lines
    assert "2 map tasks with workers; oldest: map 198, 41 s on worker w, attempt 1" in lines


def test_where_it_is():
    desk = mapping(3, slots=2)
    desk.done()
    assert told(desk).startswith("job 1 (x) is mapping, stage 0 (s): 1 of 3 map tasks done, 2 running")


def test_a_failed_task_waits_for_another_worker():
    desk = mapping(2, slots=2)
    desk.join("v", slots=1)
    assert not desk.held.get("v")
    desk.submit()
    desk.fail("w")
    desk.do(ev.WorkerLeft("v"))
    assert "map 0 failed 1 of 3 times" in told(desk)


def test_ends():
    desk = mapping(0, 0)
    desk.planned(last())
    desk.finish()
    assert told(desk) == "job 1 (x) is done"
    desk = mapping(1)
    for _ in range(3):
        desk.fail("w", error=TaskError("exception", "KeyError", "'colour'"))
    assert told(desk) == "job 1 (x) failed: KeyError: 'colour'"
    desk = mapping(1)
    desk.do(ev.CancelRequested(1, "too slow"))
    assert told(desk) == "job 1 (x) is cancelled: too slow"


def test_every_state_has_an_answer():
    desk = mapping(1)
    for step in (
        lambda: desk.done(sizes=(3,)),
        lambda: desk.done(kind=REDUCE),
        lambda: desk.planned(last()),
        lambda: desk.finish(),
    ):
        assert desk.scheduler.explain(1, desk.now)
        step()
