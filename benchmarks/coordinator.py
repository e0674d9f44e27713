"""How fast is the coordinator itself? Workers that answer at once, over real sockets, against a real coordinator
process.

    python benchmarks/coordinator.py [--tasks 100000] [--workers 2] [--store sqlite:///tmp/bench.db] [--profile]

Prints one line of JSON: tasks a second, the coordinator's own seconds a task, its memory, messages a task. With
--profile the coordinator runs in this process under cProfile, and what it spent its time on is printed.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zmq

from mapreduce import __version__
from mapreduce.client import Client
from mapreduce.coordinator import Coordinator
from mapreduce.store import open_store
from mapreduce.wire import messages as m
from mapreduce.wire import sockets
from mapreduce.wire.typed import at_worker, encode


def worker(endpoint: str, number: int, maps: int, slots: int, count: int = 1) -> None:
    """Be `count` workers, each with a connection of its own, that answer every task at once, until the coordinator
    goes. As little Python a task as can be: it shares the machine with what is measured."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    contexts = [zmq.Context() for _ in range(0, count, 500)]  # a context holds some 1,000 sockets
    poller, members = zmq.Poller(), []
    for name in range(number, number + count):
        socket = sockets.dealer(contexts[(name - number) // 500], endpoint)
        node = m.Node(f"node-{name}", "here", "/nowhere", "tcp://127.0.0.1:9")
        sockets.send(
            socket, encode(m.Hello(m.PROTOCOL, __version__, python, f"w{name}", node, slots, {"empty": "1"}, name))
        )
        poller.register(socket, zmq.POLLIN)
        members.append(socket)
    beat = time.monotonic() + 1.0
    while True:
        ready = poller.poll(max(0.0, 1e3 * (beat - time.monotonic())))
        if time.monotonic() > beat:
            beat = time.monotonic() + 1.0
            for socket in members:
                sockets.send(socket, encode(m.Beat(())))
        for socket, _ in ready:
            while (frames := sockets.receive(socket)) is not None:
                for message in map(at_worker, frames):
                    if isinstance(message, m.Reregister):
                        return
                    if isinstance(message, m.Assign):
                        sockets.send(socket, encode(answer(message, maps)))


def answer(message: m.Assign, maps: int) -> m.Message:
    """What a worker says that has done all tasks of an assignment: a plan of `maps` map tasks, then of nothing."""
    key = m.TaskKey(message.job, message.stage, message.kind, *message.tasks[0])
    if message.kind == 0:
        last = message.stage > 0
        return m.Planned(key, "empty", *((0, 0) if last else (maps, 1)), b"", None, (), last)
    if message.kind == 3:
        return m.Finished(key, b"")
    done = tuple([m.Done(index, attempt) for index, attempt in message.tasks])
    return m.Results(message.job, message.stage, message.kind, done)


def seconds_of(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def run(options: argparse.Namespace, endpoint: str, pid: int) -> dict[str, Any]:
    command = [
        sys.executable,
        __file__,
        "--be-worker",
        endpoint,
        "--tasks",
        str(options.tasks),
        "--slots",
        str(options.slots),
    ]
    workers = [subprocess.Popen([*command, "--number", str(n)]) for n in range(options.workers)]
    try:
        with Client(endpoint) as client:
            while len(client.workers()) < options.workers:
                time.sleep(0.05)
            trips = []
            for _ in range(options.trips):
                began = time.perf_counter()
                client.ping()
                trips.append(time.perf_counter() - began)
            cpu, began = seconds_of(pid), time.perf_counter()
            update = client.wait(client.submit("empty", b""))
            seconds = time.perf_counter() - began
            cpu = seconds_of(pid) - cpu
            memory = client.ping().memory
    finally:
        for process in workers:
            process.kill()
            process.wait()
    trips.sort()
    return {
        "tasks": update.maps or options.tasks,
        "seconds": round(seconds, 3),
        "tasks_per_second": round(options.tasks / seconds),
        "coordinator_us_per_task": round(cpu / options.tasks * 1e6, 2),
        "coordinator_mib": round(memory / 2**20, 1),
        "ping_p50_ms": round(trips[len(trips) // 2] * 1e3, 3) if trips else None,
        "ping_p99_ms": round(trips[len(trips) * 99 // 100] * 1e3, 3) if trips else None,
        "workers": options.workers,
        "store": options.store.split("?")[0].split(":")[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--trips", type=int, default=500)
    parser.add_argument("--store", default="")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--be-worker", default="", help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be_worker:
        worker(options.be_worker, options.number, options.tasks, options.slots, options.count)
        return
    with tempfile.TemporaryDirectory() as folder:
        options.store = options.store or f"sqlite://{folder}/bench.db"
        if options.profile:
            profiled(options)
            return
        with serving(options.store) as found:
            print(json.dumps(run(options, found["endpoint"], found["pid"])))


@contextmanager
def serving(store: str) -> Iterator[dict[str, Any]]:
    """A coordinator process on a free port of this host; what it announces of itself."""
    command = [sys.executable, "-m", "mapreduce.coordinator", "--bind", "tcp://127.0.0.1:0", "--store", store]
    with subprocess.Popen([*command, "--announce"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as coordinator:
        assert coordinator.stdout is not None
        try:
            yield json.loads(coordinator.stdout.readline())
        finally:
            coordinator.terminate()


def crowd(workers: int, n: int, seconds: float) -> dict[str, float]:
    """`workers` connections to one coordinator: its share of a core while they only send heartbeats for `seconds`, then
    its processor time a task of a job of `n`, and how many workers it has lost in the end."""
    half = (workers + 1) // 2
    with tempfile.TemporaryDirectory() as folder, serving(f"sqlite://{folder}/bench.db") as found:
        script = [sys.executable, __file__, "--be-worker", found["endpoint"], "--tasks", str(n)]
        groups = [(0, half), (half, workers - half)]
        children = [subprocess.Popen([*script, "--number", str(a), "--count", str(b)]) for a, b in groups]
        try:
            with Client(found["endpoint"]) as client:
                while len(client.workers()) < workers:
                    time.sleep(0.2)
                idle = seconds_of(found["pid"])
                time.sleep(seconds)
                idle = (seconds_of(found["pid"]) - idle) / seconds
                cpu, began = seconds_of(found["pid"]), time.perf_counter()
                client.wait(client.submit("empty", b""))
                wall = time.perf_counter() - began
                cpu = seconds_of(found["pid"]) - cpu
                memory, lost = client.ping().memory, workers - len(client.workers())
        finally:
            for child in children:
                child.kill()
                child.wait()
    figures = {"per_task": 1e6 * cpu / n, "idle": 100 * idle, "memory": memory / 2**20, "rate": n / wall}
    return figures | {"lost": float(lost)}


def profiled(options: argparse.Namespace) -> None:
    coordinator = Coordinator("tcp://127.0.0.1:0", open_store(options.store))
    profile = cProfile.Profile()
    thread = threading.Thread(target=profile.runcall, args=(coordinator.run,))
    thread.start()
    try:
        import os

        print(json.dumps(run(options, coordinator.endpoint, os.getpid())))
    finally:
        coordinator.stop()
        thread.join()
        coordinator.close()
    pstats.Stats(profile).sort_stats("tottime").print_stats(28)


if __name__ == "__main__":
    main()
