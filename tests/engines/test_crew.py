"""A crew that gave up says why, and can still be closed."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from mapreduce.engines.crew import LOG_KEPT, LOG_MOST, Crew, trim
from mapreduce.engines.local import LocalEngine
from mapreduce.errors import DafError, EngineFailed
from tests.worker.jobs import Letters

SLEEP = json.dumps(["--bind", "tcp://127.0.0.1:0"])


def test_closing_a_crew_that_gave_up_does_not_hide_why(tmp_path: Path) -> None:
    crew = Crew(tmp_path)
    crew.add("coordinator", "coordinator", json.dumps(["--no-such-option"]), (signal.SIGTERM,))
    crew._thread.join(30)
    crew.close()
    with pytest.raises(DafError, match="no-such-option"):
        crew.check()


def test_a_job_ends_at_once_when_its_coordinator_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each ends with an error before it listens: the wait for its first answer (a minute) is cut short, with its last
    words."""
    monkeypatch.setenv("DAF_FAIL_LOG", "/no/such/folder/points")
    monkeypatch.setattr("mapreduce.engines.local.START", 100.0)
    with LocalEngine(1) as engine, pytest.raises(EngineFailed, match=r"exit code 2(.|\n)*/no/such/folder"):
        engine.run(Letters(["abc"]))


def test_the_log_of_a_member_is_cut_while_it_is_written(tmp_path: Path) -> None:
    log = tmp_path / "worker-1.log"
    with open(log, "ab") as writer:
        for number in range(LOG_MOST // 10):
            writer.write(b"line %06d\n" % number)
        writer.flush()
        trim(log)
        writer.write(b"the last line\n")
    lines = log.read_text().splitlines()
    assert log.stat().st_size <= LOG_KEPT + 100
    assert lines[0] == "(earlier lines were cut)"
    assert lines[-2:] == [f"line {LOG_MOST // 10 - 1:06d}", "the last line"]
    assert all(len(line) == 11 for line in lines[1:-1])


def test_a_crew_looks_after_its_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mapreduce.engines.crew.LOOK", 0.05)
    crew = Crew(tmp_path)
    crew.add("sleeper", "coordinator", SLEEP, (signal.SIGTERM,))
    (tmp_path / "sleeper.log").write_bytes(b"word\n" * LOG_MOST)
    deadline = time.monotonic() + 20
    while (tmp_path / "sleeper.log").stat().st_size > LOG_MOST:
        assert time.monotonic() < deadline, "nobody cut the log"
        time.sleep(0.01)
    crew.close()


def kill_again_and_again(crew: Crew, times: int) -> int:
    """Kill the one member as soon as it is there; returns how often it could be done."""
    for number in range(times):
        deadline = time.monotonic() + 20
        while not (pids := crew.pids("sleeper")):
            if crew.failure or time.monotonic() > deadline:
                return number
            time.sleep(0.01)
        os.kill(pids[0], signal.SIGKILL)
        while crew.pids("sleeper") == pids:
            time.sleep(0.01)
    return times


def test_a_member_that_has_worked_is_started_again_however_often_it_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mapreduce.engines.crew.QUICK", 0.0)
    crew = Crew(tmp_path)
    crew.add("sleeper", "coordinator", SLEEP, (signal.SIGTERM,))
    assert kill_again_and_again(crew, 30) == 30
    crew.check()
    crew.close()


def test_a_member_that_never_gets_to_work_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mapreduce.engines.crew.QUICK", 0.2)
    monkeypatch.setattr("mapreduce.engines.crew.QUICK_DEATHS", 3)
    crew = Crew(tmp_path)
    crew.add("sleeper", "coordinator", SLEEP, (signal.SIGTERM,))
    assert kill_again_and_again(crew, 30) <= 4
    with pytest.raises(EngineFailed, match="sleeper of the local engine keeps ending"):
        crew.check()
    crew.close()
