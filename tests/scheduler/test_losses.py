"""What sets jobs back, and how far."""

from mapreduce.scheduler import events as ev
from mapreduce.scheduler import journal
from mapreduce.scheduler.model import Blob, Kind, Output, StagePlan, TaskError, TaskId

from .desk import PLAN, REDUCE, Desk, last, mapping

LOST = TaskError("input-lost", "OSError", "cannot read")


def two(maps=2, reduces=1, **settings):
    """Two workers on two nodes; `w` planned, each holds maps."""
    desk = mapping(maps, reduces, **settings)
    desk.join("v", "m")
    return desk


def holder(desk, kind):
    return next(worker for worker, held in desk.held.items() if any(task.kind is kind for task, _ in held))


# ------------------------------------------------------------------------------------------------------------- workers


def test_a_silent_worker_is_expelled_and_its_tasks_go_on():
    desk = two(lease=5.0)
    for _ in range(11):
        desk.beat("v", after=0.5)
        desk.tick()
    assert [action.worker for action in desk.all(ev.Expel)] == ["w"]
    desk.done("v")
    assert [task.index for task, _ in desk.held["v"]] == [0]
    assert desk.held["v"][0][1] == 2


def test_any_word_renews_the_lease():
    desk = mapping(100, lease=5.0)
    for _ in range(5):
        desk.done(after=4.0)
        desk.tick()
        assert not desk.all(ev.Expel)


def test_a_coordinator_that_was_away_blames_nobody():
    """It was stopped for a minute; the workers' heartbeats wait in its socket."""
    desk = two(lease=5.0)
    desk.beat("w")
    desk.beat("v")
    desk.tick(after=60.0)
    assert not desk.all(ev.Expel)
    desk.beat("w", after=0.01)
    desk.beat("v")
    for _ in range(8):
        desk.beat("w", after=0.5)
        desk.tick()
        assert not desk.all(ev.Expel)
    for _ in range(8):
        desk.beat("w", after=0.5)
        desk.tick()
    assert desk.scheduler.state.fleet.get("v") is None


def test_a_clock_that_jumps_back_stands_still():
    desk = mapping(3)
    desk.now = 100.0
    desk.beat()
    desk.now = 50.0
    desk.done()
    assert 100.0 <= desk.scheduler.state.now < 100.001


def test_a_late_result_does_not_count():
    desk = two()
    held = desk.held["w"][0]
    desk.do(ev.WorkerLeft("w", "killed"))
    desk.join("w2", "n")
    desk.results("w2", [held])
    assert desk.scheduler.snapshot(1).maps_done == 0 and not desk.persisted(journal.Done)


def test_whoever_is_not_registered_is_told_so():
    desk = mapping(1)
    held = desk.held["w"][0]
    desk.do(ev.WorkerLeft("w"))
    for event in (
        ev.Heartbeat("w", (held,)),
        ev.TasksDone("w", 1, 0, 1, ((0, 1, Output()),)),
        ev.TaskFailed("w", *held, LOST),
    ):
        assert desk.do(event) == [ev.Expel("w", "not registered")]


def test_a_draining_worker_gets_nothing_more():
    desk = mapping(5)
    desk.do(ev.WorkerDraining("w"))
    desk.done()
    assert not desk.held["w"]
    desk.do(ev.WorkerLeft("w"))
    desk.join("v")
    assert desk.held["v"]


def test_a_task_that_the_worker_does_not_name_twice_is_lost():
    desk = mapping(1, assign_grace=2.0)
    held = desk.held["w"].pop()
    desk.beat(after=1.0)
    desk.beat(after=0.5)
    assert not desk.all(ev.Abort)  # it may still be on its way
    desk.beat(after=1.0)
    assert not desk.all(ev.Abort)
    desk.beat(after=1.0)
    assert desk.all(ev.Abort)[0].tasks == (held,)
    assert desk.held["w"] == [(held[0], 2)]


def test_a_task_that_is_named_again_is_not_lost():
    desk = mapping(1, assign_grace=2.0)
    held = list(desk.held["w"])
    for named in ([], held, [], held, []):
        desk.held["w"] = list(named)
        desk.beat(after=3.0)
        assert not desk.all(ev.Assign) and not desk.all(ev.Abort)


def test_a_worker_is_told_to_drop_what_it_should_not_have():
    desk = mapping(1)
    stranger = (TaskId(9, 0, Kind.MAP, 3), 1)
    desk.held["w"].append(stranger)
    desk.beat()
    assert desk.all(ev.Abort) == [ev.Abort("w", (stranger,))]


