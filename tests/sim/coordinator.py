"""The coordinator process of the simulator: a loop turn handles, commits and sends, and may die at any point of it.

It watches the scheduler while it carries out its actions: invariants after every event, every committed record against
what the record before allowed, every reduce's inputs against the truth, and now and then a scheduler restored from the
journal against the living one.
"""

from __future__ import annotations

from typing import Any

import msgpack

from mapreduce.scheduler import events as ev
from mapreduce.scheduler import invariants, journal
from mapreduce.scheduler.core import Scheduler
from mapreduce.scheduler.model import Kind, TaskId
from mapreduce.scheduler.replay import at_hand
from mapreduce.scheduler.settings import Settings

from .books import Fence, Ledger, Wrong, require
from .jobs import Shape, Truth, sequential
from .machines import Node, Work, Worker
from .world import World

TICK = 0.25
SETTINGS = Settings(
    heartbeat=0.5,
    lease=1.5,
    node_grace=1.5,
    assign_grace=0.6,
    lookahead=0.2,
    prefetch=4,
    hoard=0.5,
    patience=1.0,
    max_losses=10,
    max_rewinds=60,
    straggler_floor=0.3,
)


class Coordinator:
    """Restarted by `crash`; `store` is what was committed, `shapes` what jobs are, both outside of it."""

    def __init__(self, world: World, settings: Settings = SETTINGS) -> None:
        self.world, self.settings = world, settings
        self.scheduler: Scheduler | None = Scheduler(settings)
        self.store: list[bytes] = []
        self.ledger = Ledger()
        self.fence = Fence(self.ledger)
        self.inbox: list[tuple[ev.Event, Any, int]] = []
        self.turning = False
        self.assigned: list[tuple[TaskId, int]] = []
        self.peers: dict[str, Worker] = {}
        self.nodes: dict[str, Node] = {}
        self.workers: list[Worker] = []
        self.shapes: dict[bytes, Shape] = {}
        self.truths: dict[int, Truth] = {}
        self.accepted: dict[bytes, int] = {}
        self.tries: dict[TaskId, int] = {}
        self.executed: dict[TaskId, int] = {}
        self.crashes = self.events = 0
        self.full_until = self.skew = 0.0
        self.unsaved: tuple[list[journal.Record], list[tuple[TaskId, int]], list[tuple[Any, ...]]] = ([], [], [])
        world.call(TICK, self.tick)

    @property
    def clock(self) -> float:
        """What the scheduler is told: a clock that may have jumped, and never shows less than nothing."""
        return 1_000.0 + self.world.now + self.skew

    # ---------------------------------------------------------------------------------------------- people and machines

    def start_worker(self, node: Node, slots: int, types: dict[str, str]) -> Worker:
        worker = Worker(self.world, self, node, len(self.workers) + 1, slots, types)
        self.workers.append(worker)
        return worker

    def truth(self, job: int) -> Truth:
        if job not in self.truths:
            assert self.scheduler is not None
            self.truths[job] = sequential(self.shapes[self.scheduler.spec(job).params])
        return self.truths[job]

    def tick(self) -> None:
        self.world.call(TICK, self.tick)
        self.receive(ev.Tick(), None, 0)

    # ------------------------------------------------------------------------------------------------ the loop

    def receive(self, event: ev.Event, sender: Any, receipt: int) -> None:
        if self.scheduler is None:
            return
        self.inbox.append((event, sender, receipt))
        if not self.turning:
            self.turning = True
            self.world.call(0.0005, self.turn)

    def turn(self) -> None:
        """Handle what came, commit, send."""
        scheduler = self.scheduler
        if scheduler is None:
            self.turning = False
            return
        if self.world.chance(self.world.faults.stall * 0.01):
            self.world.note("coordinator stalls")
            self.world.call(self.world.rng.choice((0.6, 2.0, 5.0)), self.turn)
            return
        self.turning = False
        dies = self.world.rng.choice((1, 2)) if self.world.chance(self.world.faults.crash * 0.05) else 0
        records, self.assigned, sends = self.unsaved
        self.unsaved = ([], [], [])
        inbox, self.inbox = self.inbox, []
        for event, sender, receipt in inbox:
            self.events += 1
            if isinstance(event, ev.WorkerJoined):
                self.peers[event.worker] = sender
                sends.append((sender, event.worker, "welcome", None))
            self.world.note(event)
            actions = scheduler.handle(event, self.clock)
            self.fence.hear(event, actions, self.knows(event))
            for action in actions:
                self.world.note("    ", action)
                self.carry_out(action, records, sends)
            invariants.check(scheduler.state)
            self.check_priorities(actions)
            if sender is not None and self.knows(event) and (receipt or isinstance(event, ev.Heartbeat)):
                sends.append((sender, event.worker, "ack", receipt))  # type: ignore[union-attr]
        if dies == 1:
            self.crash()
            return
        if self.world.now < self.full_until:  # nothing leaves that depends on what is not written; it is tried again
            self.unsaved = (records, self.assigned, sends)
            self.turning = True
            self.world.call(0.1, self.turn)
            return
        for record in records:
            self.ledger.take(record)
        for task, attempt in self.assigned:
            self.ledger.assigned(task, attempt)
        self.store.extend(msgpack.packb(journal.pack(record)) for record in records)
        if dies or self.world.rng.random() < 0.03:
            self.compare()
        for send in sends:
            if dies and self.world.rng.random() < 0.3:
                break
            self.post(*send)
        if dies:
            self.crash()

    def knows(self, event: ev.Event) -> bool:
        assert self.scheduler is not None
        return self.scheduler.state.fleet.get(getattr(event, "worker", "")) is not None

    def post(self, to: Any, *rest: Any) -> None:
        if isinstance(to, Worker):
            if not to.cut:
                self.world.send(to.hear, *rest)
        else:
            self.world.send(to, *rest)

    def carry_out(self, action: ev.Action, records: list[journal.Record], sends: list[tuple[Any, ...]]) -> None:
        scheduler = self.scheduler
        assert scheduler is not None
        if isinstance(action, ev.Persist):
            records.append(action.record)  # type: ignore[arg-type]
        elif isinstance(action, ev.Assign):
            worker = self.peers[action.worker]
            sends.append((worker, action.worker, "assign", [self.work(action, *task) for task in action.tasks]))
        elif isinstance(action, ev.Abort):
            sends.append((self.peers[action.worker], action.worker, "abort", action.tasks))
        elif isinstance(action, ev.Expel):
            if action.worker in self.peers:
                sends.append((self.peers[action.worker], action.worker, "reregister", None))
        elif isinstance(action, ev.Release):
            needed = (
                {(o.stage, o.kind) for o in at_hand(scheduler.state.jobs[action.job]) if o.blob is not None}
                if (action.job in scheduler.state.jobs)
                else set()
            )
            require(
                not needed if not action.units else not needed & set(action.units), "nothing needed is released", action
            )
            for worker in self.workers:
                if worker.alive:
                    sends.append((worker, worker.name, "release", (action.job, action.units)))
        elif isinstance(action, ev.Keep):
            sends.append((self.peers[action.worker], action.worker, "keep", scheduler.living()))
        elif isinstance(action, ev.Accepted):
            sends.append((self.client_heard, action.client, action.job))
        elif isinstance(action, ev.SetAside):
            shape = self.shapes[scheduler.spec(action.task.job).params]
            require(action.task[1:] in shape.bad, "only splits that cannot work are set aside", action)
        elif isinstance(action, ev.Diverged):
            raise Wrong(f"a deterministic job diverged: {action}")
        elif isinstance(action, ev.Rejected):
            raise Wrong(f"refused: {action}")

    def check_priorities(self, actions: list[ev.Action]) -> None:
        """No worker was just given a task while one of higher priority, that it could run, was left waiting."""
        assert self.scheduler is not None
        state = self.scheduler.state
        for action in actions:
            if not isinstance(action, ev.Assign) or (worker := state.fleet.get(action.worker)) is None:
                continue
            for job in state.live():
                phase = job.open
                higher = job.spec.priority > state.jobs[action.job].spec.priority
                if (
                    higher
                    and job.ready
                    and phase is not None
                    and not phase.charges
                    and worker.in_flight <= worker.slots
                ):
                    require(not worker.knows(*job.key), "higher priority goes first", action, job, job.ready)

    def client_heard(self, client: bytes, job: int) -> None:
        known = self.accepted.setdefault(client, job)
        require(known == job, "a token names one job", client, known, job)

    def work(self, assign: ev.Assign, index: int, attempt: int) -> Work:
        """What the message to the worker says, checked against the truth."""
        scheduler = self.scheduler
        assert scheduler is not None
        task = TaskId(assign.job, assign.stage, Kind(assign.kind), index)
        self.assigned.append((task, attempt))
        spec = scheduler.spec(assign.job)
        require(spec.type in self.peers[assign.worker].types, "workers get only job types that they know", assign)
        shape = self.shapes[spec.params]
        plan, segments, previous = None, (), None
        if assign.kind in (Kind.MAP, Kind.REDUCE, Kind.FINISH):
            plan = scheduler.stage(assign.job, assign.stage)
        if assign.kind == Kind.REDUCE:
            segments = scheduler.reduce_inputs(assign.job, assign.stage, index)
            told = [(number, size) for number, _, _, size in segments]
            due = [(number, len(data)) for number, data in self.truth(assign.job).segments[assign.stage, index]]
            require(told == due, "a reduce reads every map's segment, in map order", task, told, due)
        if assign.kind in (Kind.PLAN, Kind.FINISH):
            previous = scheduler.previous(assign.job, assign.stage)
        return Work(task, attempt, shape, plan, segments, previous)

    # -------------------------------------------------------------------------------------------- dying and coming back

    def crash(self) -> None:
        """Lose all but the store; come back after a while."""
        self.world.note("coordinator crashed")
        self.crashes += 1
        self.scheduler = None
        self.inbox, self.peers, self.unsaved = [], {}, ([], [], [])
        self.world.call(self.world.rng.choice((0.1, 0.5, 3.0)), self.restart)

    def restart(self) -> None:
        self.scheduler = self.restored()
        self.fence = Fence(self.ledger)
        invariants.check(self.scheduler.state)
        self.world.note("coordinator restarted")

    def restored(self) -> Scheduler:
        """A scheduler from the journal; half of the time from one that the store has trimmed."""
        if self.world.rng.random() < 0.5:
            self.trim()
        fresh = Scheduler(self.settings)
        fresh.restore([journal.unpack(msgpack.unpackb(raw)) for raw in self.store], self.clock)
        return fresh

    def trim(self) -> None:
        """Delete what the journal says is no longer needed."""
        records = [(raw, journal.unpack(msgpack.unpackb(raw))) for raw in self.store]
        kept: list[bytes] = []
        later: dict[int, str] = {}
        marked = False
        for raw, record in reversed(records):
            if isinstance(record, journal.Mark):
                if not marked:
                    kept.append(raw)
                marked = True
                continue
            fate = later.get(record.job)
            if isinstance(record, journal.Forgotten):
                later[record.job] = "all"
            elif isinstance(record, journal.Trimmed):
                later.setdefault(record.job, "stages")
            elif fate is None or (fate == "stages" and isinstance(record, journal.Admitted)):
                kept.append(raw)
        self.store = kept[::-1]

    def compare(self) -> None:
        """What the journal restores is what lives."""
        assert self.scheduler is not None
        old, new = digest(self.scheduler), digest(self.restored())
        require(
            old == new,
            "a restart forgets nothing",
            *[(o, n) for o, n in zip(old, new, strict=False) if o != n] or (old, new),
        )


def digest(scheduler: Scheduler) -> list[Any]:
    """All that a restart must not lose."""
    found: list[Any] = [scheduler.state.next_job]
    for number in sorted(scheduler.state.jobs):
        job = scheduler.state.jobs[number]
        phases = [
            (phase.stage, phase.kind, phase.outputs, {i: c.failures for i, c in phase.charges.items() if c.failures})
            for phase in job.phases()
        ]
        ends = (job.value, job.error, job.reason, job.outputs) if job.ended else ()
        ends = (*ends, job.skipped())
        units = () if job.ended else sorted(job.units)
        found.append(
            (job.spec, job.token, job.at, job.state, job.number, phases, job.counters(), job.rewinds, ends, units)
        )
    return found
