"""How soon a lost worker is missed, and whether one that lives ever is, while every core is overloaded.

Real workers, most of which are lost again and again: killed, stopped (a host that hangs), or cut off by a proxy that
swallows all they say (a network that fails without a word). Meanwhile three endless loops for each core want all of it.
The coordinator has its default settings. A loss counts from when it was caused until a client is not told any more that
the worker is there.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from mapreduce.client import Client
from tests.coordinator.running import Process
from tests.process.proxy import Faults, Proxy
from tests.worker.scripted import start_worker

KILLED, STOPPED, CUT_OFF, WITNESSES = 3, 3, 3, 3
LOOPS = 3
"""Endless loops for each core."""


@dataclass
class Losses:
    """Seconds until each loss was noticed, by how it was caused, and how often one that lived was given up."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {"killed": [], "stopped": [], "cut off": []})
    false: int = 0


class Site:
    """Workers by what will happen to them: k0, s0, c0, ...; those called w0, ... are left alone."""

    def __init__(self, folder: Path, seed: int):
        with socket.create_server(("127.0.0.1", 0)) as free:
            bind = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self.folder, self.rng = folder, random.Random(seed)
        self.coordinator = Process(f"sqlite://{folder}/state.db", folder, bind=bind)
        self.client = Client(bind, patience=60)
        self.proxies = {f"c{n}": Proxy(bind, seed + n) for n in range(CUT_OFF)}
        names = [
            f"{kind}{n}" for kind, count in (("k", KILLED), ("s", STOPPED), ("w", WITNESSES)) for n in range(count)
        ]
        self.workers = {name: self.start(name) for name in (*names, *self.proxies)}
        self.loops: list[subprocess.Popen[bytes]] = []
        self.due: dict[str, float] = {}
        self.losses = Losses()

    def start(self, name: str) -> subprocess.Popen[bytes]:
        endpoint = self.proxies[name].endpoint if name in self.proxies else self.coordinator.endpoint
        return start_worker(endpoint, self.folder / name, name=name)

    def overload(self) -> None:
        for _ in range(LOOPS * len(os.sched_getaffinity(0))):
            self.loops.append(subprocess.Popen([sys.executable, "-c", "while True: pass"]))

    def look(self) -> set[str]:
        """Who is there; who is missed for the first time is noted."""
        there = {info.worker.partition("~")[0] for info in self.client.workers()}
        now = time.monotonic()
        for name in [name for name in self.due if name not in there]:
            kind = {"k": "killed", "s": "stopped", "c": "cut off"}[name[0]]
            self.losses.seconds[kind].append(now - self.due.pop(name))
        return there

    def lose(self, name: str) -> None:
        """Cause the loss of one worker."""
        if name in self.proxies:
            self.proxies[name].faults = Faults(blackhole=True)
        else:
            self.workers[name].send_signal(signal.SIGKILL if name[0] == "k" else signal.SIGSTOP)
        self.due[name] = time.monotonic()

    def round(self) -> None:
        """Lose all that can be lost, at moments of their own, and have them back."""
        victims = [name for name in self.workers if name[0] != "w"]
        begin = time.monotonic()
        moments = {name: begin + self.rng.uniform(0, 2.0) for name in victims}
        while moments or self.due:
            assert time.monotonic() < begin + 60, f"not missed: {self.due}"
            for name in [name for name, moment in moments.items() if time.monotonic() >= moment]:
                del moments[name]
                self.lose(name)
            self.look()
            time.sleep(0.01)
        for name in victims:
            if name in self.proxies:
                self.proxies[name].faults = Faults()
                self.proxies[name].cut()
            elif name[0] == "s":
                self.workers[name].send_signal(signal.SIGCONT)
            else:
                self.workers[name].wait()
                self.workers[name] = self.start(name)
        self.gather()

    def gather(self) -> None:
        end = time.monotonic() + 120
        while missing := set(self.workers) - self.look():
            assert time.monotonic() < end, f"not back: {missing}"
            time.sleep(0.05)

    def close(self) -> None:
        for process in (*self.loops, *self.workers.values()):
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        self.client.close()
        for proxy in self.proxies.values():
            with contextlib.suppress(OSError):
                proxy.__exit__(None, None, None)
        self.coordinator.close()


def measured(minutes: float, seed: int) -> Losses:
    """Rounds for so long. Losses that nobody caused are looked for in the coordinator's log."""
    with tempfile.TemporaryDirectory(prefix="daf-lost-") as top:
        site = Site(Path(top), seed)
        try:
            site.gather()
            site.overload()
            end = time.monotonic() + 60 * minutes
            while time.monotonic() < end:
                site.round()
        finally:
            site.close()
        log = (Path(top) / "coordinator.log").read_text().splitlines()
        told = [line for line in log if re.search(r"worker \S+ (left: |is given up: )", line) and not _ours(line)]
        site.losses.false = len(told) - sum(map(len, site.losses.seconds.values()))
        if site.losses.false:
            print("\n".join(told))
        return site.losses


def _ours(line: str) -> bool:
    """A worker that came back under a new name, or whose connection was cut on purpose, to have it back sooner."""
    return "registered anew" in line or re.search(r"worker c\S+ left: its connection broke", line) is not None


def detected(minutes: float, seed: int) -> list[tuple[str, str, str]]:
    losses = measured(minutes, seed)
    text = "; ".join(
        f"{kind} {_at(seconds, 0.5):.2f} / {_at(seconds, 0.99):.2f} / {max(seconds):.2f} s ({len(seconds)})"
        for kind, seconds in losses.seconds.items()
    )
    every = [second for seconds in losses.seconds.values() for second in seconds]
    cores = len(os.sched_getaffinity(0))
    what = (
        f"a lost worker is missed, {LOOPS} endless loops for each of {cores} cores beside it (median / p99 / longest)"
    )
    figure = f"{text}; all p99 {_at(every, 0.99):.2f} s; false alarms {losses.false}"
    return [(what, figure, f"python -m tests.reliability --only detection --minutes {minutes:g} --seed {seed}")]


def _at(values: list[float], share: float) -> float:
    """The smallest value that so many of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
