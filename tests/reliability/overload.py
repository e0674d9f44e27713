"""A coordinator that is asked for far more than it can take: what it costs, and how long the others wait meanwhile."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from mapreduce.client import Client
from mapreduce.wire import messages as m
from mapreduce.wire import sockets
from mapreduce.wire.typed import at_client, encode
from tests.coordinator.fakes import Fake
from tests.coordinator.running import Working
from tests.security.ring import Peer, client_hello

Row = tuple[str, str, str]
ROOT = Path(__file__).resolve().parents[2]
JOBS, TASKS = 1_000, 1_000_000


def overloaded() -> list[Row]:
    """Ten times the jobs that are admitted, a million queued tasks, and a client that never reads."""
    command = [sys.executable, "-m", "mapreduce.coordinator", "--bind", "tcp://127.0.0.1:0", "--announce"]
    process = subprocess.Popen(
        [*command, "--set", f"max_jobs={JOBS}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout is not None
        endpoint = json.loads(process.stdout.readline())["endpoint"]
        about = psutil.Process(process.pid)
        empty = about.memory_info().rss
        holder = Fake(endpoint, maps=TASKS, hold=lambda key: key[2] == 1)
        with Working(holder), Client(endpoint, patience=60) as client:
            job = client.submit("fake", b"")
            while client.update(job).maps < TASKS:
                time.sleep(0.05)
            queued = about.memory_info().rss
            waits: list[float] = []
            stop = threading.Event()
            watcher = threading.Thread(target=ask, args=(endpoint, stop, waits))
            watcher.start()
            with Peer(endpoint, None) as deaf:
                deaf.say(client_hello(), *[m.ListJobs(1000), m.Watch(job)] * 2_000)
                accepted, refused, busy = flood(endpoint, 10 * JOBS - 1)
                stop.set()
                watcher.join()
                full = about.memory_info().rss
                there = len(client.workers())
        holder.close()
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    assert there == 1, "the worker whose heartbeats had to be heard was given up"
    waits.sort()
    again = "python -m tests.reliability --only overload"
    return [
        (
            f"{TASKS:,} queued tasks",
            f"{(queued - empty) / 2**20:.0f} MiB more in the coordinator ({empty / 2**20:.0f} when empty)",
            again,
        ),
        (
            f"{10 * JOBS:,} submissions where {JOBS:,} jobs are admitted, beside a client that never reads",
            f"{accepted + 1:,} accepted, {refused:,} told to come back later, {busy:,} that this was too fast; "
            f"{(full - queued) / 2**20:.0f} MiB more; another client waited {1e3 * waits[len(waits) // 2]:.0f} ms for "
            f"an answer (median of {len(waits)}; at worst {1e3 * waits[-1]:.0f}); no heartbeat was missed",
            again,
        ),
    ]


def ask(endpoint: str, stop: threading.Event, waits: list[float]) -> None:
    """A client that wants to know something now and then."""
    with Client(endpoint, patience=60) as client:
        while not stop.wait(0.01):
            began = time.monotonic()
            client.ping()
            waits.append(time.monotonic() - began)


def flood(endpoint: str, count: int) -> tuple[int, int, int]:
    """Submissions as fast as they go, each repeated until it is answered; (accepted, refused, told to slow down)."""
    accepted = refused = busy = 0
    waiting = {secrets.token_hex(8): None for _ in range(count)}
    with Peer(endpoint, None) as peer:
        peer.say(client_hello())
        while waiting:
            for token in list(waiting)[:2_000]:
                sockets.send(peer.socket, encode(m.Submit(token, "fake", bytes(200))))
            while (answer := peer.hear(at_client, 0.3)) is not None:
                if isinstance(answer, m.Accepted):
                    accepted += waiting.pop(answer.token, 0) is None
                elif isinstance(answer, m.Rejected) and answer.code == "full":
                    refused += waiting.pop(answer.token, 0) is None
                elif isinstance(answer, m.Rejected):
                    busy += 1
    return accepted, refused, busy
