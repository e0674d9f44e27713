"""A phase of tasks in flat arrays."""

import sys

import pytest

from mapreduce.scheduler.model import NOTHING, Blob, Kind, Output, TaskState
from mapreduce.scheduler.phase import Phase
from mapreduce.scheduler.table import IllegalTransition


def phase(count=5, fence=0, since=0):
    made = Phase(1, 0, Kind.MAP, count, fence, since)
    made.open()
    return made


def never(_):
    return False


def test_tasks_are_handed_out_once_in_order():
    p = phase()
    assert p.take(2, never) == [(0, 1), (1, 1)]
    assert p.take(9, never) == [(2, 1), (3, 1), (4, 1)]
    assert p.take(9, never) == []
    assert (p.ready, p.running, p.done) == (0, 5, 0)


def test_what_came_back_goes_first_under_a_new_number():
    p = phase()
    p.take(3, never)
    p.give_back(1)
    assert p.take(2, never) == [(1, 2), (3, 1)]


def test_a_task_can_be_avoided_and_is_not_lost():
    p = phase()
    p.take(2, never)
    p.give_back(0)
    p.charge(0).failures = 1
    assert p.take(1, lambda index: index == 0) == [(2, 1)]
    assert p.take(1, never) == [(0, 2)]


def test_numbers_rise_over_fences():
    assert phase(1, fence=3).take(1, never) == [(0, (3 << 16) + 1)]


def test_closing_keeps_what_runs_and_opening_brings_the_rest_back():
    p = phase()
    p.take(2, never)
    p.accept(0, NOTHING)
    p.close()
    assert (p.ready, p.running, p.done) == (0, 1, 1)
    assert p.take(9, never) == []
    p.give_back(1)
    assert TaskState(p.states[1]) is TaskState.WAITING
    p.open()
    assert [index for index, _ in p.take(9, never)] == [1, 2, 3, 4]


def test_an_adopted_task_is_skipped_by_cursor_and_heap():
    p = phase()
    p.adopt(3, 7)
    p.take(2, never)
    p.give_back(0)
    p.adopt(0, 9)
    assert [index for index, _ in p.take(9, never)] == [2, 4]
    p.give_back(3)
    assert p.take(1, never) == [(3, 8)]


def test_a_lost_output_runs_again():
    p = phase(1)
    p.take(1, never)
    p.accept(0, Output(Blob(b"h" * 16, 3), "n"))
    assert p.complete and p.held_at("n") == [0] and p.held_at("m") == []
    p.lose(0)
    assert not p.complete and 0 in p.redone
    assert p.take(1, never) == [(0, 2)]


def test_accepting_twice_is_illegal():
    p = phase(1)
    p.take(1, never)
    p.accept(0, NOTHING)
    with pytest.raises(IllegalTransition, match="task 0 of job 1 stage 0 MAP is done"):
        p.accept(0, NOTHING)


def test_a_queued_task_costs_less_than_20_bytes():
    p = phase(100_000)
    size = sys.getsizeof(p.states) + sys.getsizeof(p.attempts) + sys.getsizeof(p.outputs)
    assert size / 100_000 < 20
