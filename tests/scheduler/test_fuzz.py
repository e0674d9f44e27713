"""A worker can say anything. Whatever it says, the scheduler stays sound and goes on."""

import random

import pytest

from mapreduce.scheduler import events as ev
from mapreduce.scheduler import invariants
from mapreduce.scheduler.core import Scheduler
from mapreduce.scheduler.model import Blob, JobSpec, Kind, Limits, Output, StagePlan, TaskError, TaskId
from mapreduce.scheduler.settings import Settings

SEEDS, EVENTS = 60, 150


class Liar:
    """Draws events with fields that are plausible, or not at all; remembers what was assigned, to be plausible."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.seen = []
        self.speaker = ""

    def number(self):
        return self.rng.choice((0, 0, 1, 1, 2, 3, -1, 7, 65536, 65537, 2**31, 2**48))

    def task(self):
        if self.seen and self.rng.random() < 0.85:
            self.speaker, task, attempt = self.rng.choice(self.seen)
            return task, attempt
        return TaskId(self.number(), self.number(), Kind(self.rng.randrange(4)), self.number()), self.number()

    def tasks(self):
        return tuple(self.task() for _ in range(self.rng.randrange(4)))

    def worker(self):
        if self.speaker and self.rng.random() < 0.85:
            return self.speaker
        return self.rng.choice(("a", "b", "c", "nobody"))

    def node(self):
        return self.rng.choice(("n", "m", "nowhere", ""))

    def output(self):
        if self.rng.random() < 0.4:
            return Output()
        sizes = tuple(self.rng.randrange(5) for _ in range(self.rng.randrange(4)))
        return Output(
            Blob(bytes([self.rng.randrange(3)] * 16), sum(sizes)),
            self.node(),
            sizes,
            self.rng.randrange(3),
            self.rng.randrange(4),
        )

    def plan(self):
        inputs = tuple(self.output() for _ in range(self.rng.randrange(3)))
        last = self.rng.random() < 0.3
        maps, reduces = (0, 0) if last else (self.rng.choice((0, 1, 3, -1, 999)), self.rng.choice((0, 1, 2)))
        return StagePlan("s", maps, reduces, b"", self.output(), inputs, last)

    def event(self):
        rng, (task, attempt) = self.rng, self.task()
        choice = rng.randrange(11)
        if choice in (5, 6, 7, 8) and rng.random() < 0.8:
            choice = {Kind.PLAN: 7, Kind.FINISH: 8}.get(task.kind, 5)
        if choice == 0:
            limits = Limits(rng.choice((0, 3, 9, 9)))
            spec = JobSpec(
                0,
                rng.choice("xyz"),
                b"",
                rng.choice(("", "1", "2")),
                0,
                rng.randrange(3),
                rng.choice((0.0, 1.0, 1.0, 2.0)),
                limits=limits,
            )
            return ev.Submitted(b"c", rng.choice(("", "t", "u")), spec)
        if choice == 1:
            return ev.CancelRequested(self.number())
        if choice == 2:
            types = {type: rng.choice("12") for type in "xyz" if rng.random() < 0.7}
            return ev.WorkerJoined(self.worker(), self.node(), rng.choice((1, 2, 5)), types, self.tasks())
        if choice == 3:
            return rng.choice((ev.WorkerLeft, ev.WorkerDraining))(self.worker())
        if choice == 4:
            return ev.Heartbeat(self.worker(), self.tasks())
        if choice in (5, 6):
            done = [(task.index, attempt, self.output())]
            done += [(other.index, number, self.output()) for other, number in self.tasks()]
            counters = tuple(rng.choice((None, {"n": 1})) for _ in done) if rng.random() < 0.5 else ()
            return ev.TasksDone(
                self.worker(), task.job, task.stage, rng.choice((task.kind, 1, 2, 9)), tuple(done), counters
            )
        if choice == 7:
            return ev.PlanDone(self.worker(), task, attempt, self.plan())
        if choice == 8:
            return ev.FinishDone(self.worker(), task, attempt, b"v")
        if choice == 9:
            error = TaskError(rng.choice(("exception", "input-lost", "?")), "E", "m")
            return ev.TaskFailed(
                self.worker(), task, attempt, error, tuple(self.node() for _ in range(rng.randrange(3)))
            )
        return ev.Tick()

    def hear(self, actions):
        for action in actions:
            if isinstance(action, ev.Assign):
                tasks = [(TaskId(action.job, action.stage, Kind(action.kind), i), a) for i, a in action.tasks]
                self.seen += [(action.worker, *task) for task in tasks]
        self.seen = self.seen[-30:]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_that_a_worker_says_unsettles_it(seed):
    liar, now, records = Liar(seed), 0.0, []
    settings = Settings(max_tasks=500, keep_ended=2, lease=4.0, node_grace=3.0)
    scheduler = Scheduler(settings)
    for _ in range(EVENTS):
        now += liar.rng.choice((0.0, 0.1, 0.9))
        event = liar.event()
        actions = scheduler.handle(event, now)
        liar.hear(actions)
        records += [action.record for action in actions if isinstance(action, ev.Persist)]
        try:
            invariants.check(scheduler.state)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, after {event}: {error}") from error
    restored = Scheduler(settings)
    restored.restore(records, now)
    invariants.check(restored.state)
    before, after = (
        [(v.job, v.state, v.stage, v.maps_done, v.counters) for v in s.jobs()] for s in (scheduler, restored)
    )
    assert before == after