def test_a_task_that_takes_its_workers_along_fails_its_job():
    desk = mapping(1, max_losses=3)
    for n in range(4):
        assert desk.state() == "mapping"
        worker = next(worker for worker, held in desk.held.items() if held)
        desk.held[worker].clear()
        desk.do(ev.WorkerLeft(worker, "killed"), after=1.0)
        if desk.state() == "mapping":
            desk.join(f"w{n}", "n")
    assert desk.scheduler.snapshot(1).error.type == "WorkerLost"


def test_what_waits_behind_a_slot_is_not_charged():
    desk = mapping(500)
    for _ in range(6):
        desk.done(n=len(desk.held["w"]), after=1e-3)
    held = [task.index for task, _ in desk.held["w"]]
    assert len(held) > 10
    desk.do(ev.WorkerLeft("w", "killed"))
    charges = desk.scheduler.state.jobs[1].stage.maps.charges
    assert list(charges) == held[:1] and charges[held[0]].losses == 1


# ---------------------------------------------------------------------------------------------------------- coming back


def test_a_worker_that_comes_back_keeps_its_task():
    """A lost connection: a new name, the same attempt; nothing runs twice."""
    desk = mapping(1)
    held = desk.held["w"][0]
    desk.join("w'", "n", running=[held])
    assert not desk.all(ev.Abort) and not desk.all(ev.Assign)
    desk.do(ev.WorkerLeft("w", "replaced"))
    assert desk.scheduler.snapshot(1).running == 1
    desk.results("w'", [held])
    assert desk.scheduler.snapshot(1).maps_done == 1


def test_also_after_it_was_given_up():
    desk = mapping(1)
    held = desk.held["w"][0]
    desk.do(ev.WorkerLeft("w", "lease"))
    desk.join("w'", "n", running=[held])
    assert not desk.all(ev.Abort) and desk.scheduler.snapshot(1).running == 1


def test_but_not_when_somebody_else_has_it_by_now():
    desk = mapping(1)
    held = desk.held["w"][0]
    desk.do(ev.WorkerLeft("w", "lease"))
    desk.join("v")
    desk.join("w'", "n", running=[held])
    assert desk.all(ev.Abort) == [ev.Abort("w'", (held,))]


def test_a_restarted_coordinator_takes_running_tasks_over():
    desk = mapping(3, slots=2)
    held = list(desk.held["w"])
    desk = desk.restart()
    desk.join("w'", "n", slots=3, running=held)
    assert not desk.all(ev.Abort)
    assert [task.index for task, _ in desk.held["w'"]] == [2]
    desk.results("w'", held)
    assert desk.scheduler.snapshot(1).maps_done == 2


def test_a_failure_that_is_told_again_counts_once():
    """Its acknowledgement was lost; the worker comes back and says it again."""
    desk = mapping(1)
    task, attempt = desk.held["w"][0]
    desk.do(ev.WorkerDraining("w"))
    desk.fail("w")
    desk.join("w'", "n", running=[(task, attempt)])
    assert desk.all(ev.Abort) == [ev.Abort("w'", ((task, attempt),))]
    desk.do(ev.TaskFailed("w'", task, attempt, TaskError("exception", "E", "again")))
    assert desk.scheduler.state.jobs[1].stage.maps.charges[0].failures == 1


def test_a_hello_said_twice_changes_nothing():
    desk = mapping(2, slots=2)
    held = list(desk.held["w"])
    desk.join("w", "n", slots=2, running=())
    assert desk.held["w"] == held and not desk.all(ev.Assign)


# ------------------------------------------------------------------------------------------------------------- outputs


def reducing(**settings):
    """Two maps, done on two nodes; one reduce, running on one of them."""
    desk = two(**settings)
    desk.done("w", sizes=(5,))
    desk.done("v", sizes=(5,))
    assert desk.state() == "reducing"
    return desk


def test_outputs_of_a_node_are_given_up_after_its_grace():
    desk = reducing(node_grace=10.0, lease=1000.0)
    runner = holder(desk, REDUCE)
    other = "v" if runner == "w" else "w"
    desk.do(ev.WorkerLeft(other, "killed"))
    desk.tick(after=9.0)
    assert desk.state() == "reducing"
    desk.tick(after=1.5)
    assert desk.state() == "mapping"
    assert desk.persisted(journal.Lost)
    desk.done(runner, kind=REDUCE, sizes=(5,))  # it had read everything: the lost map is not needed any more
    assert desk.state() == "planning"


