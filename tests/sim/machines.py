"""Nodes that hold bytes, workers that run tasks, and the coordinator process around the scheduler.

They follow the protocol as the real ones do: a worker says hello until it is welcome, beats, keeps results until they
are acknowledged and sends them again after it had to register anew; the coordinator handles a turn's messages,
commits, then sends.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mapreduce.scheduler import events as ev
from mapreduce.scheduler.model import Blob, Kind, Output, StagePlan, TaskError, TaskId

from . import jobs
from .jobs import Shape, mix

if TYPE_CHECKING:
    from .coordinator import Coordinator
    from .world import World

BEAT, SILENCE = 0.5, 1.6
Unit = tuple[int, int, int]


class Node:
    """A machine's disk, and whether anybody serves it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.disk: dict[Unit, dict[bytes, bytes]] = {}
        self.workers: list[Worker] = []

    @property
    def serves(self) -> bool:
        return any(worker.alive and not worker.cut for worker in self.workers)

    def store(self, job: int, stage: int, kind: int, data: bytes) -> Output:
        if not data:
            return Output()
        hash = mix(data)
        self.disk.setdefault((job, stage, kind), {})[hash] = data
        return Output(Blob(hash, len(data)), self.name, (), stage, kind)

    def rot(self, rng: random.Random) -> None:
        """One of the blobs is not what it was."""
        blobs = [(unit, hash) for unit, held in self.disk.items() for hash in held]
        if blobs:
            unit, hash = rng.choice(blobs)
            self.disk[unit][hash] = b"rotten" + self.disk[unit][hash]


class InputLost(Exception):
    """Nodes that did not give what a task needs."""


class InputWrong(InputLost):
    """... or gave other bytes."""


@dataclass
class Work:
    """An attempt and what the Assign message brought for it."""

    task: TaskId
    attempt: int
    shape: Shape
    plan: StagePlan | None
    segments: tuple[tuple[int, Output, int, int], ...]
    previous: Any


