"""What brings jobs forward, and how they end."""

import pytest

from mapreduce.scheduler import events as ev
from mapreduce.scheduler import journal
from mapreduce.scheduler.model import Blob, JobSpec, Output, StagePlan, TaskError

from .desk import FINISH, MAP, PLAN, REDUCE, Desk, blob, last, mapping


def test_a_whole_job():
    """PLAN, maps, reduces, PLAN, FINISH; each action where it belongs."""
    desk = Desk()
    desk.join("w", "n", slots=2)
    actions = desk.do(ev.Submitted(b"me", "t", JobSpec(0, "x", b"p"), 12.5))
    assert [type(a) for a in actions] == [ev.Persist, ev.Accepted, ev.JobChanged, ev.Assign]
    desk.planned(StagePlan("s", 3, 2, b"setup"))
    assert desk.state() == "mapping"
    desk.done(n=2, sizes=(4, 2))
    desk.done(sizes=(4, 0))
    assert desk.state() == "reducing"
    segments = desk.scheduler.reduce_inputs(1, 0, 1)
    assert [(i, offset, size) for i, _, offset, size in segments] == [(0, 4, 2), (1, 4, 2)]
    desk.done(kind=REDUCE, n=2, sizes=(7,))
    assert desk.state() == "planning"
    before = desk.scheduler.previous(1, 1)
    assert [output.blob for output in before.outputs] == [blob(0, 7), blob(1, 7)]
    assert (before.setup, before.inputs) == (b"setup", ())
    desk.planned(last())
    assert desk.state() == "finishing"
    desk.finish(value=b"42")
    view = desk.scheduler.snapshot(1)
    assert (view.state, view.value, view.submitted) == ("done", b"42", 12.5)
    assert [output.blob for output in view.outputs] == [blob(0, 7), blob(1, 7)]
    changed = desk.all(ev.JobChanged)[-1]
    assert (changed.state, changed.value) == ("done", b"42")


@pytest.mark.parametrize(("maps", "reduces"), [(0, 0), (0, 2), (2, 0)])
def test_empty_stages_are_legal(maps, reduces):
    desk = mapping(maps, reduces)
    for kind, count in ((MAP, maps), (REDUCE, reduces)):
        for _ in range(count):
            desk.done(kind=kind)
    assert desk.state() == "planning"
    assert desk.held["w"][0][0].stage == 1
    assert len(desk.scheduler.previous(1, 1).outputs) == reduces


def test_reduces_wait_for_all_maps():
    desk = mapping(2, 3, slots=4)
    desk.done()
    assert all(task.kind is MAP for task, _ in desk.held["w"])
    desk.done()
    assert [task.index for task, _ in desk.held["w"] if task.kind is REDUCE] == [0, 1, 2]


def test_counters_count_accepted_attempts():
    desk = mapping(2)
    task = desk.held["w"][0]
    desk.results("w", [task], counters=({"records": 3},))
    desk.results("w", [task], counters=({"records": 3},))
    desk.held["w"].remove(task)
    assert desk.scheduler.snapshot(1).counters == {"records": 3}
    desk.done(counters=({"records": 4, "bad": 1},))
    assert desk.scheduler.snapshot(1).counters == {"records": 7, "bad": 1}
    assert desk.persisted(journal.Done)[0].counters == {"records": 4, "bad": 1}


def test_counters_of_plan_and_finish_count():
    desk = mapping(0, 0)
    task, attempt = desk.take("w", PLAN)
    desk.do(ev.PlanDone("w", task, attempt, last(), {"plans": 1}))
    task, attempt = desk.take("w", FINISH)
    desk.do(ev.FinishDone("w", task, attempt, b"", {"files": 2}))
    assert desk.scheduler.snapshot(1).counters == {"plans": 1, "files": 2}


def test_a_repeated_submission_finds_its_job():
    desk = Desk()
    assert desk.submit(token="t") == desk.submit(token="t") == 1
    assert not desk.persisted(journal.Admitted)
    assert desk.submit(token="u") == 2
    assert desk.submit() == 3 and desk.submit() == 4


def test_a_token_for_another_job_is_refused():
    desk = Desk()
    desk.submit(token="t")
    desk.do(ev.Submitted(b"me", "t", JobSpec(0, "x", b"other")))
    (refused,) = desk.all(ev.Rejected)
    assert refused.code == "bad-request" and "'t' names job 1" in refused.message


@pytest.mark.parametrize("weight", [0.0, -1.0, float("inf"), float("nan")])
def test_weights_must_make_sense(weight):
    desk = Desk()
    desk.do(ev.Submitted(b"me", "", JobSpec(0, "x", b"", weight=weight)))
    assert "weight must be above 0" in desk.all(ev.Rejected)[0].message


def test_more_jobs_than_can_be_taken_are_refused_with_a_time():
    desk = Desk(max_jobs=2, retry_after=7.0)
    desk.submit()
    desk.submit()
    desk.do(ev.Submitted(b"me", "t", JobSpec(0, "x", b"")))
    (refused,) = desk.all(ev.Rejected)
    assert (refused.code, refused.retry_after) == ("full", 7.0)
    desk.do(ev.CancelRequested(1))
    assert desk.submit(token="t") == 3


