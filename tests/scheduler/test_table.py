"""The tables are the machine: complete, and obeyed."""

import pytest

from mapreduce.scheduler.jobs import Job
from mapreduce.scheduler.model import JobSpec, JobState, TaskState
from mapreduce.scheduler.table import (
    ENDED,
    JOB,
    TASK,
    IllegalTransition,
    JobEvent,
    TaskEvent,
    next_task_state,
    translation,
)


def reachable(table, start):
    seen, todo = {start}, [start]
    while todo:
        for state in table[todo.pop()].values():
            if state not in seen:
                seen.add(state)
                todo.append(state)
    return seen


def test_every_state_can_be_reached():
    assert reachable(JOB, JobState.PLANNING) == set(JobState)
    assert reachable(TASK, TaskState.WAITING) == set(TaskState)


def test_every_live_state_has_a_way_to_every_end():
    for state in set(JobState) - ENDED:
        assert ENDED <= reachable(JOB, state)


def test_every_event_is_used():
    assert {event for ways in JOB.values() for event in ways} == set(JobEvent)
    assert {event for ways in TASK.values() for event in ways} == set(TaskEvent)


def test_nothing_happens_to_ended_jobs():
    assert {JobState.DONE, JobState.FAILED, JobState.CANCELLED} == ENDED


def test_an_illegal_transition_tells_the_story_and_changes_nothing():
    job = Job(JobSpec(7, "wordcount", b""), "", 0.0, 0.0, 0)
    job.tell("something odd happened")
    with pytest.raises(
        IllegalTransition, match=r"job 7 \(wordcount\) is planning: 'finished' is not possible"
    ) as caught:
        job.move(JobEvent.FINISHED)
    assert "something odd happened" in str(caught.value)
    assert job.state is JobState.PLANNING


def test_an_illegal_task_transition_names_both():
    with pytest.raises(IllegalTransition, match="task is waiting: 'result accepted'"):
        next_task_state(TaskState.WAITING, TaskEvent.DONE)


@pytest.mark.parametrize("event", TaskEvent)
def test_translation_is_the_table_for_many(event):
    states = bytes(TaskState)
    expected = [TASK[state].get(event, state) for state in TaskState]
    assert list(states.translate(translation(event))) == expected
