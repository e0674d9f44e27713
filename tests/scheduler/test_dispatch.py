"""Credit: tiny tasks travel by the hundred, long ones spread, nothing is hoarded."""

from mapreduce.scheduler import events as ev
from mapreduce.scheduler.model import StagePlan

from .desk import MAP, REDUCE, Desk, mapping


def maps(desk, worker="w"):
    return [task.index for task, _ in desk.held.get(worker, ()) if task.kind is MAP]


def test_the_first_tasks_go_one_a_slot():
    desk = mapping(100, slots=3)
    assert len(maps(desk)) == 3


def test_credit_grows_while_tasks_come_back_quickly():
    desk = mapping(12_000)
    deepest = 0
    for _ in range(30):
        n = len(maps(desk))
        desk.done(n=n, after=25e-6 * n)
        deepest = max(deepest, len(maps(desk)))
    assert deepest == 256


def test_credit_is_a_time_not_a_number():
    """Tasks of 5 ms: about as many as `lookahead` (50 ms) holds."""
    desk = mapping(12_000)
    for _ in range(60):
        n = len(maps(desk))
        desk.done(n=min(n, 3), after=0.005 * min(n, 3))
    assert 5 <= len(maps(desk)) <= 14


def test_long_tasks_are_never_sent_ahead():
    desk = mapping(100, slots=2)
    for _ in range(20):
        desk.done(after=1.0)
        assert len(maps(desk)) == 2


def test_of_a_rounds_few_tasks_of_some_milliseconds_the_next_one_is_there_already():
    desk = mapping(2, reduces=0)
    for _ in range(2):
        desk.done(after=0.003)
    desk.planned(StagePlan("s", 2, 0, b"setup"))
    assert maps(desk) == [0, 1]


def test_credit_shrinks_when_tasks_turn_long():
    desk = mapping(12_000)
    for _ in range(20):
        desk.done(n=len(maps(desk)), after=1e-4)
    assert len(maps(desk)) > 100
    while len(maps(desk)) > 1:
        desk.done(after=2.0)
    for _ in range(5):
        desk.done(after=2.0)
        assert len(maps(desk)) == 1


