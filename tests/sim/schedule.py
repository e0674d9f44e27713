"""One schedule: draw a world, jobs and disasters from a seed, run it to the end, and look at what came of it."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from mapreduce.scheduler import events as ev
from mapreduce.scheduler.model import JobSpec, JobState, Limits

from .coordinator import Coordinator, require
from .jobs import draw, sequential
from .machines import Node, Worker
from .world import World, draw_faults

BOUND = 60.0
"""Simulated seconds within which every job ends once the faults have stopped, and in addition three times the work of
all jobs on one slot; a job with a task that kills its workers may start over each time, as often as the settings let
it."""


@dataclass
class Outcome:
    seed: int
    events: int
    seconds: float
    jobs: int
    crashes: int
    executed: int
    tasks: int


class Schedule:
    """The actors outside of the coordinator: clients, and what breaks machines."""

    def __init__(self, seed: int, log: list[str] | None = None) -> None:
        self.seed = seed
        world = self.world = World(seed)
        world.log = log
        rng = world.rng
        world.faults = draw_faults(rng)
        if world.faults.until:
            later = random.Random(f"rot, store, clock {seed}")  # apart: older seeds keep their stories
            rot = later.choice((0.0, 0.0, 0.0, 0.2, 1.0))
            store, clock = later.choice((0.0, 0.0, 0.0, 0.1, 0.5)), later.choice((0.0, 0.0, 0.0, 0.2))
            world.faults = replace(world.faults, rot=rot, store=store, clock=clock)
        world.note("faults", world.faults)
        self.coordinator = Coordinator(world)
        self.cancelled: set[bytes] = set()
        self.wanted: dict[bytes, JobSpec] = {}
        types = ["a"] if rng.random() < 0.5 else ["a", "b"]
        for n in range(rng.choice((1, 2, 3))):
            node = Node(f"n{n}")
            self.coordinator.nodes[node.name] = node
            for _ in range(rng.choice((1, 1, 2))):
                known = types if n == 0 else [rng.choice(types)]
                slots = rng.choice((1, 1, 2, 3))
                world.call(rng.uniform(0, 0.5), self.start, node, slots, dict.fromkeys(known, "1"))
        for n in range(rng.choice((1, 1, 2, 3))):
            world.call(rng.uniform(0, 1.5), self.submit, b"client%d" % n, self.job(n, rng.choice(types), rng))
        world.call(0.1, self.disaster)

    def start(self, node: Node, slots: int, types: dict[str, str]) -> None:
        self.coordinator.start_worker(node, slots, types)

    def job(self, number: int, type: str, rng: random.Random) -> JobSpec:
        shape = draw(self.seed * 10 + number, type, rng)
        params = b"job%d" % number
        self.coordinator.shapes[params] = shape
        self.world.note("job", params, shape)
        return JobSpec(
            0, type, params, "1", 0, rng.choice((0, 0, 0, 5)), rng.choice((1.0, 1.0, 3.0)), "",
            Limits(attempts=3, skip_bad=shape.skip_bad),
        )  # fmt: skip

    def submit(self, client: bytes, spec: JobSpec) -> None:
        """Ask until there is an answer, and never again after."""
        self.wanted[client] = spec
        if client in self.coordinator.accepted:
            return
        self.world.send(self.coordinator.receive, ev.Submitted(client, client.decode(), spec, 1.0), None, 0)
        self.world.call(1.0, self.submit, client, spec)

    def disaster(self) -> None:
        """Ten times a second, something may break."""
        world, rng, faults = self.world, self.world.rng, self.world.faults
        if not world.troubled:
            for worker in self.coordinator.workers:
                worker.paused = min(worker.paused, world.now)
            return
        world.call(0.1, self.disaster)
        workers = [worker for worker in self.coordinator.workers if worker.alive]

        def victim(rate: float) -> Worker | None:
            return rng.choice(workers) if workers and world.chance(rate * 0.1) else None

        if worker := victim(faults.kill):
            worker.die()
        if worker := victim(faults.pause):
            worker.pause(rng.choice((0.3, 1.0, 2.5, 5.0)))
        if worker := victim(faults.cut):
            worker.disconnect(rng.choice((0.3, 1.0, 2.5, 5.0)))
        if worker := victim(faults.drain):
            world.note("draining", worker.name)
            worker.draining = True
            worker.say(ev.WorkerDraining(worker.name))
            world.call(3.0, self.start, worker.node, worker.slots, worker.types)
        if worker := victim(faults.wipe):
            world.note("wiped", worker.node.name)
            worker.node.disk.clear()
            for other in list(worker.node.workers):
                other.die()
        if world.chance(faults.rot * 0.1):
            rng.choice(list(self.coordinator.nodes.values())).rot(rng)
        if world.chance(faults.store * 0.1):
            self.coordinator.full_until = world.now + rng.choice((0.3, 1.0, 3.0))
            world.note("the store cannot be written until", f"{self.coordinator.full_until:.1f}")
        if world.chance(faults.clock * 0.1):
            self.coordinator.skew += rng.choice((-2.0, -0.5, 0.5, 4.0, 60.0))
            world.note("the clock is", f"{self.coordinator.skew:+.1f} s")
        if world.chance(faults.crash * 0.1) and self.coordinator.scheduler is not None:
            self.coordinator.crash()
        if world.chance(faults.cancel * 0.1) and self.coordinator.accepted:
            client = rng.choice(sorted(self.coordinator.accepted))
            self.cancelled.add(client)
            world.send(
                self.coordinator.receive, ev.CancelRequested(self.coordinator.accepted[client], "why not"), None, 0
            )

    def over(self) -> bool:
        """All jobs are in, all have ended, and the faults are past."""
        coordinator = self.coordinator
        if self.world.troubled or coordinator.scheduler is None or not self.wanted or any(coordinator.unsaved):
            return False
        if len(coordinator.accepted) < len(coordinator.shapes):
            return False
        state = coordinator.scheduler.state
        return len(state.ended) == len(coordinator.accepted)

    def bound(self) -> float:
        """Simulated seconds that this schedule may take after its faults."""
        work = sum(sequential(shape).tasks * shape.slow * 2.0 for shape in self.coordinator.shapes.values())
        killers = any(shape.killer for shape in self.coordinator.shapes.values())
        return BOUND + work * (3.0 + (self.coordinator.settings.max_losses + 1 if killers else 0.0))

    def run(self) -> Outcome:
        """Run to the end and look at it; raises AssertionError (with the promise that was broken)."""
        world, coordinator = self.world, self.coordinator
        bound = self.bound()
        ended = world.run(self.over, world.faults.until + bound, lambda: None)
        if not ended:
            stuck: list[str] = []
            if coordinator.scheduler is not None:
                for job in coordinator.scheduler.jobs():
                    stuck += coordinator.scheduler.explain(job.job, coordinator.clock)
            require(False, f"every job ends within {bound:g} s of the last fault", stuck, coordinator.accepted)
        after = world.now - world.faults.until
        self.look()
        world.run(lambda: False, world.now + 4.0, lambda: None)
        self.look_idle()
        for worker in coordinator.workers:  # whoever comes back learns what was deleted while it was away
            if worker.alive:
                worker.hello()
        world.run(lambda: False, world.now + 4.0, lambda: None)
        self.look_clean()
        tasks = sum(truth.tasks for truth in coordinator.truths.values())
        executed = sum(coordinator.executed.values())
        return Outcome(
            self.seed, coordinator.events, after, len(coordinator.shapes), coordinator.crashes, executed, tasks
        )

    @property
    def calm(self) -> bool:
        """Nothing was broken, neither from outside nor by a job."""
        return not self.world.faults.until and not any(shape.killer for shape in self.coordinator.shapes.values())

    def look(self) -> None:
        """Every job has the end that it should have."""
        coordinator = self.coordinator
        scheduler = coordinator.scheduler
        assert scheduler is not None
        coordinator.compare()
        for client, number in coordinator.accepted.items():
            view = scheduler.snapshot(number)
            shape = coordinator.shapes[view.spec.params]
            require(view.spec.params == self.wanted[client].params, "the client got its own job", client, view)
            if view.state is JobState.CANCELLED:
                require(client in self.cancelled, "only those jobs are cancelled that somebody cancelled", view)
                continue
            truth = coordinator.truth(number)
            if view.state is JobState.FAILED:
                assert view.error is not None
                planted = shape.poison is not None and str(shape.poison) in view.error.message
                planted |= shape.doomed and any(str(key) in view.error.message for key in shape.bad)
                # Whose workers die of a task may lose their nodes with them, and start over until that is too often.
                killed = view.error.type in ("WorkerLost", "NodesLost")
                killed &= any(s.killer for s in coordinator.shapes.values())
                require(planted or killed, "jobs fail only for their own faults", view.error, shape)
                continue
            require(
                shape.poison is None and shape.killer is None, "a task that cannot work does not end well", view, shape
            )
            require(not shape.doomed, "no more splits are set aside than may be", view, shape)
            told = [(skip.stage, skip.index) for skip in view.skipped]
            require(told == truth.skipped, "what was set aside is listed, in order", told, truth.skipped)
            for stage, index, error in view.skipped:
                require(str((stage, 1, index)) in error.message, "each with its own error", stage, index, error)
            require(view.value == truth.value, "the result is what one process computes", view, truth)
            require(
                view.counters == truth.counters, "counters count accepted attempts once", view.counters, truth.counters
            )
            if self.calm:
                self.look_calm(number)

    def look_calm(self, number: int) -> None:
        """In a world without faults, nothing is computed twice but what failed by itself, and stragglers."""
        coordinator = self.coordinator
        shape = coordinator.shapes[coordinator.scheduler.spec(number).params]  # type: ignore[union-attr]
        for task, times in coordinator.executed.items():
            if task.job == number:
                most = 2 + shape.flaky.get(task[1:], 0) + 2 * (task[1:] in shape.bad)
                require(times <= most, "nothing runs more often than it must", task, times)

    def look_idle(self) -> None:
        """A while after the end, all is quiet."""
        for worker in self.coordinator.workers:
            if worker.alive and not worker.cut and worker.wakes < self.world.now - 3.0:
                require(not worker.holding(), "nobody runs tasks of ended jobs", worker.name)

    def look_clean(self) -> None:
        """Once everybody has come back, the nodes hold what is kept of ended jobs, and nothing else."""
        coordinator = self.coordinator
        assert coordinator.scheduler is not None
        outputs = {number: coordinator.scheduler.snapshot(number).outputs for number in coordinator.accepted.values()}
        for node in coordinator.nodes.values():
            for job, stage, kind in node.disk:
                kept = {(o.stage, o.kind) for o in outputs[job]}
                require((stage, kind) in kept, "what nobody needs is deleted", node.name, job, stage, kind)
        if self.calm:
            for job, left in outputs.items():
                for o in left:
                    there = coordinator.nodes[o.node].disk if o.blob is not None else {}
                    held = there.get((job, o.stage, o.kind), {})
                    require(o.blob is None or o.blob.hash in held, "outputs of ended jobs are kept", job, o)


def simulate(seed: int, log: list[str] | None = None) -> Outcome:
    """Run the schedule of a seed; raises AssertionError when a promise is broken."""
    return Schedule(seed, log).run()
