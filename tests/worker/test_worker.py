"""A real worker and its slots against a scripted coordinator."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mapreduce import tasks
from mapreduce.wire import messages as m
from mapreduce.worker import Worker
from mapreduce.working.forks import Zygote
from mapreduce.working.nursery import Nursery
from mapreduce.working.settings import WorkerSettings
from tests.worker.jobs import Empty, Letters, Naps, Steps
from tests.worker.scripted import JOBS, reduce_inputs


def test_a_job_from_plan_to_finish(coordinator, worker):
    worker()
    hello = coordinator.welcome()
    assert hello.plugins["letters"].startswith("file-")
    job = Letters(["abc", "cab", "c"])
    plan = coordinator.plan(job)
    assert (plan.maps, plan.reduces) == (3, 4)
    coordinator.send(m.Assign(1, 0, 1, ((0, 1), (1, 1), (2, 1)), nodes=(hello.node,)))
    maps = coordinator.results(3)
    assert maps[0].counters == {"texts": 1}
    inputs = reduce_inputs(maps, hello.node.name, plan.reduces)
    coordinator.send(m.Assign(1, 0, 2, tuple((p, 1) for p in range(4)), inputs, nodes=(hello.node,)))
    reduces = coordinator.results(4)
    outputs = tuple(
        m.Ref(reduces[p].hash, reduces[p].size, hello.node.name, 0, 2) if reduces[p].hash else None for p in range(4)
    )
    coordinator.stage(job, number=1)
    coordinator.send(m.Assign(1, 1, 3, ((0, 1),), previous=outputs, previous_setup=plan.setup, nodes=(hello.node,)))
    value, artifacts = tasks.unpack_value(coordinator.receive(m.Finished).value)
    assert (value, artifacts) == ({"a": 2, "b": 2, "c": 3}, [])


def test_all_of_many_small_tasks_are_answered_once(coordinator, worker):
    worker(slots=2)
    coordinator.welcome()
    coordinator.plan(Empty(5000))
    for start in range(0, 5000, 500):
        coordinator.send(m.Assign(1, 0, 1, tuple((index, 1) for index in range(start, start + 500))))
    assert sorted(coordinator.results(5000)) == list(range(5000))
    coordinator.silent(0.3)


def test_a_worker_whose_processes_die_before_they_begin_gives_up(coordinator, tmp_path, monkeypatch):
    """Of the first message here. Nobody is charged for what has not begun: nothing else would end it."""
    deaf = "import os\nfrom mapreduce.slot import Slot\nSlot.take = lambda self, frame: os._exit(7)\n"
    (tmp_path / "sitecustomize.py").write_text(deaf)
    settings = WorkerSettings(connect=coordinator.endpoint, data_dir=tmp_path / "data", plugins=(JOBS,))
    command = [sys.executable, "-m", "mapreduce.working.start", settings.to_json()]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            coordinator.welcome()
            coordinator.stage(Empty(3))
            coordinator.send(m.Assign(1, 0, 0, ((0, 1),)))
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 1 and "before it begins a task" in said and "exit code 7" in said, said


@pytest.mark.parametrize("slots", [1, 2])
def test_a_long_task_does_not_keep_the_results_of_short_ones(coordinator, worker, slots):
    worker(slots=slots)
    coordinator.welcome()
    coordinator.plan(Naps([0.0, 0.0, 4.0, 0.0]))
    coordinator.send(m.Assign(1, 0, 1, ((0, 1), (1, 1), (2, 1))))
    assert sorted(coordinator.results(2, timeout=3)) == [0, 1]


def test_progress_comes_with_the_heartbeat(coordinator, worker):
    worker()
    coordinator.welcome(heartbeat=0.1)
    coordinator.plan(Steps(10))
    coordinator.send(m.Assign(1, 0, 1, ((0, 1),)))
    while not (beat := coordinator.receive(m.Beat)).progress:
        assert coordinator.beats < 50
    (progress,) = beat.progress
    assert (progress.task, progress.total, progress.note) == (m.TaskKey(1, 0, 1, 0, 1), 10.0, "step")
    assert beat.running == (progress.task,)


def test_long_tasks_go_to_whichever_slot_is_free(coordinator, worker):
    worker(slots=2)
    coordinator.welcome()
    naps = [6.0] + [0.15] * 8
    coordinator.plan(Naps(naps))
    coordinator.send(m.Assign(1, 0, 1, tuple((index, 1) for index in range(len(naps)))))
    assert sorted(coordinator.results(8, timeout=10)) == list(range(1, 9)), "the short ones pass the long one"


def test_a_worker_beats_while_its_zygote_loads(coordinator, tmp_path):
    """A zygote that never gets ready: the coordinator hears of the worker all the same."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    settings = WorkerSettings(connect=coordinator.endpoint, data_dir=tmp_path / "data", offer={"empty": "1"})
    worker = Worker(settings, Nursery(settings, Zygote(ours)))

    def listen() -> None:
        coordinator.welcome(heartbeat=0.05)
        while coordinator.beats < 5:
            coordinator.silent(0.05)
        os.kill(os.getpid(), signal.SIGTERM)  # it holds nothing: it leaves

    before = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    listener = threading.Thread(target=listen)
    listener.start()
    try:
        worker.run()
    finally:
        for number, handler in before:
            signal.signal(number, handler)
        listener.join()
        theirs.close()
    assert worker.leaving == "drained" and coordinator.beats >= 5
