"""Whose turn it is."""

from collections import Counter

from mapreduce.scheduler.model import StagePlan

from .desk import MAP, Desk

# Long tasks, one a slot, so that shares are visible.


def plan_all(desk, jobs, maps=200):
    """All jobs are planned by the one worker that is there; they have many maps."""
    for _ in jobs:
        desk.planned(StagePlan("s", maps, 0, b""), after=1.0)


def running(desk):
    return Counter(task.job for held in desk.held.values() for task, _ in held)


def rotate(desk, rounds, workers=("w",)):
    """Workers finish their maps one after another; counts how many each job got."""
    served = Counter()
    for _ in range(rounds):
        for worker in workers:
            if any(task.kind is MAP for task, _ in desk.held[worker]):
                served[next(task.job for task, _ in desk.held[worker] if task.kind is MAP)] += 1
                desk.done(worker, after=1.0)
            else:
                desk.planned(StagePlan("s", 60, 0, b""), worker, after=1.0)
    return served


def test_higher_priority_goes_first():
    desk = Desk()
    desk.submit(priority=0)
    desk.submit(priority=5)
    desk.join("w")
    assert [task.job for task, _ in desk.held["w"]] == [2]


def test_slots_are_shared_by_weight():
    desk = Desk()
    desk.join("w", slots=8)
    desk.submit(weight=1.0)
    desk.submit(weight=3.0)
    plan_all(desk, (1, 2))
    for _ in range(30):
        desk.done("w", after=1.0)
    share = running(desk)
    assert share[2] == 6 and share[1] == 2


def test_one_slot_is_shared_in_time():
    desk = Desk()
    desk.join("w")
    for _ in range(3):
        desk.submit()
    served = rotate(desk, 33)
    assert max(served.values()) - min(served.values()) <= 2


def test_one_slot_is_shared_in_time_by_weight():
    desk = Desk()
    desk.join("w")
    desk.submit(weight=2.0)
    desk.submit(weight=1.0)
    served = rotate(desk, 62)
    assert abs(served[1] - 2 * served[2]) <= 4


def test_a_newcomer_neither_starves_nor_takes_over():
    desk = Desk()
    desk.join("w")
    desk.submit()
    rotate(desk, 40)
    desk.submit()
    served = rotate(desk, 41)
    assert abs(served[1] - served[2]) <= 3


def test_a_job_of_an_unknown_type_is_in_nobodys_way():
    desk = Desk()
    desk.submit("unknown", priority=9)
    desk.submit("x")
    desk.join("w")
    assert [task.job for task, _ in desk.held["w"]] == [2]


def test_versions_must_fit_when_they_are_given():
    desk = Desk()
    desk.submit("x", version="2")
    desk.join("old", x="1")
    assert not desk.held.get("old")
    desk.join("new", x="2")
    assert desk.held["new"]


def test_many_jobs_cost_no_more_entries_than_they_are():
    desk = Desk(max_jobs=1000)
    desk.join("w")
    for _ in range(20):
        desk.submit()
    rotate(desk, 300)
    heap = desk.scheduler.state.policy.heaps["x", ""]
    assert len(heap) <= 4 * 20 + 65
