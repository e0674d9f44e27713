"""Mixed jobs while processes are killed: the same bits, and in the end no more descriptors, memory or bytes on the disk
than at the beginning."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path

import psutil

from mapreduce import Job
from mapreduce.engines.inline import InlineEngine
from mapreduce.engines.local import LocalEngine
from mapreduce.recycle import IDLE
from tests.process.test_kills import bits
from tests.worker.jobs import Arrays, Harm, Letters, Naps

Row = tuple[str, str, str]
TEXTS = ["abcde" * 50, "xyz" * 30, "hello"] * 20
KEEP = 20
"""Ended jobs that the engine remembers: what more there were must leave nothing."""


SETTLE = 5.0 + IDLE


def mixture() -> list[tuple[Job, dict[str, int]]]:
    """Jobs and options: small messages, large blobs, a split that fails for good, a few long tasks."""
    return [
        (Letters(TEXTS, sleep=0.03), {}),
        (Arrays(12, 2 << 20), {}),
        (Harm("raise", 12), {"skip_bad": 1}),
        (Naps([0.5, 0.1, 0.8, 0.2]), {}),
    ]


def soaked(minutes: float, seed: int) -> list[Row]:
    """A SIGKILL of a worker, a slot or the coordinator every ten seconds or so."""
    rng = random.Random(seed)
    jobs = mixture()
    expected = [bits(InlineEngine().run(job, **options)) for job, options in jobs]
    over, kills = threading.Event(), {"coordinator": 0, "worker": 0, "slot": 0}
    runs = retries = skipped = 0
    with LocalEngine(2, settings={"keep_ended": KEEP}) as engine:
        for _ in range(KEEP):  # from here on each job that ends pushes another one out
            engine.run(Letters(["warm"]))

        def harass() -> None:
            while not over.wait(rng.uniform(5.0, 15.0)):
                role = rng.choice(list(kills))
                try:
                    victims = slots() if role == "slot" else engine.pids(role)
                    os.kill(rng.choice(victims), signal.SIGKILL)
                    kills[role] += 1
                except (ProcessLookupError, psutil.NoSuchProcess, IndexError):
                    continue

        before = level(engine)
        killer = threading.Thread(target=harass)
        killer.start()
        began = time.monotonic()
        try:
            while time.monotonic() - began < 60 * minutes:
                which = rng.randrange(len(jobs))
                job, options = jobs[which]
                result = engine.run(job, attempts=20 if not options else 5, **options)
                assert bits(result) == expected[which], f"run {runs}, {job!r:.60}, differs (seed {seed})"
                runs, retries = runs + 1, retries + int(result.metrics["retries"])
                skipped += len(result.skipped)
                del result
        finally:
            over.set()
            killer.join()
        for _ in range(KEEP):
            engine.run(Letters(["warm"]))
        time.sleep(SETTLE)  # what is kept of released blobs, to be overwritten, is let go after a while
        after = level(engine)
    command = f"python -m tests.reliability --only soak --minutes {minutes:g} --seed {seed}"
    dead = ", ".join(f"{count} of {role}s" for role, count in kills.items())
    return [
        (
            "SIGKILLs survived by mixed jobs",
            f"{dead}, in {minutes:g} minutes; {runs:,} jobs ended with the same bits, {retries:,} attempts repeated, "
            f"{skipped} bad splits set aside",
            command,
        ),
        (
            "level before and after that",
            ", ".join(f"{name} {before[name]:,} and {after[name]:,}" for name in before),
            command,
        ),
    ]


def slots() -> list[int]:
    """The processes of this tree that run tasks."""
    found = psutil.Process().children(recursive=True)
    return [child.pid for child in found if child.cmdline()[:1] and child.cmdline()[0].startswith("daf-slot")]


def level(engine: LocalEngine) -> dict[str, int]:
    """What must not grow, three seconds after the last job: processes, their descriptors and memory, bytes on disk."""
    time.sleep(3.0)
    me = psutil.Process()
    tree = [me, *me.children(recursive=True)]
    files = memory = 0
    for process in tree:
        try:
            files += process.num_fds()
            memory += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    folder = Path(engine.endpoint.removeprefix("ipc://")).parent
    blobs = store = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                size = (Path(place) / name).stat().st_size
            except FileNotFoundError:
                continue
            if name.startswith("store"):
                store += size
            else:
                blobs += size
    found = {"processes": len(tree), "descriptors": files, "MiB resident": memory >> 20}
    return found | {"KiB of blobs and logs": blobs >> 10, "KiB of store (its log is cut at 16 MiB)": store >> 10}