def test_a_node_that_comes_back_in_time_has_lost_nothing():
    desk = reducing(node_grace=10.0, lease=1000.0)
    other = "v" if holder(desk, REDUCE) == "w" else "w"
    node = desk.node(other)
    desk.do(ev.WorkerLeft(other, "killed"))
    desk.tick(after=9.0)
    desk.join("back", node)
    desk.tick(after=9.0)
    assert desk.state() == "reducing"


def test_a_dead_node_is_given_up_at_once_when_a_task_could_not_read():
    desk = reducing()
    runner = holder(desk, REDUCE)
    other = "v" if runner == "w" else "w"
    node = desk.node(other)
    desk.do(ev.WorkerLeft(other, "killed"), after=1.0)
    desk.fail(runner, kind=REDUCE, error=LOST, lost=[node], after=1.0)
    assert desk.state() == "mapping"
    assert not desk.scheduler.state.jobs[1].stage.reduces.charges[0].failures
    desk.done(runner, sizes=(5,))
    assert desk.state() == "reducing"
    desk.done(runner, kind=REDUCE)
    assert desk.state() == "planning"


def test_a_living_node_is_believed_once():
    desk = reducing()
    runner = holder(desk, REDUCE)
    node = desk.node("v" if runner == "w" else "w")
    desk.fail(runner, kind=REDUCE, error=LOST, lost=[node], after=1.0)
    assert desk.state() == "reducing"
    desk.fail(holder(desk, REDUCE), kind=REDUCE, error=LOST, lost=[node], after=1.0)
    assert desk.state() == "mapping"


def test_old_news_about_a_node_is_no_news():
    """Two reduces started before the node was given up; the second report must not undo the maps that ran again."""
    desk = two(reduces=2)
    desk.done("w", sizes=(5, 5))
    desk.done("v", sizes=(5, 5))
    reduces = {worker: held[0] for worker, held in desk.held.items()}
    desk.join("u", "k")
    desk.do(ev.WorkerLeft("w", "killed"), after=1.0)
    task, attempt = reduces["v"]
    desk.held["v"].clear()
    desk.do(ev.TaskFailed("v", task, attempt, LOST, ("n",)), after=1.0)
    assert desk.state() == "mapping"


def test_input_that_stays_away_fails_the_job():
    desk = mapping(1, max_losses=4)
    for _ in range(5):
        desk.fail("w", error=LOST, lost=["nowhere"])
    view = desk.scheduler.snapshot(1)
    assert view.state == "failed" and view.error.kind == "input-lost"


def test_counters_of_a_map_that_runs_again_count_once():
    desk = two(node_grace=1.0, lease=1000.0)
    desk.done("w", sizes=(5,), counters=({"records": 10},))
    desk.done("v", sizes=(5,), counters=({"records": 10},))
    runner = holder(desk, REDUCE)
    desk.fail(runner, kind=REDUCE)
    for worker in ("w", "v"):
        desk.held[worker].clear()
        desk.do(ev.WorkerLeft(worker, "killed"))
    desk.tick(after=2.0)
    desk.join("u", "k", slots=2)
    desk.results("u", list(desk.held["u"]), sizes=(5,), counters=({"records": 10}, {"records": 10}))
    assert desk.scheduler.snapshot(1).counters == {"records": 20}


def test_a_reduce_output_lost_while_planning_is_made_again():
    desk = reducing(node_grace=1.0, lease=1000.0)
    runner = holder(desk, REDUCE)
    desk.done(runner, kind=REDUCE, sizes=(5,))
    assert desk.state() == "planning"
    desk.do(ev.WorkerLeft(runner, "killed"))
    desk.tick(after=2.0)
    assert desk.state() == "mapping"  # the map on that node is gone as well
    other = "v" if runner == "w" else "w"
    assert not any(task.kind is PLAN for task, _ in desk.held[other])
    desk.done(other, sizes=(5,))
    desk.done(other, kind=REDUCE, sizes=(5,))
    desk.planned(last(), other)
    assert desk.state() == "finishing"


# ------------------------------------------------------------------------------------------------------------- rewinds


def second_round(**settings):
    """Stage 1 maps, and reads what a reduce of stage 0 left on node `n`; worker `v` is on node `m`."""
    desk = mapping(1, lease=1000.0, **settings)
    desk.done(sizes=(5,), counters=({"records": 1},))
    desk.done(kind=REDUCE, sizes=(5,))
    (output,) = desk.scheduler.previous(1, 1).outputs
    desk.planned(StagePlan("s", 2, 1, b"", inputs=(output,)))
    desk.join("v", "m")
    return desk


