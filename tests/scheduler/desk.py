"""A scheduler on a desk: events are method calls, assignments are kept by worker, and every event is followed by the
invariants."""

from __future__ import annotations

from typing import Any

from mapreduce.scheduler import events as ev
from mapreduce.scheduler import invariants, journal
from mapreduce.scheduler.core import Scheduler
from mapreduce.scheduler.model import Blob, JobSpec, Kind, Limits, Output, StagePlan, TaskError, TaskId
from mapreduce.scheduler.settings import Settings

PLAN, MAP, REDUCE, FINISH = Kind.PLAN, Kind.MAP, Kind.REDUCE, Kind.FINISH
OOPS = TaskError("exception", "ValueError", "oops")


def blob(index: int, size: int = 6) -> Blob:
    return Blob(index.to_bytes(16, "big"), size)


def last(inputs: tuple[Output, ...] = ()) -> StagePlan:
    return StagePlan("", 0, 0, b"", inputs=inputs, last=True)


class Desk:
    """`held[worker]` are the (task, attempt) that it was sent; `records` what was persisted."""

    def __init__(self, **settings: Any) -> None:
        self.scheduler = Scheduler(Settings(**settings))
        self.now = 0.0
        self.events, self.check_every = 0, 1
        self.held: dict[str, list[tuple[TaskId, int]]] = {}
        self.records: list[Any] = []
        self.actions: list[ev.Action] = []

    def do(self, event: ev.Event, after: float = 0.0) -> list[ev.Action]:
        self.now += after
        self.actions = self.scheduler.handle(event, self.now)
        self.events += 1
        if self.events % self.check_every == 0:
            invariants.check(self.scheduler.state)
        for action in self.actions:
            if isinstance(action, ev.Assign):
                tasks = [(TaskId(action.job, action.stage, Kind(action.kind), i), a) for i, a in action.tasks]
                self.held.setdefault(action.worker, []).extend(tasks)
            elif isinstance(action, ev.Abort):
                gone = set(action.tasks)
                self.held[action.worker] = [t for t in self.held.get(action.worker, []) if t not in gone]
            elif isinstance(action, ev.Persist):
                self.records.append(action.record)
        return self.actions

    def all(self, kind: type) -> list[Any]:
        """The last event's actions of a kind."""
        return [action for action in self.actions if isinstance(action, kind)]

    def persisted(self, kind: type) -> list[Any]:
        """The last event's records of a kind."""
        return [a.record for a in self.actions if isinstance(a, ev.Persist) and isinstance(a.record, kind)]

    # ------------------------------------------------------------------------------------------------ events, briefly

    def submit(self, type: str = "x", token: str = "", **spec: Any) -> int:
        limits = Limits(spec.pop("attempts", 3))
        actions = self.do(
            ev.Submitted(b"client", token, JobSpec(0, type, spec.pop("params", b""), limits=limits, **spec))
        )
        return next(a.job for a in actions if isinstance(a, ev.Accepted))

    def join(self, worker: str, node: str = "", slots: int = 1, running: Any = (), **types: str) -> list[ev.Action]:
        return self.do(ev.WorkerJoined(worker, node or f"node-{worker}", slots, types or {"x": "1"}, tuple(running)))

    def planned(self, plan: StagePlan, worker: str = "w", after: float = 0.0) -> list[ev.Action]:
        """The PLAN task that the worker holds answers."""
        task, attempt = self.take(worker, PLAN)
        return self.do(ev.PlanDone(worker, task, attempt, plan), after)

    def take(self, worker: str, kind: Kind, index: int | None = None) -> tuple[TaskId, int]:
        """The worker's oldest task of a kind, taken off its list."""
        for held in self.held[worker]:
            if held[0].kind is kind and index in (None, held[0].index):
                self.held[worker].remove(held)
                return held
        raise AssertionError(f"{worker} holds no {kind.name}, but {self.held[worker]}")

    def done(self, worker: str = "w", kind: Kind = MAP, n: int = 1, after: float = 0.0, **more: Any) -> list[ev.Action]:
        """The worker's `n` oldest tasks of a kind are done, in one message."""
        tasks = [self.take(worker, kind) for _ in range(n)]
        return self.results(worker, tasks, after, **more)

    def results(
        self, worker: str, tasks: Any, after: float = 0.0, sizes: Any = None, node: str = "", counters: Any = None
    ) -> list[ev.Action]:
        """Results with `sizes` bytes a partition; None: no output at all."""
        job, stage, kind, _ = tasks[0][0]
        done = []
        for task, attempt in tasks:
            there = node or self.node(worker)
            output = (
                Output(blob(task.index, sum(sizes)), there, sizes if kind is MAP else (), stage, kind)
                if sizes
                else Output()
            )
            done.append((task.index, attempt, output))
        return self.do(ev.TasksDone(worker, job, stage, int(kind), tuple(done), counters or ()), after)

    def finish(self, worker: str = "w", value: bytes = b"value") -> list[ev.Action]:
        task, attempt = self.take(worker, FINISH)
        return self.do(ev.FinishDone(worker, task, attempt, value))

    def fail(
        self, worker: str = "w", kind: Kind = MAP, error: TaskError = OOPS, lost: Any = (), after: float = 0.0
    ) -> None:
        task, attempt = self.take(worker, kind)
        self.do(ev.TaskFailed(worker, task, attempt, error, tuple(lost)), after)

    def beat(self, worker: str = "w", after: float = 0.0) -> list[ev.Action]:
        return self.do(ev.Heartbeat(worker, tuple(self.held.get(worker, ()))), after)

    def tick(self, after: float = 0.0) -> list[ev.Action]:
        return self.do(ev.Tick(), after)

    def node(self, worker: str) -> str:
        found = self.scheduler.state.fleet.get(worker)
        assert found is not None
        return found.node

    def state(self, job: int = 1) -> str:
        return self.scheduler.snapshot(job).state.value

    def restart(self) -> Desk:
        """Another desk, restored from what this one persisted."""
        desk = Desk()
        desk.scheduler = Scheduler(self.scheduler.settings)
        desk.now = self.now
        desk.records = list(self.records)
        desk.scheduler.restore([journal.unpack(journal.pack(record)) for record in self.records], self.now)
        invariants.check(desk.scheduler.state)
        return desk


def mapping(maps: int, reduces: int = 1, slots: int = 1, **settings: Any) -> Desk:
    """A desk with one worker `w` and one job, planned, its maps handed out as far as slots go."""
    desk = Desk(**settings)
    desk.join("w", "n", slots)
    desk.submit()
    desk.check_every = 1 if maps < 1000 else 50
    desk.planned(StagePlan("s", maps, reduces, b"setup"))
    return desk
