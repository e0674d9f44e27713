"""Tasks that crash, hang or take too much end their own process; all else that the worker holds is done."""

from __future__ import annotations

import os
import shutil
import signal
import time

import pytest

from mapreduce.wire import messages as m
from mapreduce.working import usage
from mapreduce.working.nursery import Nursery
from mapreduce.working.settings import WorkerSettings
from tests.family import named, slots
from tests.worker.jobs import Burn, Empty, Harm, Letters

ALL = tuple((index, 1) for index in range(8))


def harm(coordinator, how: str, *, size: int = 0, **limits: object) -> m.Error:
    """Run the eight tasks of Harm: seven are answered, and the error of the other comes back."""
    coordinator.welcome()
    coordinator.plan(Harm(how, size=size), **limits)
    coordinator.send(m.Assign(1, 0, 1, ALL))
    done, failed = coordinator.answers(8, timeout=30)
    assert sorted(done) == [0, 1, 2, 4, 5, 6, 7]
    assert [f.task.index for f in failed] == [3]
    coordinator.silent(0.3)
    return failed[0].error


@pytest.mark.parametrize("slots", [1, 2])
def test_an_exit_code_and_the_last_words(coordinator, worker, slots):
    worker(slots=slots, name="w")
    error = harm(coordinator, "exit")
    assert (error.kind, error.exit_code, error.signal, error.worker) == ("crash", 7, None, "w")
    assert "my last words" in error.log
    assert error.input == "map 3: 3"
    assert error.peak_memory > 1 << 20


def test_a_segmentation_fault_shows_the_users_frames(coordinator, worker):
    worker()
    error = harm(coordinator, "segv")
    assert (error.kind, error.type, error.signal) == ("crash", "SIGSEGV", signal.SIGSEGV)
    assert "do_segv" in error.traceback
    assert "mapreduce/slot.py" not in error.traceback


def test_an_exception_begins_with_the_users_frames(coordinator, worker):
    worker()
    error = harm(coordinator, "raise")
    assert (error.kind, error.type, error.message, error.input) == (
        "exception",
        "ValueError",
        "three is too many",
        "map 3: 3",
    )
    first = error.traceback.splitlines()[1]
    assert "jobs.py" in first, error.traceback


@pytest.mark.parametrize(("how", "name"), [("sysexit", "SystemExit"), ("recursion", "RecursionError")])
def test_leaving_and_recursing_are_errors_of_the_task(coordinator, worker, how, name):
    worker()
    assert harm(coordinator, how).type == name


def test_a_task_over_its_time_is_stopped_where_it_hangs(coordinator, worker):
    worker()
    error = harm(coordinator, "hang", task_seconds=0.5)
    assert (error.kind, error.type) == ("timeout", "TimeLimit")
    assert "0.5 s" in error.message
    assert "do_hang" in error.traceback


def test_memory_beyond_the_limit_is_a_memory_error_in_the_users_line(coordinator, worker):
    worker()
    error = harm(coordinator, "memory", size=4 << 30, task_memory=256 << 20)
    assert error.kind == "memory"
    assert "do_memory" in error.traceback


def test_a_task_that_gets_past_its_memory_limit_is_stopped(coordinator, worker):
    worker()
    error = harm(coordinator, "greedy", size=600 << 20, task_memory=256 << 20)
    assert (error.kind, error.type) == ("memory", "MemoryLimit")
    assert "256 MiB" in error.message
    assert error.peak_memory > 256 << 20


def test_noise_where_the_answers_go_ends_the_process_only(coordinator, worker):
    worker()
    assert harm(coordinator, "noise").type == "ProtocolError"


def test_what_a_dead_task_had_started_ends_with_it(coordinator, worker):
    worker()
    error = harm(coordinator, "children")
    child = int(error.log.split()[1])
    wait_until(lambda: not alive(child))


