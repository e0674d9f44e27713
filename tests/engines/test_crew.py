"""A crew that gave up says why, and can still be closed."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from mapreduce.engines.crew import Crew
from mapreduce.errors import DafError, EngineFailed

SLEEP = json.dumps(["--bind", "tcp://127.0.0.1:0"])


def test_closing_a_crew_that_gave_up_does_not_hide_why(tmp_path: Path) -> None:
    crew = Crew(tmp_path)
    crew.add("coordinator", "coordinator", json.dumps(["--no-such-option"]), (signal.SIGTERM,))
    crew._thread.join(30)
    crew.close()
    with pytest.raises(DafError, match="no-such-option"):
        crew.check()


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
