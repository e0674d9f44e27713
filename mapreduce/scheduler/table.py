"""The states of jobs and tasks, and every way from one to another.

Everything that affects the state machine lives in the two tables below; nothing else in the package enters a state
that they do not allow. A transition is named by what happened. What a table does not list raises `IllegalTransition`
and leaves the state as it was, because it means that the scheduler has lost track of the world, and going on would
turn a bug into wrong results.

A job has one *open* phase at a time, the tasks that may be handed out: PLAN while planning, MAP while mapping, REDUCE
while reducing, FINISH while finishing. It mostly moves forward, around the loop plan -> map -> reduce -> plan, and
ends after finish. It moves back when outputs are lost with the node that held them: from reducing to mapping when a
finished map's output is gone, from planning or finishing to reducing when a reduce's is, and to the very first
planning (rewound) when something of an earlier stage is gone that nothing at hand can make again. Going back is always
correct because tasks are deterministic; it only costs time. While a job is back in mapping, reduces that already run
go on: they may well have read everything. Should all of them finish, the lost maps are not needed any more, and the
job goes straight from mapping to planning.

A task waits while its phase is closed and is ready while it is open. `returned` is the end of an attempt without a
result, for whatever reason; `adopted` is a worker that comes back (after a lost connection, or to a restarted
coordinator) with the attempt still in its hands. A backup attempt of a running task does not change its state: it
stays running until one result is accepted or the last attempt returned. A map task that failed too often is `set
aside` where its job allows it: done, and nothing came of it.

The tasks of a phase are one byte each, and a phase of a million opens and closes by translating the bytes
(`translation`). The picture in the docs is drawn from these tables: `python -m mapreduce.scheduler.diagram >
docs/states.svg`.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from .model import JobState, TaskState


class JobEvent(StrEnum):
    PLANNED = "stage planned"
    LAST_PLANNED = "no further stage"
    MAPS_DONE = "all maps done"
    REDUCES_DONE = "all reduces done"
    FINISHED = "finished"
    MAPS_LOST = "map outputs lost"
    REDUCES_LOST = "reduce outputs lost"
    REWOUND = "rewound"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TaskEvent(StrEnum):
    OPENED = "phase opened"
    CLOSED = "phase closed"
    ASSIGNED = "assigned"
    ADOPTED = "adopted"
    DONE = "result accepted"
    RETURNED = "returned"
    OUTPUT_LOST = "output lost"
    SET_ASIDE = "set aside"


J, E = JobState, JobEvent

JOB: dict[JobState, dict[JobEvent, JobState]] = {
    J.PLANNING: {
        E.PLANNED: J.MAPPING,
        E.LAST_PLANNED: J.FINISHING,
        E.REDUCES_LOST: J.REDUCING,
        E.REWOUND: J.PLANNING,
        E.FAILED: J.FAILED,
        E.CANCELLED: J.CANCELLED,
    },
    J.MAPPING: {
        E.MAPS_DONE: J.REDUCING,
        E.REDUCES_DONE: J.PLANNING,
        E.REWOUND: J.PLANNING,
        E.FAILED: J.FAILED,
        E.CANCELLED: J.CANCELLED,
    },
    J.REDUCING: {
        E.REDUCES_DONE: J.PLANNING,
        E.MAPS_LOST: J.MAPPING,
        E.REWOUND: J.PLANNING,
        E.FAILED: J.FAILED,
        E.CANCELLED: J.CANCELLED,
    },
    J.FINISHING: {
        E.FINISHED: J.DONE,
        E.REDUCES_LOST: J.REDUCING,
        E.REWOUND: J.PLANNING,
        E.FAILED: J.FAILED,
        E.CANCELLED: J.CANCELLED,
    },
    J.DONE: {},
    J.FAILED: {},
    J.CANCELLED: {},
}

T, V = TaskState, TaskEvent

TASK: dict[TaskState, dict[TaskEvent, TaskState]] = {
    T.WAITING: {V.OPENED: T.READY, V.ADOPTED: T.RUNNING},
    T.READY: {V.CLOSED: T.WAITING, V.ASSIGNED: T.RUNNING, V.ADOPTED: T.RUNNING, V.SET_ASIDE: T.DONE},
    T.RUNNING: {V.DONE: T.DONE, V.RETURNED: T.READY},
    T.DONE: {V.OUTPUT_LOST: T.WAITING},
}

ENDED = frozenset(state for state, ways in JOB.items() if not ways)


class IllegalTransition(Exception):
    """Something happened that the tables do not allow in this state. `story` tells what happened before."""

    def __init__(self, what: str, state: str, event: str, story: Iterable[str] = ()) -> None:
        self.what, self.state, self.event, self.story = what, state, event, tuple(story)
        told = "\n".join(f"  {line}" for line in self.story) or "  (nothing)"
        super().__init__(f"{what} is {state}: {event!r} is not possible. What happened before:\n{told}")


def next_job_state(state: JobState, event: JobEvent, what: str = "job", story: Iterable[str] = ()) -> JobState:
    """Where `event` leads from `state`; raises IllegalTransition where the table has no way."""
    try:
        return JOB[state][event]
    except KeyError:
        raise IllegalTransition(what, state.value, event.value, story) from None


def next_task_state(state: TaskState, event: TaskEvent, what: str = "task", story: Iterable[str] = ()) -> TaskState:
    """Where `event` leads from `state`; raises IllegalTransition where the table has no way."""
    try:
        return TASK[state][event]
    except KeyError:
        raise IllegalTransition(what, state.name.lower(), event.value, story) from None


def translation(event: TaskEvent) -> bytes:
    """For `bytearray.translate`: applies `event` to every task that it can happen to, and leaves the others as they
    are."""
    table = bytearray(range(256))
    for state, ways in TASK.items():
        if event in ways:
            table[state] = ways[event]
    return bytes(table)
