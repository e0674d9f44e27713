"""Second opinions: what the scheduler may do next, from what it said and was told so far, and nothing that it thinks.

They are kept apart from the scheduler's own state on purpose: an invariant that reads a wrong state can be content
with it.
"""

from __future__ import annotations

from mapreduce.scheduler import events as ev
from mapreduce.scheduler import journal
from mapreduce.scheduler.model import JobState, Kind, TaskId


class Wrong(AssertionError):
    """A promise was broken."""


def require(holds: bool, promise: str, *what: object) -> None:
    if not holds:
        raise Wrong(f"{promise}: {', '.join(map(repr, what))}")


class Fence:
    """Which attempts may still bring a result: a second opinion, from the events and actions alone."""

    def __init__(self, ledger: Ledger) -> None:
        self.valid: dict[tuple[TaskId, int], str] = {}
        self.draining: set[str] = set()
        self.ledger = ledger

    def hear(self, event: ev.Event, actions: list[ev.Action], known: bool) -> None:
        """Keep the books for one event; raises Wrong for a result that should not have counted, or a job that is none
        of a worker's."""
        aborted = {(action.worker, task) for action in actions if isinstance(action, ev.Abort) for task in action.tasks}
        if isinstance(event, ev.WorkerJoined):
            for task, attempt in event.running:
                if known and (event.worker, (task, attempt)) not in aborted:
                    floor = self.ledger.floors.get(task.job, 0)
                    require(attempt > floor, "what ran before a rewind is not taken over", event.worker, task, attempt)
                    self.valid[task, attempt] = event.worker
        elif isinstance(event, ev.WorkerDraining) and known:
            self.draining.add(event.worker)
        elif isinstance(event, ev.WorkerLeft):
            self.leave(event.worker)
        elif isinstance(event, ev.TaskFailed):
            if not self.spend((event.task, event.attempt), event.worker):
                charged = any(isinstance(a, ev.Persist) and isinstance(a.record, journal.Charged) for a in actions)
                require(not charged, "a late failure does not count", event)
        elif isinstance(event, ev.TasksDone):
            told = {index: attempt for index, attempt, _ in event.done}
            for action in actions:
                if isinstance(action, ev.Persist) and isinstance(action.record, journal.Done):
                    for index in action.record.indexes:
                        key = (TaskId(event.job, event.stage, Kind(event.kind), index), told[index])
                        require(self.valid.get(key) == event.worker, "a late result does not count", event.worker, key)
            for index, attempt in told.items():
                self.spend((TaskId(event.job, event.stage, Kind(event.kind), index), attempt), event.worker)
        elif isinstance(event, ev.PlanDone | ev.FinishDone):
            records = [action.record for action in actions if isinstance(action, ev.Persist)]
            counts = any(isinstance(r, journal.Planned) for r in records) or (
                isinstance(event, ev.FinishDone) and any(isinstance(r, journal.Ended) for r in records)
            )
            valid = self.spend((event.task, event.attempt), event.worker)
            require(valid or not counts, "a late plan or value does not count", event)
        for action in actions:
            if isinstance(action, ev.Abort):
                for key in action.tasks:
                    self.spend(key, action.worker)
            elif isinstance(action, ev.Expel):
                self.leave(action.worker)
            elif isinstance(action, ev.Assign):
                require(action.worker not in self.draining, "a draining worker gets nothing", action)
                for index, attempt in action.tasks:
                    self.valid[TaskId(action.job, action.stage, Kind(action.kind), index), attempt] = action.worker

    def spend(self, key: tuple[TaskId, int], worker: str) -> bool:
        """The attempt is over, if it is this worker's."""
        if self.valid.get(key) != worker:
            return False
        del self.valid[key]
        return True

    def leave(self, worker: str) -> None:
        self.draining.discard(worker)
        for key in [key for key, holder in self.valid.items() if holder == worker]:
            del self.valid[key]


class Ledger:
    """What the journal and the assignments have said so far, and whether the next word fits."""

    def __init__(self) -> None:
        self.done: dict[int, set[tuple[int, int, int]]] = {}
        self.numbers: dict[TaskId, int] = {}
        self.ended: set[int] = set()
        self.skipped: dict[int, set[tuple[int, int, int]]] = {}
        self.floors: dict[int, int] = {}

    def take(self, record: journal.Record) -> None:
        if isinstance(record, journal.Mark):
            return
        if isinstance(record, journal.Admitted):
            require(record.job not in self.done, "job numbers are used once", record.job)
            self.done[record.job] = set()
            return
        require(
            record.job not in self.ended or isinstance(record, journal.Forgotten),
            "nothing happens to an ended job",
            record,
        )
        done = self.done[record.job]
        if isinstance(record, journal.Done):
            for index in record.indexes:
                key = (record.stage, record.kind, index)
                require(key not in done, "one accepted result a task", record.job, key)
                done.add(key)
        elif isinstance(record, journal.Skipped):
            key = (record.stage, int(Kind.MAP), record.index)
            again = key in self.skipped.setdefault(record.job, set())
            require(again or key not in done, "what is done is not set aside", record.job, key)
            done.add(key)
            self.skipped[record.job].add(key)
        elif isinstance(record, journal.Lost):
            for kind, indexes in ((int(Kind.MAP), record.maps), (int(Kind.REDUCE), record.reduces)):
                for index in indexes:
                    require((record.stage, kind, index) in done, "only what was done is lost", record, index)
                    done.discard((record.stage, kind, index))
        elif isinstance(record, journal.Rewound):
            done.clear()
            self.skipped.pop(record.job, None)
            self.floors[record.job] = record.fence << 16
        elif isinstance(record, journal.Ended):
            self.ended.add(record.job)
            require(record.state in (JobState.DONE, JobState.FAILED, JobState.CANCELLED), "jobs end in an end", record)

    def assigned(self, task: TaskId, attempt: int) -> None:
        require(attempt > self.numbers.get(task, 0), "attempt numbers only rise", task, attempt, self.numbers.get(task))
        self.numbers[task] = attempt