def test_shared_state_that_is_lost_rewinds_the_job():
    desk = second_round(node_grace=1.0)
    old = desk.held["v"][0]
    desk.do(ev.WorkerLeft("w", "killed"))
    desk.tick(after=2.0)
    view = desk.scheduler.snapshot(1)
    assert (view.state, view.stage, view.rewinds, view.counters) == ("planning", 0, 1, {})
    assert old in desk.all(ev.Abort)[0].tasks
    task, attempt = desk.held["v"][-1]
    assert task == TaskId(1, 0, Kind.PLAN, 0) and attempt >> 16 == 1
    desk.planned(StagePlan("s", 1, 1, b""), "v")
    desk.done("v", sizes=(5,), counters=({"records": 1},))
    assert desk.scheduler.snapshot(1).counters == {"records": 1}


def test_attempts_from_before_a_rewind_are_not_taken_over():
    desk = second_round(node_grace=1.0)
    task, attempt = desk.held["v"][0]
    desk.do(ev.WorkerLeft("w", "killed"))
    desk.tick(after=2.0)
    desk.planned(StagePlan("s", 1, 1, b""), "v")
    desk.done("v", sizes=(5,))
    desk.done("v", kind=REDUCE, sizes=(5,))
    desk.planned(StagePlan("s", 2, 1, b""), "v")
    desk.join("late", "m", running=[(task, attempt)])
    assert (task, attempt) in desk.all(ev.Abort)[0].tasks


def test_a_report_about_shared_state_waits_for_the_grace():
    desk = second_round(node_grace=10.0)
    desk.do(ev.WorkerLeft("w", "killed"), after=1.0)
    desk.fail("v", error=LOST, lost=["n"], after=1.0)
    assert desk.scheduler.snapshot(1).rewinds == 0 and not desk.held["v"]
    assert "waits 9 s more for node n" in " ".join(desk.scheduler.explain(1, desk.now))
    desk.join("w2", "n")
    assert desk.held["w2"] and desk.held["v"]


def test_a_job_is_not_rewound_for_ever():
    desk = second_round(node_grace=1.0, max_rewinds=0)
    desk.do(ev.WorkerLeft("w", "killed"))
    desk.tick(after=2.0)
    view = desk.scheduler.snapshot(1)
    assert view.state == "failed" and view.error.type == "NodesLost"


def splits_on(node):
    return StagePlan("s", 2, 1, b"", splits=Output(Blob(b"s" * 16, 10), node, (), 0, 0))


def test_lost_splits_matter_only_while_maps_need_them():
    for done, rewinds in ((1, 1), (2, 0)):
        desk = Desk(lease=1000.0, node_grace=1.0)
        desk.join("w", "n")
        desk.submit()
        desk.join("v", "m", slots=2)
        desk.do(ev.WorkerDraining("w"))
        desk.planned(splits_on("n"))
        for _ in range(done):
            desk.done("v", sizes=(5,))
        desk.do(ev.WorkerLeft("w"))
        desk.tick(after=2.0)
        assert desk.scheduler.snapshot(1).rewinds == rewinds


def test_lost_splits_are_noticed_while_the_clock_is_behind():
    desk = Desk(lease=1000.0)
    desk.now = 100.0
    desk.join("w", "n")
    desk.submit()
    desk.planned(splits_on("n"))
    for _ in range(2):
        desk.done("w", sizes=(5,))
    desk.now = 50.0
    for _ in range(8):
        if not desk.scheduler.snapshot(1).rewinds:
            desk.fail("w", desk.held["w"][0][0].kind, error=LOST, lost=["n"])
    assert desk.scheduler.snapshot(1).rewinds == 1


def test_what_the_first_stage_did_survives_the_loss_of_its_splits():
    desk = Desk(lease=1000.0, node_grace=1.0)
    desk.join("w", "n")
    desk.submit()
    desk.join("v", "m")
    desk.do(ev.WorkerDraining("w"))
    desk.planned(splits_on("n"))
    desk.done("v", sizes=(5,), counters=({"records": 1},))
    desk.do(ev.WorkerLeft("w"))
    desk.tick(after=2.0)
    assert desk.state() == "planning"
    desk.planned(splits_on("m"), "v")
    for standing in (desk, desk.restart()):
        view = standing.scheduler.snapshot(1)
        assert (view.maps_done, view.counters) == (1, {"records": 1})
        assert standing.scheduler.stage(1, 0).splits.node == "m"
    assert [task.index for task, _ in desk.held["v"]] == [1]
    desk.done("v", sizes=(5,), counters=({"records": 1},))
    assert desk.state() == "reducing" and desk.scheduler.snapshot(1).counters == {"records": 2}


