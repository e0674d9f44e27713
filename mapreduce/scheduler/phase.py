"""The tasks of one kind in one stage: a million of them are a few flat arrays.

A queued task costs a byte of state, eight of attempt number and eight for the place where its output will be. Nothing
is an object until it is exceptional: only tasks that failed, were lost, or have a backup attempt own an entry in a
dict.

Ready tasks are found by a cursor that only moves forward (`bytearray.find`, so a phase that is half done after a
restart costs nothing either), and a heap of those that came back. Entries of the heap are checked when they are taken:
one whose task is not ready any more (a worker came back with it) is skipped.

An attempt number is a fence: (fence << 16) + n. The fence is raised by every restart of the coordinator and every
rewind, so numbers only rise for a task, although assignments are never written to the journal. `since` is the fence
under which this phase's work began: an older attempt, held by some worker that was away, belongs to a run of the stage
that no longer counts.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from .model import NOTHING, Kind, Output, TaskError, TaskId, TaskState
from .table import TASK, IllegalTransition, TaskEvent, next_task_state, translation

FENCE_SHIFT = 16
SCAN = 32  # how many tasks that this worker should not get are looked at before fresh ones are taken

WAITING, READY, RUNNING, DONE = (
    int(state) for state in (TaskState.WAITING, TaskState.READY, TaskState.RUNNING, TaskState.DONE)
)
assert TASK[TaskState.READY][TaskEvent.ASSIGNED] == RUNNING and TASK[TaskState.RUNNING][TaskEvent.DONE] == DONE

_OPEN, _CLOSE = translation(TaskEvent.OPENED), translation(TaskEvent.CLOSED)


@dataclass(slots=True)
class Charge:
    """What went wrong with one task so far. `workers` failed it; the attempt `last` is the last that failed, `at` is
    when."""

    failures: int = 0
    losses: int = 0
    input_losses: int = 0
    workers: list[str] = field(default_factory=list)
    last: int = 0
    at: float = 0.0


class Phase:
    """Tasks 0 .. count-1 of (job, stage, kind). `done`, `running` and `ready` count them."""

    __slots__ = (
        "attempts",
        "backups",
        "base",
        "charges",
        "count",
        "cursor",
        "done",
        "is_open",
        "job",
        "kind",
        "outputs",
        "ready",
        "redone",
        "requeued",
        "retired",
        "running",
        "seconds",
        "since",
        "skipped",
        "stage",
        "states",
    )

    def __init__(self, job: int, stage: int, kind: Kind, count: int, fence: int, since: int) -> None:
        self.job, self.stage, self.kind, self.count = job, stage, kind, count
        self.base = fence << FENCE_SHIFT
        self.since = since << FENCE_SHIFT
        self.states = bytearray(count)
        self.attempts = array("Q", bytes(8 * count))
        self.outputs: list[Output | None] = [None] * count
        self.done = self.running = self.ready = self.cursor = 0
        self.is_open = False
        self.requeued: list[int] = []
        self.charges: dict[int, Charge] = {}
        self.redone: dict[
            int, Output
        ] = {}  # tasks whose counters are counted already: what was lost of them, where that is known
        self.backups: dict[int, int] = {}  # second attempts that run: index -> attempt
        self.retired: dict[int, int] = {}  # numbers above `attempts` that were given out once
        self.skipped: dict[int, TaskError] = {}  # tasks that were set aside, with their last errors
        self.seconds = 0.0  # how long a task takes, as seen from here; 0: not known yet

    def __repr__(self) -> str:
        return f"job {self.job} stage {self.stage} {self.kind.name}"

    def id(self, index: int) -> TaskId:
        return TaskId(self.job, self.stage, self.kind, index)

    @property
    def complete(self) -> bool:
        return self.done == self.count

    # ------------------------------------------------------------------------------------------------ all tasks at once

    def open(self) -> None:
        """The tasks may be handed out."""
        if not self.is_open:
            self.is_open = True
            self.states = self.states.translate(_OPEN)
            self.ready = self.count - self.done - self.running

    def close(self) -> None:
        """The tasks may not be handed out; those that run go on."""
        if self.is_open:
            self.is_open = False
            self.states = self.states.translate(_CLOSE)
            self.ready = 0

    def renew(self, fence: int) -> None:
        """Go on under another fence, with nothing running; failures are forgiven."""
        self.close()
        self.base = self.since = fence << FENCE_SHIFT
        for charge in self.charges.values():
            charge.failures = 0
            charge.workers.clear()

    # ------------------------------------------------------------------------------------------------ one task

    def move(self, index: int, event: TaskEvent) -> None:
        """The checked way from state to state; `take` and `accept` are the fast ones."""
        state = TaskState(self.states[index])
        self.states[index] = next_task_state(state, event, f"task {index} of {self!r}", self.story(index))

    def story(self, index: int) -> Iterable[str]:
        """What is known of a task, for an error message."""
        yield f"attempt {self.attempts[index]}, numbers from {self.base}"
        if index in self.charges:
            yield str(self.charges[index])
        if index in self.backups:
            yield f"backup attempt {self.backups[index]}"

    def next_attempt(self, index: int) -> int:
        """A number that no attempt of this task ever had."""
        return max(self.attempts[index], self.base, self.backups.get(index, 0), self.retired.pop(index, 0)) + 1

    def take(self, limit: int, avoid: Callable[[int], bool]) -> list[tuple[int, int]]:
        """Hand out up to `limit` ready tasks: (index, attempt) each. Those that came back go first, except where
        `avoid(index)`."""
        picked: list[int] = []
        states, heap = self.states, self.requeued
        aside: list[int] = []
        while heap and len(picked) < limit and len(aside) < SCAN:
            index = heappop(heap)
            if states[index] != READY:
                continue
            if index in self.charges and avoid(index):
                aside.append(index)
            else:
                states[index] = RUNNING
                picked.append(index)
        for index in aside:
            heappush(heap, index)
        cursor, find = self.cursor, states.find
        while len(picked) < limit:
            index = find(READY, cursor)
            if index < 0:
                cursor = self.count if self.is_open else cursor
                break
            cursor = index + 1
            states[index] = RUNNING
            picked.append(index)
        self.cursor = cursor
        self.ready -= len(picked)
        self.running += len(picked)
        attempts, base = self.attempts, self.base
        taken = []
        for index in picked:
            attempt = attempts[index]
            attempt = (attempt if attempt > base else base) + 1 if not self.retired else self.next_attempt(index)
            attempts[index] = attempt
            taken.append((index, attempt))
        return taken

    def adopt(self, index: int, attempt: int) -> None:
        """A worker came back with this attempt in its hands, and nobody else has the task."""
        if self.states[index] == READY:
            self.ready -= 1
        self.move(index, TaskEvent.ADOPTED)
        self.attempts[index] = attempt
        self.running += 1

    def give_back(self, index: int) -> None:
        """The last running attempt of a task ended without a result."""
        self.move(index, TaskEvent.RETURNED)
        self.running -= 1
        if self.is_open:
            self.ready += 1
        else:
            self.move(index, TaskEvent.CLOSED)
        if index < self.cursor:
            heappush(self.requeued, index)

    def accept(self, index: int, output: Output) -> None:
        """The result counts; the caller has checked the fence."""
        if self.states[index] != RUNNING:
            state = TaskState(self.states[index]).name.lower()
            raise IllegalTransition(f"task {index} of {self!r}", state, TaskEvent.DONE.value, self.story(index))
        self.states[index] = DONE
        self.outputs[index] = output if output.blob is not None else NOTHING
        self.running -= 1
        self.done += 1

    def skip(self, index: int, error: TaskError) -> None:
        """Set a task aside that no worker holds: it is done, and left nothing."""
        self.move(index, TaskEvent.SET_ASIDE)
        self.ready -= 1
        self.done += 1
        self.outputs[index] = NOTHING
        self.skipped[index] = error

    def restore(self, index: int, output: Output) -> None:
        """The journal says that the task is done."""
        if self.states[index] == READY:
            self.ready -= 1
        self.move(index, TaskEvent.ADOPTED)
        self.running += 1
        self.accept(index, output)

    def lose(self, index: int) -> None:
        """The output of a finished task is gone: the task has to run again. Its counters stay counted."""
        self.move(index, TaskEvent.OUTPUT_LOST)
        if self.is_open:
            self.move(index, TaskEvent.OPENED)
            self.ready += 1
        self.done -= 1
        self.redone[index] = self.outputs[index] or NOTHING
        self.outputs[index] = None
        if index < self.cursor:
            heappush(self.requeued, index)

    def charge(self, index: int) -> Charge:
        return self.charges.setdefault(index, Charge())

    def held_at(self, node: str) -> list[int]:
        """The finished tasks whose outputs lie on a node."""
        return [
            i
            for i, output in enumerate(self.outputs)
            if output is not None and output.node == node and output.blob is not None
        ]