def test_a_file_beyond_the_limit_cannot_be_written(coordinator, worker, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    worker(file_size=1 << 20)
    assert harm(coordinator, "write", size=2 << 20).type == "OSError"
    assert (tmp_path / "big").stat().st_size == 1 << 20


def test_a_task_that_forks_without_end_is_stopped_with_all_that_it_started(coordinator, worker):
    worker(task_processes=30, name="bomber")
    error = harm(coordinator, "bomb")
    assert (error.kind, error.type) == ("processes", "ProcessLimit")
    assert "limit of 30 (" in error.message and "--task-processes" in error.message
    wait_until(lambda: sum(one.alive and title(one.pid) == "daf-slot bomber" for one in usage.processes()) == 1)


@pytest.mark.parametrize("how", ["spin", "spinning_child"])
def test_processor_time_beyond_the_limit_stops_a_task_and_what_it_started(coordinator, worker, how):
    worker(task_cpu=0.5)
    error = harm(coordinator, how)
    assert (error.kind, error.type) == ("cpu", "CpuLimit")
    assert "0.5 s" in error.message and "--task-cpu" in error.message
    assert f"do_{how}" in error.traceback


def test_processor_time_is_counted_for_each_attempt(coordinator, worker):
    """A process that has run for longer than the limit runs tasks as before."""
    worker(task_cpu=1.2)
    coordinator.welcome()
    coordinator.plan(Burn([0.5] * 4))
    coordinator.send(m.Assign(1, 0, 1, tuple((index, 1) for index in range(4))))
    assert len(coordinator.results(4, timeout=60)) == 4


def test_memory_of_what_a_task_started_counts_as_its_own(coordinator, worker):
    worker(task_memory=256 << 20)
    error = harm(coordinator, "hoard", size=100 << 20)
    assert (error.kind, error.type) == ("memory", "MemoryLimit")
    assert "with 4 processes that it started" in error.message


def test_files_left_open_fail_their_own_task_only(coordinator, worker):
    worker(task_files=200)
    error = harm(coordinator, "open")
    assert (error.kind, error.type) == ("exception", "OSError")
    assert "200 files open at once (--task-files" in error.traceback
    assert "do_open" in error.traceback


def test_limits_hold_unless_said_otherwise(coordinator, tmp_path):
    settings = WorkerSettings(connect=coordinator.endpoint, data_dir=tmp_path / "data")
    assert (settings.task_cpu, settings.task_processes, settings.task_files) == (4 * 3600.0, 512, 4096)
    nursery = Nursery(settings)
    assert nursery._slot_settings.file_size >= 1 << 30
    assert nursery._slot_settings.task_files == 4096
    nursery.close()


@pytest.mark.parametrize("slots", [1, 2])
def test_ten_gigabytes_of_output_are_refused_before_they_fill_the_disk(coordinator, worker, tmp_path, slots):
    worker(slots=slots, task_output=300 << 20)
    error = harm(coordinator, "yield", size=10 << 30)
    assert (error.kind, error.type) == ("exception", "OutputTooLarge")
    assert "more than 314572800 bytes" in error.message and "--task-output" in error.message
    wait_until(lambda: used(tmp_path / "data") < 32 << 20)


def test_unless_said_otherwise_one_task_gets_half_of_the_disk(worker, coordinator, tmp_path):
    nursery = Nursery(WorkerSettings(connect=coordinator.endpoint, data_dir=tmp_path / "data"))
    free = shutil.disk_usage(tmp_path).free
    assert abs(nursery._slot_settings.task_output - free // 2) < free // 4
    nursery.close()


def test_threads_that_a_task_leaves_behind_keep_nobody(coordinator, worker):
    process = worker()
    assert harm(coordinator, "threads").type == "ValueError"
    process.terminate()
    assert process.wait(20) == 0


def used(folder) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_a_full_disk_is_told_with_the_way_out(coordinator, worker):
    worker()
    error = harm(coordinator, "full")
    assert (error.kind, error.type) == ("exception", "OSError")
    assert "MiB left; --data-dir" in error.traceback


def test_endless_output_is_bounded_and_stops_nobody(coordinator, worker):
    process = worker()
    coordinator.welcome()
    coordinator.plan(Harm("print", size=64 << 20))
    coordinator.send(m.Assign(1, 0, 1, ALL))
    assert len(coordinator.results(8, timeout=60)) == 8
    with open(f"/proc/{process.pid}/statm") as file:
        assert int(file.read().split()[1]) * 4096 < 100 << 20


def test_a_killed_slot_costs_only_what_it_ran(coordinator, worker):
    process = worker()
    coordinator.welcome()
    coordinator.plan(Letters(["abc"] * 20, sleep=0.05))
    coordinator.send(m.Assign(1, 0, 1, tuple((index, 1) for index in range(20))))
    time.sleep(0.3)
    (child,) = slots(process.pid)
    os.kill(child, signal.SIGKILL)
    done, failed = coordinator.answers(20)
    assert len(done) == 19
    (failure,) = failed
    assert (failure.error.kind, failure.error.signal) == ("crash", signal.SIGKILL)
    assert "from outside" in failure.error.message


def test_a_killed_zygote_costs_what_its_slots_ran(coordinator, worker):
    process = worker(slots=2)
    coordinator.welcome()
    coordinator.plan(Letters(["abc"] * 20, sleep=0.05))
    coordinator.send(m.Assign(1, 0, 1, tuple((index, 1) for index in range(20))))
    wait_until(lambda: len(slots(process.pid)) == 2)
    time.sleep(0.2)
    (zygote,) = named(process.pid, "daf-zygote")
    os.kill(zygote, signal.SIGKILL)
    done, failed = coordinator.answers(20)
    assert len(done) >= 18
    assert all((failure.error.kind, failure.error.signal) == ("crash", signal.SIGKILL) for failure in failed)
    (other,) = named(process.pid, "daf-zygote")
    assert other != zygote


def test_no_slot_outlives_its_worker(coordinator, worker):
    process = worker(slots=2)
    coordinator.welcome()
    coordinator.plan(Harm("hang"))
    coordinator.send(m.Assign(1, 0, 1, ALL))
    found = slots(process.pid)
    process.kill()
    process.wait()
    wait_until(lambda: not any(alive(pid) for pid in found))


def test_an_aborted_task_is_killed_and_the_others_go_on(coordinator, worker):
    worker()
    coordinator.welcome()
    coordinator.plan(Harm("hang"))
    coordinator.send(m.Assign(1, 0, 1, ALL))
    time.sleep(0.5)
    coordinator.send(m.Abort((m.TaskKey(1, 0, 1, 3, 1),)))
    assert sorted(coordinator.results(7)) == [0, 1, 2, 4, 5, 6, 7]
    coordinator.silent(0.3)


@pytest.mark.parametrize("slots", [1, 2])
def test_waiting_tasks_that_are_aborted_never_run(coordinator, worker, slots):
    worker(slots=slots)
    coordinator.welcome()
    coordinator.plan(Letters(["abc"] * 20, sleep=0.1))
    coordinator.send(m.Assign(1, 0, 1, tuple((index, 1) for index in range(20))))
    time.sleep(0.25)
    coordinator.send(m.Abort(tuple(m.TaskKey(1, 0, 1, index, 1) for index in range(8, 20))))
    assert sorted(coordinator.results(8)) == list(range(8))
    coordinator.silent(0.5)


def test_a_slot_is_replaced_after_so_many_tasks(coordinator, worker):
    process = worker(recycle_tasks=10)
    coordinator.welcome()
    coordinator.plan(Empty(40))
    before = slots(process.pid)
    for start in range(0, 40, 10):
        coordinator.send(m.Assign(1, 0, 1, tuple((index, 1) for index in range(start, start + 10))))
        assert len(coordinator.results(10)) == 10
        # The tenth result is out before its slot is, so another one is waited for, not counted.
        wait_until(lambda old=before: slots(process.pid) and not set(slots(process.pid)) & set(old))
        before = slots(process.pid)


def title(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read().rstrip("\0 ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(true, timeout: float = 30.0) -> None:
    end = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.01)