def test_unless_the_plan_is_another_one():
    desk = Desk(lease=1000.0, node_grace=1.0)
    desk.join("w", "n")
    desk.submit()
    desk.join("v", "m")
    desk.do(ev.WorkerDraining("w"))
    desk.planned(splits_on("n"))
    desk.done("v", sizes=(5,))
    desk.do(ev.WorkerLeft("w"))
    desk.tick(after=2.0)
    desk.planned(StagePlan("s", 3, 1, b""), "v")
    assert desk.scheduler.snapshot(1).maps_done == 0


def test_maps_that_must_run_again_without_their_splits_rewind():
    desk = Desk(lease=1000.0, node_grace=1.0)
    desk.join("w", "n")
    desk.submit()
    desk.join("v", "m", slots=2)
    desk.do(ev.WorkerDraining("w"))
    desk.planned(splits_on("n"))
    desk.done("v", n=2, sizes=(5,))
    desk.do(ev.WorkerLeft("w"))
    desk.tick(after=2.0)
    desk.join("u", "k")
    desk.do(ev.WorkerLeft("v", "killed"))
    desk.tick(after=2.0)
    assert desk.scheduler.snapshot(1).rewinds == 1


def test_a_task_that_gives_other_bytes_when_it_runs_again_is_named():
    """Its first output was lost, perhaps after a reduce had read it: the job type is not deterministic."""
    desk = two(maps=2, reduces=2)
    while desk.state() == "mapping":
        worker = holder(desk, Kind.MAP)
        desk.results(worker, [desk.take(worker, Kind.MAP)], sizes=(3, 3), node="n")
    for _ in range(2):
        desk.fail(holder(desk, REDUCE), REDUCE, LOST, ["n"])
    assert desk.state() == "mapping"
    worker = holder(desk, Kind.MAP)
    desk.results(worker, [desk.take(worker, Kind.MAP)], sizes=(3, 3), node="m")
    assert not desk.all(ev.Diverged), "the same bytes again"
    worker = holder(desk, Kind.MAP)
    task, attempt = desk.take(worker, Kind.MAP)
    other = Output(Blob(b"other bytes 1234", 6), "m", (3, 3), 0, 1)
    desk.do(ev.TasksDone(worker, 1, 0, 1, ((task.index, attempt, other),)))
    assert [action.task for action in desk.all(ev.Diverged)] == [task]
    assert desk.scheduler.snapshot(1).diverged == (tuple(map(int, task[1:])),)
    (line,) = [line for line in desk.scheduler.explain(1, desk.now) if "not deterministic" in line]
    assert f"map {task.index} of stage 0" in line


def test_what_a_node_lost_is_not_believed_after_the_rewind_that_this_caused():
    """The node lives on without its disk: else the job would come to the same end again and again."""
    desk = Desk(node_grace=1.0)
    desk.join("w", "n", 2)
    desk.join("v", "m", 1)
    desk.submit()
    splits = Output(Blob(b"s" * 16, 9), "n", (), 0, 0)
    plan = StagePlan("s", 3, 1, b"setup", splits)
    desk.planned(plan, holder(desk, PLAN))
    while desk.state() == "mapping":
        worker = holder(desk, Kind.MAP)
        desk.results(worker, [desk.take(worker, Kind.MAP)], sizes=(3,))
    assert desk.held["w"] and not desk.held["v"], "the reduce is with w"
    desk.do(ev.WorkerLeft("v"))
    desk.beat("w", after=1.5)
    desk.tick()
    assert desk.state() == "mapping", "a map's output went with node m; the reduce that runs goes on"
    desk.results("w", [desk.take("w", REDUCE)], sizes=(5,))
    assert (desk.state(), desk.scheduler.snapshot(1).stage) == ("planning", 1)
    for _ in range(2):
        desk.fail("w", PLAN, LOST, ["n"], after=0.1)
    assert desk.scheduler.snapshot(1).rewinds == 1
    desk.planned(plan, "w")
    view = desk.scheduler.snapshot(1)
    assert (view.state, view.maps_done, view.reduces_done) == ("mapping", 0, 0)
