"""Each check can fail: break what it guards, and be told."""

import pytest

from mapreduce.scheduler import invariants
from mapreduce.scheduler.invariants import Broken
from mapreduce.scheduler.phase import NOTHING

from .desk import REDUCE, mapping


def stage(desk):
    return desk.scheduler.state.jobs[1].stage


def worker(desk):
    return desk.scheduler.state.fleet.get("w")


BREAKS = {
    "done counts": lambda d: setattr(stage(d).maps, "done", 1),
    "running counts": lambda d: setattr(stage(d).maps, "running", 5),
    "ready counts": lambda d: setattr(stage(d).maps, "ready", 0),
    "a task runs if and only if a worker holds it": lambda d: (
        worker(d).held.clear() or setattr(worker(d), "in_flight", 0)
    ),
    "a worker's load is what it holds": lambda d: setattr(worker(d), "in_flight", 7),
    "a task has an output if and only if it is done": lambda d: stage(d).maps.outputs.__setitem__(5, NOTHING),
    "slots are counted": lambda d: setattr(d.scheduler.state.fleet, "slots", 9),
    "hungry workers are listed": lambda d: d.scheduler.state.fleet.hungry.__setitem__("w", worker(d)),
    "only one phase of a job is open": lambda d: stage(d).reduces.open(),
    "every task that can run is found": lambda d: setattr(stage(d).maps, "cursor", 6),
    "jobs with ready tasks are in the queue": lambda d: d.scheduler.state.policy.active.clear(),
    "queued jobs are found": lambda d: d.scheduler.state.policy.heaps["x", ""].clear(),
    "live jobs are not listed as ended": lambda d: d.scheduler.state.ended.__setitem__(1, None),
    "backups belong to running tasks": lambda d: stage(d).maps.backups.__setitem__(5, 9),
    "attempt numbers lie under the fence": lambda d: stage(d).maps.attempts.__setitem__(5, 1 << 40),
    "nodes know their workers": lambda d: d.scheduler.state.fleet.nodes["n"].workers.clear(),
}


@pytest.mark.parametrize("promise", BREAKS)
def test_a_broken_state_is_told(promise):
    desk = mapping(9, 2, slots=3)
    invariants.check(desk.scheduler.state)
    BREAKS[promise](desk)
    with pytest.raises(Broken, match=promise):
        invariants.check(desk.scheduler.state)


def test_a_free_slot_beside_a_ready_task_is_told():
    desk = mapping(9, slots=1)
    worker(desk).slots = 2
    desk.scheduler.state.fleet.slots = 2
    desk.scheduler.state.fleet.weigh(worker(desk))
    with pytest.raises(Broken, match="a free slot does not wait"):
        invariants.check(desk.scheduler.state)


def test_reduces_that_start_early_are_told():
    desk = mapping(2, 2)
    desk.done()
    desk.done()
    assert any(task.kind is REDUCE for task, _ in desk.held["w"])
    stage(desk).maps.lose(0)
    with pytest.raises(Broken, match="reduces start when all maps are done"):
        invariants.check(desk.scheduler.state)