def test_the_tail_spreads():
    """With few tasks left, a worker gets no more than its share of them."""
    desk = Desk()
    desk.join("w", slots=1)
    desk.submit()
    for other in ("a", "b", "c"):
        desk.join(other)
    desk.planned(StagePlan("s", 400, 0, b""))
    for _ in range(40):
        for worker in ("w", "a", "b", "c"):
            if n := len(maps(desk, worker)):
                ready = desk.scheduler.snapshot(1).ready
                desk.done(worker, n=n, after=1e-4)
                assert len(maps(desk, worker)) <= max(1, ready // 8 + 2)


def test_few_tasks_go_to_all_idle_workers():
    desk = Desk()
    desk.join("w", slots=4)
    desk.join("v", slots=4)
    desk.submit()
    holder = next(worker for worker, held in desk.held.items() if held)
    desk.planned(StagePlan("s", 4, 0, b""), holder)
    assert len(maps(desk, "w")) == len(maps(desk, "v")) == 2


def test_small_messages_are_saved_up():
    """A worker with plenty to do is sent more only when half of it is done."""
    desk = mapping(12_000)
    for _ in range(30):
        desk.done(n=len(maps(desk)), after=1e-4)
    deep = len(maps(desk))
    sent = 0
    for _ in range(deep):
        desk.done(after=25e-6)
        sent += len(desk.all(ev.Assign))
    assert sent <= 4


def test_what_waits_behind_a_long_task_is_called_back_for_an_idle_worker():
    desk = mapping(300, hoard=1.0)
    for _ in range(10):
        if len(maps(desk)) < 100:
            desk.done(n=len(maps(desk)), after=1e-3)
    stuck = maps(desk)
    assert len(stuck) > 20
    while desk.scheduler.snapshot(1).ready:  # somebody else does the rest
        if "v" not in desk.held:
            desk.join("v")
        desk.done("v", n=len(maps(desk, "v")), after=1e-3)
    while len(maps(desk, "v")):
        desk.done("v", n=len(maps(desk, "v")), after=1e-3)
    if len(maps(desk)) > 1:
        for _ in range(4):
            desk.beat("w", after=0.5)
            desk.beat("v")
            desk.tick()
    assert len(maps(desk)) == 1 and len(maps(desk, "v")) >= 1


def test_a_failed_task_goes_to_another_worker():
    desk = mapping(1)
    desk.join("v")
    desk.fail("w")
    assert maps(desk, "v") == [0] and not maps(desk, "w")


def test_three_failures_on_three_workers():
    desk = mapping(1)
    desk.join("v")
    desk.join("u")
    failed = []
    for _ in range(3):
        worker = next(worker for worker in "wvu" if maps(desk, worker))
        failed.append(worker)
        desk.fail(worker)
    assert sorted(failed) == ["u", "v", "w"]
    assert desk.state() == "failed"


def test_a_failed_task_does_not_wait_for_ever_for_another_worker():
    desk = mapping(3, patience=5.0)
    desk.join("v")
    busy = maps(desk, "v")
    desk.fail("w")
    assert maps(desk, "w") == [2] and busy == maps(desk, "v")
    desk.done("w", after=1.0)
    assert not maps(desk, "w")
    for _ in range(5):
        desk.beat("w", after=1.0)
        desk.beat("v")
        desk.tick()
    assert maps(desk, "w") == [0]


def test_with_one_worker_it_tries_again_at_once():
    desk = mapping(1)
    desk.fail("w")
    assert maps(desk, "w") == [0]


def straggle(desk):
    """Three of four maps are done in a second; the fourth hangs."""
    for _ in range(3):
        desk.done("v" if len(maps(desk, "v")) else "w", after=0.3)
    return (maps(desk, "w") and "w") or "v"


def backed_up():
    desk = mapping(4, slots=1)
    desk.join("v")
    slow = straggle(desk)
    other = "v" if slow == "w" else "w"
    for _ in range(8):
        desk.beat("w", after=0.5)
        desk.beat("v")
        desk.tick()
    return desk, slow, other


def test_a_straggler_gets_a_backup_and_the_first_result_wins():
    desk, slow, other = backed_up()
    (index,) = maps(desk, slow)
    assert maps(desk, other) == [index]
    desk.done(other)
    assert desk.all(ev.Abort)[0].worker == slow
    assert desk.scheduler.snapshot(1).maps_done == 4


def test_the_first_may_win_over_its_backup():
    desk, slow, other = backed_up()
    desk.done(slow)
    assert desk.all(ev.Abort)[0].worker == other
    assert desk.scheduler.snapshot(1).maps_done == 4


def test_a_backup_goes_on_when_the_first_dies():
    desk, slow, other = backed_up()
    held = list(desk.held[other])
    desk.do(ev.WorkerLeft(slow, "killed"))
    assert desk.held[other] == held and not desk.all(ev.Assign)
    desk.done(other)
    assert desk.scheduler.snapshot(1).maps_done == 4


def test_no_backup_for_a_reduce_whose_maps_are_lost():
    """It may have read everything, and goes on; a second one could not."""
    desk = mapping(1, 4, node_grace=1.0, lease=1000.0)
    desk.done(sizes=(5, 5, 5, 5))
    desk.join("v", "m")
    for _ in range(3):
        desk.done("w", kind=REDUCE, after=0.1)
    (slow,) = desk.held["v"]
    desk.do(ev.WorkerLeft("w", "killed"))
    desk.tick(after=2.0)
    assert desk.state() == "mapping"
    desk.join("u", "k", slots=2)
    for _ in range(8):
        desk.beat("v", after=0.5)
        desk.beat("u")
        desk.tick()
    assert [task.kind for task, _ in desk.held["u"]] == [MAP] and desk.held["v"] == [slow]


def test_no_backups_when_told_so():
    desk = mapping(4, speculate=False)
    desk.join("v")
    straggle(desk)
    for _ in range(8):
        desk.beat("w", after=0.5)
        desk.beat("v")
        desk.tick()
    assert len(maps(desk, "w")) + len(maps(desk, "v")) == 1


def test_a_long_job_is_not_passed_over_for_a_tiny_one():
    """Tiny tasks keep the worker full; the other job's turn comes as soon as a slot is free, and nothing is sent
    before it."""
    desk = mapping(12_000)
    for _ in range(20):
        desk.done(n=len(maps(desk)), after=1e-3)
    full = len(maps(desk))
    assert full > 20
    desk.submit()
    desk.done(n=full - 1, after=1e-3)
    assert len(desk.held["w"]) == 1 and not desk.all(ev.Assign)
    desk.done(after=1e-3)
    assert [task.job for task, _ in desk.held["w"]][:1] == [2]


def rounds(maps_of_a_round: int, seconds: float) -> Desk:
    """Workers `w` and `v` in the second of two rounds that are alike, of tasks that take so long."""
    desk = Desk()
    desk.join("w")
    desk.join("v")
    desk.submit()
    for number in range(2):
        holder = next(worker for worker, held in desk.held.items() if held)
        desk.planned(StagePlan(f"round {number}", maps_of_a_round, 1, b""), holder)
        for _ in range(0 if number else maps_of_a_round):
            desk.done(next(worker for worker in ("w", "v") if maps(desk, worker)), sizes=(5,), after=seconds)
        if not number:
            desk.done(next(worker for worker, held in desk.held.items() if held), kind=REDUCE, sizes=(5,))
    return desk


def test_a_slot_has_the_next_task_of_a_round_while_it_runs_one():
    desk = rounds(4, 0.04)
    assert len(maps(desk, "w")) == len(maps(desk, "v")) == 2


def test_tasks_of_a_second_are_not_queued_behind_each_other():
    desk = rounds(4, 1.0)
    assert len(maps(desk, "w")) == len(maps(desk, "v")) == 1


def test_a_task_is_queued_behind_another_only_while_there_is_one_for_each_slot():
    desk = rounds(3, 0.04)
    assert sorted((len(maps(desk, "w")), len(maps(desk, "v")))) == [1, 1]


def test_a_worker_that_becomes_idle_gets_what_waits_behind_another_at_once():
    desk = rounds(4, 0.04)
    for _ in range(2):
        desk.done("v", sizes=(5,), after=0.01)
    assert len(maps(desk, "w")) == len(maps(desk, "v")) == 1
    assert [action.worker for action in desk.all(ev.Abort)] == ["w"]