class Worker:
    """One worker process. Its name changes with every hello; `gone` processes never speak again."""

    def __init__(
        self, world: World, coordinator: Coordinator, node: Node, number: int, slots: int, types: dict[str, str]
    ) -> None:
        self.world, self.coordinator, self.node = world, coordinator, node
        self.number, self.slots, self.types = number, slots, types
        self.incarnation = 0
        self.alive, self.cut, self.paused = True, False, 0.0
        self.wakes = 0.0  # when it beats again, or is heard again, after its last pause or cut
        self.draining = False
        self.welcome = False
        self.heard = world.now
        self.queue: list[Work] = []
        self.running: dict[tuple[TaskId, int], Work] = {}
        self.outbox: dict[int, tuple[TaskId, int, Callable[[str], ev.Event]]] = {}
        self.sent = 0
        self.executed = 0
        node.workers.append(self)
        self.hello()
        world.call(world.rng.uniform(0, BEAT), self.beat)

    @property
    def name(self) -> str:
        return f"w{self.number}.{self.incarnation}"

    # ------------------------------------------------------------------------------------------------ the wire

    def say(self, event: ev.Event, receipt: int = 0) -> None:
        if self.alive and not self.cut:
            self.world.send(self.coordinator.receive, event, self, receipt)

    def hear(self, to: str, what: str, payload: Any) -> None:
        """A message arrives; a paused process reads it when it wakes."""
        if not self.alive or self.cut:
            return
        if self.world.now < self.paused:
            self.world.call(self.paused - self.world.now, self.hear, to, what, payload)
            return
        if what == "release":
            self.release(*payload)
            return
        if what == "keep":
            self.keep(*payload)
            return
        if to != self.name:
            return
        self.heard = self.world.now
        if what == "welcome":
            if not self.welcome:
                self.welcome = True
                for receipt, (_, _, make) in self.outbox.items():
                    self.say(make(self.name), receipt)
        elif what == "reregister":
            if self.welcome:
                self.hello()
        elif what == "ack":
            self.outbox.pop(payload, None)
        elif what == "assign":
            known = {(work.task, work.attempt) for work in self.queue} | set(self.running)
            self.queue.extend(work for work in payload if (work.task, work.attempt) not in known)
            self.start()
        elif what == "abort":
            self.abort(payload)

    def hello(self) -> None:
        """Become a new incarnation."""
        self.incarnation += 1
        self.welcome = False
        self.heard = self.world.now
        self.greet()

    def greet(self) -> None:
        held = [*self.holding(), *[(task, attempt) for task, attempt, _ in self.outbox.values()]]
        running = tuple(dict.fromkeys(held))
        self.say(ev.WorkerJoined(self.name, self.node.name, self.slots, self.types, running))
        if self.draining:
            self.say(ev.WorkerDraining(self.name))

    def holding(self) -> list[tuple[TaskId, int]]:
        return [*self.running, *[(work.task, work.attempt) for work in self.queue]]

    def beat(self) -> None:
        if not self.alive:
            return
        self.world.call(max(BEAT, self.paused - self.world.now), self.beat)
        if self.world.now < self.paused:
            return
        if self.draining and not self.holding() and not self.outbox:
            self.say(ev.WorkerLeft(self.name, "drained"))
            self.alive = False
        elif not self.welcome:
            self.greet()
        elif self.world.now - self.heard > SILENCE:
            self.hello()
        else:
            self.say(ev.Heartbeat(self.name, tuple(self.holding())))

    # ------------------------------------------------------------------------------------------------ tasks

    def start(self) -> None:
        while self.queue and len(self.running) < self.slots:
            work = self.queue.pop(0)
            key = (work.task, work.attempt)
            self.running[key] = work
            seconds = work.shape.seconds(work.task[1:], self.world.rng)
            self.world.call(seconds, self.finish, key)

    def abort(self, tasks: tuple[tuple[TaskId, int], ...]) -> None:
        gone = set(tasks)
        self.queue = [work for work in self.queue if (work.task, work.attempt) not in gone]
        for key in gone:
            self.running.pop(key, None)
        self.outbox = {n: entry for n, entry in self.outbox.items() if (entry[0], entry[1]) not in gone}
        self.start()

    def finish(self, key: tuple[TaskId, int]) -> None:
        work = self.running.get(key)
        if work is None or not self.alive:
            return
        if self.world.now < self.paused:
            self.world.call(self.paused - self.world.now, self.finish, key)
            return
        del self.running[key]
        self.executed += 1
        self.coordinator.executed[key[0]] = self.coordinator.executed.get(key[0], 0) + 1
        task, shape, where = work.task, work.shape, work.task[1:]
        if where == shape.killer:
            self.world.note("killer task", task, "takes", self.name)
            self.die()
            return
        tries = self.coordinator.tries
        if where == shape.poison or where in shape.bad or tries.get(task, 0) < shape.flaky.get(where, 0):
            tries[task] = tries.get(task, 0) + 1
            error = TaskError("exception", "ValueError", f"planted in {tuple(map(int, where))}")
            self.deliver(task, key[1], lambda name: ev.TaskFailed(name, task, key[1], error))
        else:
            try:
                self.deliver(task, key[1], self.execute(work))
            except InputLost as lost:
                kind = "input-wrong" if isinstance(lost, InputWrong) else "input-lost"
                error, nodes = TaskError(kind, "OSError", "cannot read"), lost.args
                self.deliver(task, key[1], lambda name: ev.TaskFailed(name, task, key[1], error, nodes))
        self.start()

    def deliver(self, task: TaskId, attempt: int, make: Callable[[str], ev.Event]) -> None:
        self.sent += 1
        self.outbox[self.sent] = (task, attempt, make)
        if self.welcome:
            self.say(make(self.name), self.sent)

    def execute(self, work: Work) -> Callable[[str], ev.Event]:
        """Run the task on what it reads; raises InputLost."""
        (job, stage, kind, index), attempt, shape, node = work.task, work.attempt, work.shape, self.node
        task = work.task
        if kind == Kind.PLAN:
            before = work.previous
            planned = jobs.plan(
                shape,
                stage,
                self.read(job, before.outputs),
                self.read(job, before.inputs),
                before.setup,
                before.counters,
            )
            refs = [*before.outputs, *before.inputs]
            splits = node.store(job, stage, kind, planned.splits)
            inputs = tuple(refs[i] for i in planned.shares)
            plan = StagePlan(f"s{stage}", planned.maps, planned.reduces, planned.setup, splits, inputs, planned.last)
            return lambda name: ev.PlanDone(name, task, attempt, plan)
        if kind == Kind.FINISH:
            before = work.previous
            self.read(job, work.plan.inputs)
            outputs, inputs = self.read(job, before.outputs), self.read(job, before.inputs)
            value = jobs.finish(shape, work.plan.setup, outputs, inputs, before.counters)
            return lambda name: ev.FinishDone(name, task, attempt, value)
        plan = work.plan
        shared = self.read(job, plan.inputs)
        if kind == Kind.MAP:
            (splits,) = self.read(job, [plan.splits])
            parts = jobs.map_task(shape, stage, index, plan.setup, splits, shared)
            output = node.store(job, stage, kind, b"".join(parts))
            output = output._replace(sizes=tuple(map(len, parts))) if output.blob else output
            counters = jobs.map_counters(stage, index)
        else:
            blobs = self.read(job, [output for _, output, _, _ in work.segments])
            segments = [
                (number, blob[offset : offset + size])
                for blob, (number, _, offset, size) in zip(blobs, work.segments, strict=True)
            ]
            output = node.store(job, stage, kind, jobs.reduce_task(stage, index, plan.setup, segments, shared))
            counters = None
        done, counts = ((index, attempt, output),), (counters,)
        return lambda name: ev.TasksDone(name, job, stage, int(kind), done, counts if counters else ())

    def read(self, job: int, outputs: Any) -> list[bytes]:
        """Bytes of blobs, from whatever node holds them."""
        found, lost = [], dict[str, None]()
        for output in outputs:
            if output.blob is None:
                found.append(b"")
                continue
            node = self.coordinator.nodes[output.node]
            near = node is self.node or (node.serves and not self.cut)
            data = node.disk.get((job, output.stage, output.kind), {}).get(output.blob.hash) if near else None
            if data is None:
                lost[output.node] = None
            elif mix(data) != output.blob.hash:
                raise InputWrong(output.node)
            found.append(data or b"")
        if lost:
            raise InputLost(*lost)
        return found

    def release(self, job: int, units: tuple[tuple[int, int], ...]) -> None:
        disk = self.node.disk
        for unit in [u for u in disk if u[0] == job and (not units or u[1:] in units)]:
            del disk[unit]

    def keep(self, below: int, jobs: tuple[tuple[int, int, tuple[tuple[int, int], ...]], ...]) -> None:
        """Make up for the releases that this node missed."""
        living = {job: (stage, units) for job, stage, units in jobs}
        for job, stage, kind in list(self.node.disk):
            if job < below and (job not in living or (stage < living[job][0] and (stage, kind) not in living[job][1])):
                del self.node.disk[job, stage, kind]

    # ------------------------------------------------------------------------------------------------ disasters

    def die(self) -> None:
        """SIGKILL; somebody starts another process on the node a little later."""
        if not self.alive:
            return
        self.alive = False
        self.world.note("killed", self.name)
        after = self.world.rng.choice((0.2, 1.0, 4.0))
        self.world.call(after, self.replace)

    def replace(self) -> None:
        self.node.workers.remove(self)
        self.coordinator.start_worker(self.node, self.slots, self.types)

    def pause(self, seconds: float) -> None:
        self.world.note("paused", self.name, f"{seconds:.1f} s")
        self.paused = self.wakes = self.world.now + seconds

    def disconnect(self, seconds: float) -> None:
        self.world.note("cut off", self.name, f"{seconds:.1f} s")
        self.cut = True
        self.wakes = max(self.wakes, self.world.now + seconds)
        self.world.call(seconds, self.reconnect)

    def reconnect(self) -> None:
        self.cut = False
