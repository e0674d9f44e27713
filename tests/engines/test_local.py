"""The local engine: its own coordinator and workers, from start to nothing left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from mapreduce import BadParameters, Job, JobFailed
from mapreduce.engines.inline import InlineEngine
from mapreduce.engines.local import LocalEngine
from mapreduce.working.host import remove_stale
from tests.family import named, slots
from tests.worker.jobs import Ahead, AheadThreads, Arrays, Drafted, Harm, Heavy, Letters

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def engine():
    with LocalEngine(2) as engine:
        yield engine


def test_the_same_result_as_inline(engine):
    job = Letters(["abc", "cab", "zz"])
    local, inline = engine.run(job), InlineEngine().run(job)
    assert local.value == inline.value == {"a": 2, "b": 2, "c": 2, "z": 2}
    assert list(local) == list(inline)
    assert local.counters == inline.counters == {"texts": 3}


def test_arrays_come_back_as_they_are(engine):
    assert engine.run(Arrays(4, 1 << 16)).value == {0: 6.0}


def test_rounds_use_the_files_of_the_round_before_the_last():
    with LocalEngine(1) as engine:
        assert engine.run(Heavy()).value < 4


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no memory file system")
def test_files_made_ready_for_tasks_are_closed_when_none_waits():
    """Tasks find some that others of their unit made ready; those that no task has taken are gone before the next."""
    with LocalEngine(1) as engine:
        ready, left = engine.run(Drafted()).value
    assert ready > 0
    assert left == 0


def test_another_job_type_in_the_same_engine_and_from_a_thread(engine):
    values = []
    thread = threading.Thread(target=lambda: values.append(engine.run(Harm("raise", count=3)).value), daemon=True)
    thread.start()
    thread.join()
    assert values == [[0, 1, 2]]


def test_progress_is_told(engine):
    seen = []
    engine.run(Letters(["abc"] * 20, sleep=0.02), on_update=seen.append)
    assert seen[-1].state == "done"
    assert {update.maps for update in seen} >= {20}


def test_a_failed_job_shows_the_users_frames(engine):
    with pytest.raises(JobFailed, match="three is too many") as caught:
        engine.run(Harm("raise"))
    assert "do_raise" in str(caught.value)
    assert caught.value.error.input == "map 3: 3"


def test_an_error_of_the_watcher_cancels_the_job(engine):
    class Enough(Exception):
        pass

    def watch(update):
        if update.state == "mapping":
            raise Enough

    with pytest.raises(Enough):
        engine.run(Harm("hang"), on_update=watch)
    assert engine.run(Letters(["a"])).value == {"a": 1}


def test_a_class_that_no_other_process_can_find_is_refused():
    @dataclass
    class Local(Job):
        def splits(self):
            return [1]

        def map(self, split, ctx):
            yield 1, 1

    with LocalEngine(1) as engine, pytest.raises(BadParameters, match="engine='inline'"):
        engine.run(Local())


def test_pairs_stay_readable_after_the_engine_and_go_with_the_result():
    with LocalEngine(1) as engine:
        result = engine.run(Letters(["abc"]))
        folder, pids = engine._place.path, engine.pids()
        del engine
    assert dict(result) == {"a": 1, "b": 1, "c": 1}
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert folder.exists()
    del result
    assert not folder.exists()


def test_a_job_type_finds_loaded_what_it_wants_ahead():
    """Also when another module it names is not there; and when one starts a thread, tasks load theirs as ever."""
    with LocalEngine(2) as engine:
        assert engine.run(Ahead()).value == ["parent"]
    with LocalEngine(2) as engine:
        assert engine.run(AheadThreads()).value == ["own"]


SCRIPT = """
    import sys, time
    from dataclasses import dataclass
    from mapreduce import Job
    from mapreduce.engines.local import LocalEngine

    @dataclass
    class Mine(Job):
        seconds: float = 0.0

        def splits(self):
            return range(2)

        def map(self, split, ctx):
            time.sleep(self.seconds)
            yield split, split

        def finish(self, results, ctx):
            return sum(value for _, value in results)

    if __name__ == "__main__":
        with LocalEngine(2, data_dir=sys.argv[1]) as engine:
            def seen(update):
                if update.running == 2:
                    print("running", *engine.pids(), flush=True)
            print(engine.run(Mine(float(sys.argv[2])), on_update=seen).value)
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(SCRIPT))

    def start(seconds: float) -> subprocess.Popen:
        command = [sys.executable, str(path), str(tmp_path / "data"), str(seconds)]
        environ = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)

    return start


def test_a_class_of_the_users_own_script(script):
    out, err = script(0.0).communicate(timeout=60)
    assert out.splitlines()[-1] == "1", err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_behind(script, tmp_path, number):
    process = script(60.0)
    word, *pids = process.stdout.readline().split()
    assert word == "running"
    others = [*slots(process.pid), *named(process.pid, "daf-zygote")]
    assert len(others) == 4
    process.send_signal(number)
    process.wait(30)
    process.stdout.close()
    process.stderr.close()
    end = time.monotonic() + 10
    while left := [pid for pid in [*map(int, pids), *others] if alive(pid)]:
        assert time.monotonic() < end, left
        time.sleep(0.02)
    folders = list((tmp_path / "data").iterdir())
    if number == signal.SIGINT:
        assert not folders
    else:  # nobody was left to delete it: the next engine does
        assert len(folders) == 1
        while not remove_stale(
            tmp_path / "data"
        ):  # a killed process lets go of its files a moment after its end is seen
            assert time.monotonic() < end
            time.sleep(0.02)
        assert not folders[0].exists()


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_limits_of_a_task_are_set_by_name() -> None:
    with (
        LocalEngine(1, limits={"files": 150}) as engine,
        pytest.raises(JobFailed, match=r"150 files open at once \(--task-files"),
    ):
        engine.run(Harm("open"), attempts=1)
    with pytest.raises(BadParameters, match="no limit threads: there are memory, seconds, cpu"):
        LocalEngine(1, limits={"threads": 3})
