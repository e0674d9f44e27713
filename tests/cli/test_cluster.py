"""The commands that speak to a coordinator, and the two programs that serve them."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import ENVIRONMENT, Daf, one_object


@pytest.fixture
def coordinator(start: Any, tmp_path: Path) -> str:
    store = f"sqlite://{tmp_path / 'state.sqlite'}"
    log = open(tmp_path / "coordinator.log", "w")
    with log:
        process = start(
            "--bind", "tcp://127.0.0.1:0", "--store", store, "--announce", program="daf-coordinator", stderr=log
        )
    return str(json.loads(process.stdout.readline())["endpoint"])


@pytest.fixture
def cluster(start: Any, tmp_path: Path, coordinator: str, slow: Path, daf: Daf) -> str:
    log = open(tmp_path / "worker.log", "w")
    with log:
        start(coordinator, "--slots", "2", "--plugins", slow, "--task-memory", "1G", program="daf-worker", stderr=log)
    deadline = time.monotonic() + 30
    while not json.loads(daf("workers", "-c", coordinator, "--json").stdout)["workers"]:
        assert time.monotonic() < deadline
    return coordinator


def test_the_life_of_a_job(daf: Daf, cluster: str, slow: Path, book: Path) -> None:
    at = {"DAF_COORDINATOR": cluster}
    first = daf("submit", "wordcount", book, "--top", "1", **at)
    assert (first.returncode, first.stdout, first.stderr) == (0, "1\n", "")
    watched = daf("watch", "1", **at)
    assert (watched.returncode, watched.stdout) == (0, "the\t3\n") and "done in" in watched.stderr
    about = one_object(daf("watch", "1", "--json", **at).stdout)
    assert (about["job"], about["status"], about["value"], about["counters"]) == (1, "done", [["the", 3]], {"words": 8})

    submitted = one_object(daf("submit", slow, "100", "--seconds", "20", "--json", **at).stdout)
    assert submitted == {"job": 2, "status": "submitted"}
    reasons = daf("explain", "2", **at)
    assert reasons.returncode == 0 and "2" in reasons.stdout
    listed = {job["job"]: job for job in one_object(daf("jobs", "--json", **at).stdout)["jobs"]}
    assert listed[1]["state"] == "done" and listed[2]["type"] == "slow" and listed[2]["state"] != "done"
    table = daf("jobs", **at).stdout.splitlines()
    assert table[0].split()[:3] == ["JOB", "TYPE", "STATE"] and table[1].split()[:2] == ["2", "slow"]

    cancelled = daf("cancel", "1", "2", "--reason", "enough", **at)
    assert cancelled.stdout.splitlines() == ["job 1 (wordcount): had ended before: done", "job 2 (slow): cancelled"]
    ended = daf("watch", "2", **at)
    assert ended.returncode == 5 and "enough" in ended.stderr
    assert one_object(daf("watch", "2", "--json", **at).stdout)["status"] == "cancelled"


def test_a_job_that_fails_on_a_worker(daf: Daf, cluster: str, slow: Path) -> None:
    number = daf("submit", slow, "2", "--fail", "-c", cluster).stdout.strip()
    done = daf("watch", number, "-c", cluster)
    assert done.returncode == 4 and "RuntimeError: woken from nap" in done.stderr and "in map" in done.stderr
    error = one_object(daf("watch", number, "-c", cluster, "--json").stdout)["error"]
    assert error["kind"] == "exception" and "slow.py" in error["traceback"]
    again = daf("run", slow, "3", "--engine", cluster, "--json")
    assert again.returncode == 0, again.stderr
    assert one_object(again.stdout)["counters"] == {"naps": 3}


def test_a_task_may_not_take_all_memory_unless_somebody_said_so(
    daf: Daf, start: Any, tmp_path: Path, coordinator: str
) -> None:
    plugin = tmp_path / "limits.py"
    plugin.write_text(
        "import resource\nfrom dataclasses import dataclass\nfrom mapreduce import Job\n"
        "@dataclass\nclass Limits(Job):\n"
        "    def splits(self): return [0]\n"
        "    def map(self, split, ctx): ctx.count('unlimited', resource.getrlimit(resource.RLIMIT_DATA)[0] < 0)\n"
    )
    with open(tmp_path / "worker.log", "w") as log:
        start(coordinator, "--slots", "2", "--plugins", plugin, program="daf-worker", stderr=log)
    done = daf("run", plugin, "--engine", coordinator, "--json")
    assert done.returncode == 0, done.stderr
    assert one_object(done.stdout)["counters"] == {"unlimited": 0}


def test_who_is_there(daf: Daf, cluster: str) -> None:
    row = daf("workers", "-c", cluster).stdout.splitlines()[1]
    assert "wordcount" in row and "slow" in row and " 2 " in row
    answer = daf("ping", cluster)
    assert answer.returncode == 0 and "1 workers" in answer.stdout
    about = one_object(daf("ping", cluster, "--json").stdout)
    assert about["workers"] == 1 and about["seconds"] > 0 and 0 < about["memory"] < 64e6


@pytest.mark.parametrize("command", [["watch", "7"], ["explain", "7"], ["cancel", "7"]])
def test_an_unknown_job_is_said(daf: Daf, coordinator: str, command: list[str]) -> None:
    done = daf(*command, "-c", coordinator)
    assert done.returncode == 6 and "there is no job 7" in done.stderr and done.stdout == ""


def test_nobody_there_is_said(start: Any, book: Path) -> None:
    """By each command, in its own time; they wait side by side."""
    nobody = "tcp://127.0.0.1:1"
    commands = ["jobs", "workers", "watch 1", "submit wordcount book.txt", f"run wordcount book.txt --engine {nobody}"]
    env = ENVIRONMENT | {"DAF_COORDINATOR": nobody}
    for command, process in [(command, start(*command.split(), env=env)) for command in commands]:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 7 and out == "", command
        assert f"no coordinator answers at {nobody}" in err and "Traceback" not in err, command


def test_ping_ends_after_its_timeout(daf: Daf) -> None:
    done = daf("ping", "tcp://127.0.0.1:1", "--timeout", "0.5", "--json")
    assert done.returncode == 7 and one_object(done.stdout)["error"]["type"] == "Unreachable"


def test_a_coordinator_without_workers_says_so(daf: Daf, coordinator: str) -> None:
    done = daf("workers", "-c", coordinator)
    assert done.returncode == 0 and "no worker is connected" in done.stderr


@pytest.mark.parametrize("program", ["daf-coordinator", "daf-worker"])
def test_the_programs_end_cleanly(start: Any, coordinator: str, tmp_path: Path, program: str) -> None:
    options = ["--bind", "tcp://127.0.0.1:0", "--store", "memory://"] if "coordinator" in program else [coordinator]
    process = start(*options, program=program)
    while line := process.stderr.readline():
        if "listens on" in line or "joined" in line or "welcome" in line.lower():
            break
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("program", "args", "code", "words"),
    [
        ("daf-coordinator", ["--bind", "tcp://0.0.0.0:7077", "--store", "memory://"], 10, "0.0.0.0"),
        ("daf-coordinator", ["--bind", "nonsense", "--store", "memory://"], 2, "nonsense"),
        ("daf-coordinator", ["--store", "mysql://x"], 8, "names no store"),
        ("daf-coordinator", ["--lease", "1", "--heartbeat", "5"], 2, "too short for a heartbeat"),
        ("daf-coordinator", ["--log-level", "loud"], 2, "loud"),
        ("daf-worker", ["nonsense"], 2, "nonsense"),
        ("daf-worker", ["--plugins", "nix.py"], 2, "there is no file 'nix.py'"),
        ("daf-worker", ["--only", "wordcuont"], 2, "did you mean wordcount"),
        ("daf-worker", ["--task-memory", "lots"], 2, "'lots' is no size"),
        ("daf-worker", ["--slots", "0"], 2, "0 is not in the range"),
    ],
)
def test_a_wrong_start_gets_one_clear_error(daf: Daf, program: str, args: list[str], code: int, words: str) -> None:
    done = daf(*args, program=program)
    assert done.returncode == code and words in done.stderr and "Traceback" not in done.stderr
