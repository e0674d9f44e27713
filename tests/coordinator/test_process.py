"""The coordinator as a process: what it loads, how it starts, refuses to start, and stops."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mapreduce.client import Client
from mapreduce.coordinator import main
from mapreduce.store import open_store
from tests.coordinator.fakes import Fake
from tests.coordinator.running import Process, Working

COMMAND = [sys.executable, "-m", "mapreduce.coordinator", "--bind", "tcp://127.0.0.1:0", "--announce"]


def test_it_loads_neither_numpy_nor_a_plugin_and_stays_small(tmp_path: Path) -> None:
    """Less than 50 MB resident while idle; what is loaded is looked up in the process that serves."""
    code = f"""
import sys, json
from mapreduce.coordinator import serve
def ready(coordinator):
    print(json.dumps([coordinator.endpoint, sorted(sys.modules)]), flush=True)
serve("tcp://127.0.0.1:0", "sqlite://{tmp_path}/state.db", ready=ready, tether=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        endpoint, modules = json.loads(process.stdout.readline())
        with Client(endpoint) as client:
            with Working(Fake(endpoint, maps=2_000)):
                client.wait(client.submit("fake", b""), timeout=30)
            resident = client.ping().memory
        process.stdin.close()
    assert process.returncode == 0
    heavy = {"numpy", "numba", "PIL", "scipy", "plugins", "nerf_plugin", "asyncio", "click", "rich", "msgpack"}
    assert not heavy & {name.split(".")[0] for name in modules}
    assert resident < 50e6, f"{resident / 1e6:.1f} MB"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_and_keeps_its_state(tmp_path: Path, number: signal.Signals) -> None:
    process = Process(f"sqlite://{tmp_path}/state.db", tmp_path)
    with Client(process.endpoint) as client:
        job = client.submit("fake", b"")
    process.process.send_signal(number)
    assert process.process.wait(20) == 0
    assert "Traceback" not in (tmp_path / "coordinator.log").read_text()
    assert not (tmp_path / "state.db-wal").exists()  # folded into the file
    process.start()
    with Client(process.endpoint) as client, Working(Fake(process.endpoint)):
        assert client.wait(job, timeout=30).state == "done"
    process.close()


def test_it_goes_when_its_owner_does() -> None:
    with subprocess.Popen([*COMMAND, "--tether"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        assert json.loads(process.stdout.readline())["pid"] == process.pid
        process.stdin.close()
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["--bind", "tcp://0.0.0.0:0"], 10, "other hosts can reach it"),
        (["--bind", "tcp://127.0.0.1"], 2, "names no port"),
        (["--store", "mysql://x"], 8, "names no store"),
        (["--store", "sqlite:///no/such/folder/state.db"], 8, "cannot open the store"),
        (["--set", "heartbeat=often"], 2, "Expected `float`"),
        (["--set", "no_such=1"], 2, "no_such"),
        (["--set", "lease"], 2, "NAME=VALUE"),
    ],
)
def test_what_keeps_it_from_starting_is_said_in_one_line(
    arguments: list[str], code: int, why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["--bind", "tcp://127.0.0.1:0", *arguments]) == code
    error = capfd.readouterr().err
    assert error.startswith("daf-coordinator: ") and why in error and error.count("\n") == 1


def test_a_store_has_one_coordinator(tmp_path: Path) -> None:
    store = f"sqlite://{tmp_path}/state.db"
    process = Process(store, tmp_path)
    second = subprocess.run([*COMMAND, "--store", store], capture_output=True, text=True, timeout=30)
    assert second.returncode == 8 and f"in use by process {process.process.pid}" in second.stderr
    process.close()


def test_an_address_has_one_coordinator(tmp_path: Path) -> None:
    process = subprocess.Popen(COMMAND, stdout=subprocess.PIPE)
    assert process.stdout is not None
    endpoint = json.loads(process.stdout.readline())["endpoint"]
    second = subprocess.run([*COMMAND, "--bind", endpoint], capture_output=True, text=True, timeout=30)
    assert second.returncode == 2 and f"cannot listen on {endpoint}" in second.stderr
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_corrupt_store_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = open_store(f"sqlite://{path}")
    store.rpush("l", *(os.urandom(100) for _ in range(200)))
    store.commit()
    store.close()
    data = bytearray(path.read_bytes())
    data[4096 : 4096 + 2000] = bytes(2000)
    path.write_bytes(data)
    found = subprocess.run([*COMMAND, "--store", f"sqlite://{path}"], capture_output=True, text=True, timeout=30)
    assert found.returncode == 8 and "is corrupt" in found.stderr and "backup" in found.stderr
    assert "Traceback" not in found.stderr and path.read_bytes() == data
