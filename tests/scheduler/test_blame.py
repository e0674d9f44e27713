"""Nodes whose bytes are wrong: what they hold is made again, and after the second time others do their work."""

from __future__ import annotations

from typing import Any

from mapreduce.scheduler import events as ev
from mapreduce.scheduler.model import TaskError

from .desk import MAP, REDUCE, Desk, mapping

WRONG = TaskError("input-wrong", "BlobWrong", "not those that were made")


def accused(maps: int = 4, types: dict[str, str] | None = None, **settings: Any) -> Desk:
    """The outputs of all maps lie on node n, of worker `w`; the reduces are handed out, one to `v`, if that knows the
    type."""
    desk = mapping(maps, 2, slots=1, **settings)
    desk.join("v", "m", 1, **(types or {"x": "1"}))
    map_again(desk)
    return desk


def map_again(desk: Desk) -> None:
    while desk.state() == "mapping":
        holder = next(worker for worker, held in desk.held.items() if any(task.kind is MAP for task, _ in held))
        desk.results(holder, [desk.take(holder, MAP)], sizes=(3, 3), node="n")


def holders(desk: Desk) -> list[str]:
    return [worker for worker, held in desk.held.items() if held]


def test_one_word_makes_it_again_at_once_and_blames_nobody():
    desk = accused()
    desk.fail("v", REDUCE, WRONG, ["n"])
    assert desk.state() == "mapping"
    assert not any(worker.aside for worker in desk.scheduler.workers())


def test_the_second_task_that_finds_wrong_bytes_sets_the_node_aside():
    desk = accused()
    desk.fail("v", REDUCE, WRONG, ["n"])
    desk.fail("w", REDUCE, WRONG, ["n"])
    views = {worker.worker: worker for worker in desk.scheduler.workers()}
    assert views["w"].aside and not views["v"].aside
    assert holders(desk) == ["v"], "what it held went to others"
    for _ in range(5):
        desk.beat("w", 0.5)
        desk.beat("v", 0.5)
        desk.tick()
        assert not desk.held["w"]
    desk.join("w2", "n", 1)
    assert not desk.held.get("w2"), "nor does another worker of that node get any"


def test_who_alone_knows_a_job_type_is_not_set_aside():
    desk = accused(types={"y": "1"})
    desk.fail("w", REDUCE, WRONG, ["n"])
    map_again(desk)
    desk.done("w", REDUCE, sizes=(1,))
    desk.fail("w", REDUCE, WRONG, ["n"])
    assert not any(worker.aside for worker in desk.scheduler.workers())
    map_again(desk)
    assert desk.held["w"]


def test_after_a_while_it_is_tried_again():
    desk = accused(quarantine=20.0)
    desk.fail("v", REDUCE, WRONG, ["n"])
    desk.fail("w", REDUCE, WRONG, ["n"])
    for _ in range(21):
        desk.beat("w", 0.5)
        desk.beat("v", 0.5)
        desk.tick()
    assert not any(worker.aside for worker in desk.scheduler.workers())
    assert sorted(holders(desk)) == ["v", "w"]


def test_explain_says_why_nobody_gets_the_job():
    desk = accused()
    desk.fail("v", REDUCE, WRONG, ["n"])
    desk.fail("w", REDUCE, WRONG, ["n"])
    desk.do(ev.WorkerLeft("v"))
    (line,) = [line for line in desk.scheduler.explain(1, desk.now) if "wrong bytes" in line]
    assert "worker w gets nothing for a while" in line and "node n" in line