def test_cancelling_aborts_what_runs():
    desk = mapping(5, slots=2)
    held = list(desk.held["w"])
    desk.do(ev.CancelRequested(1, "changed my mind"))
    assert desk.all(ev.Abort)[0].tasks == tuple(held)
    assert desk.all(ev.Release) == [ev.Release(1)]
    view = desk.scheduler.snapshot(1)
    assert (view.state, view.reason) == ("cancelled", "changed my mind")
    assert desk.do(ev.CancelRequested(1)) == [] and desk.do(ev.CancelRequested(99)) == []


def test_ended_jobs_are_kept_and_then_forgotten():
    desk = Desk(keep_ended=2)
    for token in "abcd":
        desk.do(ev.CancelRequested(desk.submit(token=token)))
    assert [view.job for view in desk.scheduler.jobs()] == [3, 4]
    assert desk.persisted(journal.Forgotten) == [journal.Forgotten(2)]
    assert desk.submit(token="a") == 5


def test_job_numbers_are_not_used_again_after_everything_is_forgotten():
    desk = Desk(keep_ended=0)
    desk.do(ev.CancelRequested(desk.submit()))
    desk = desk.restart()
    assert desk.submit() == 2


def test_a_diverging_task_is_told():
    """The same task, other bytes: the plugin is not deterministic."""
    desk = mapping(1)
    desk.join("v", "m")
    held = desk.held["w"][0]
    desk.do(ev.WorkerLeft("w"))
    desk.done("v", sizes=(6,))
    desk.join("w", "n")
    other = Output(Blob(b"x" * 16, 6), "n", (6,), 0, 1)
    desk.do(ev.TasksDone("w", 1, 0, 1, ((0, held[1], other),)))
    (diverged,) = desk.all(ev.Diverged)
    assert diverged.task == held[0] and diverged.second == other
    same = desk.scheduler.state.jobs[1].stage.maps.outputs[0]._replace(node="n")
    desk.do(ev.TasksDone("w", 1, 0, 1, ((0, held[1], same),)))
    assert not desk.all(ev.Diverged)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (StagePlan("s", -1, 0, b""), "neither can be negative"),
        (StagePlan("s", 1, 0, b"", last=True), "the last has none"),
        (StagePlan("s", 20, 20, b""), "40 tasks, allowed are 30"),
    ],
)
def test_a_plan_that_cannot_be_fails_the_job(plan, message):
    desk = Desk(max_tasks=30)
    desk.join("w")
    desk.submit()
    desk.planned(plan)
    view = desk.scheduler.snapshot(1)
    assert view.state == "failed" and message in view.error.message


def test_the_last_error_fails_the_job():
    desk = mapping(1)
    for n in range(3):
        desk.fail("w", error=TaskError("crash", "Killed", f"try {n}", signal=9))
    view = desk.scheduler.snapshot(1)
    assert view.state == "failed"
    assert (view.error.message, view.error.signal, view.error.worker) == ("try 2", 9, "w")


def test_attempts_are_what_the_job_allows():
    desk = Desk()
    desk.join("w")
    desk.submit(attempts=1)
    desk.fail("w", kind=PLAN)
    assert desk.state() == "failed"


# ------------------------------------------------------------------------------------------------------------- release


def round_done(desk, number, inputs=True):
    """One map, one reduce; the next stage reads what the reduce left."""
    desk.done(sizes=(5,))
    desk.done(kind=REDUCE, sizes=(5,))
    (output,) = desk.scheduler.previous(1, number + 1).outputs
    desk.planned(StagePlan("s", 1, 1, b"", inputs=(output,) if inputs else ()))


def test_outputs_go_when_nothing_refers_to_them():
    desk = mapping(1)
    round_done(desk, 0)
    assert desk.all(ev.Release) == [ev.Release(1, ((0, PLAN), (0, MAP)))]
    round_done(desk, 1)
    assert desk.all(ev.Release) == [ev.Release(1, ((0, REDUCE), (1, PLAN), (1, MAP)))]
    round_done(desk, 2, inputs=False)
    assert desk.all(ev.Release) == [ev.Release(1, ((1, REDUCE), (2, PLAN), (2, MAP), (2, REDUCE)))]


def test_the_last_outputs_stay_while_the_job_is_remembered():
    desk = mapping(1, keep_ended=1)
    desk.done(sizes=(5,))
    desk.done(kind=REDUCE, sizes=(5,))
    desk.planned(last())
    desk.finish()
    (released,) = desk.all(ev.Release)
    assert (0, REDUCE) not in released.units and (0, MAP) in released.units
    desk.do(ev.CancelRequested(desk.submit()))
    assert ev.Release(1) in desk.actions


def test_the_journal_does_not_grow_with_rounds():
    """All that must be kept of a job after any number of rounds: Admitted, and what came since the last Trimmed."""
    desk = mapping(1)
    sizes = []
    for number in range(20):
        round_done(desk, number)
        trimmed = max(i for i, record in enumerate(desk.records) if isinstance(record, journal.Trimmed))
        sizes.append(len(desk.records) - trimmed)
    assert max(sizes) == min(sizes) == 2
