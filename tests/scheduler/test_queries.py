"""What the coordinator asks."""

import pytest

from mapreduce.scheduler import events as ev
from mapreduce.scheduler.model import StagePlan
from mapreduce.scheduler.queries import Previous, UnknownJob

from .desk import REDUCE, Desk, last, mapping


def test_unknown_jobs_and_stages_are_named():
    desk = mapping(1)
    with pytest.raises(UnknownJob, match="there is no job 7"):
        desk.scheduler.spec(7)
    with pytest.raises(UnknownJob, match="job 1 has no plan of stage 3 at hand; it is at stage 0"):
        desk.scheduler.stage(1, 3)
    with pytest.raises(UnknownJob, match="job 1 is not at stage 2"):
        desk.scheduler.reduce_inputs(1, 2, 0)
    with pytest.raises(UnknownJob, match="does not have stage 4 at hand"):
        desk.scheduler.previous(1, 5)


def test_the_first_plan_has_nothing_before_it():
    assert mapping(1).scheduler.previous(1, 0) == Previous()


def test_finish_sees_the_last_plan():
    desk = mapping(0, 0)
    plan = last()
    desk.planned(plan)
    assert desk.scheduler.stage(1, 1) is plan


def test_segments_come_in_map_order_whatever_the_order_of_results():
    desk = mapping(4, 2, slots=4)
    held = list(desk.held["w"])
    for task in (held[2], held[0], held[3], held[1]):
        desk.results("w", [task], sizes=(task[0].index, 3))
    assert [(i, offset, size) for i, _, offset, size in desk.scheduler.reduce_inputs(1, 0, 0)] == [
        (1, 0, 1),
        (2, 0, 2),
        (3, 0, 3),
    ]
    assert [(i, offset, size) for i, _, offset, size in desk.scheduler.reduce_inputs(1, 0, 1)] == [
        (0, 0, 3),
        (1, 1, 3),
        (2, 2, 3),
        (3, 3, 3),
    ]


def test_a_map_without_output_has_no_segments():
    desk = mapping(2, 1, slots=2)
    desk.done()
    desk.done(sizes=(5,))
    assert [i for i, *_ in desk.scheduler.reduce_inputs(1, 0, 0)] == [1]
    desk.done(kind=REDUCE)
    (output,) = desk.scheduler.previous(1, 1).outputs
    assert output.blob is None


def test_workers_in_the_order_in_which_they_joined():
    desk = mapping(5)
    desk.now += 1.0
    desk.join("a", slots=3)
    desk.beat("w")
    views = desk.scheduler.workers()
    assert [(view.worker, view.slots, view.running, view.draining) for view in views] == [
        ("w", 1, 1, False),
        ("a", 3, 3, False),
    ]


def test_elapsed_stops_with_the_job():
    desk = mapping(3)
    desk.now += 5.0
    desk.tick()
    assert desk.scheduler.snapshot(1).elapsed == 5.0
    desk.do(ev.CancelRequested(1), after=1.0)
    desk.tick(after=9.0)
    assert desk.scheduler.snapshot(1).elapsed == 6.0


def test_the_next_deadline():
    desk = Desk(lease=5.0, node_grace=8.0)
    assert desk.scheduler.next_deadline() is None
    desk.join("w", "n")
    assert desk.scheduler.next_deadline() == 5.0
    desk.submit()
    desk.planned(StagePlan("s", 1, 0, b""), after=2.0)
    assert desk.scheduler.next_deadline() == 7.0
    desk.do(ev.WorkerLeft("w"), after=1.0)
    assert desk.scheduler.next_deadline() == 11.0
