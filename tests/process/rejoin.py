"""Real workers around a coordinator that is killed and started again, while a job runs whose tasks leave marks."""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mapreduce import params
from mapreduce.client import Client
from tests.coordinator.running import Process
from tests.worker.jobs import Marks
from tests.worker.scripted import start_worker


@dataclass
class Told:
    """Seconds from each kill of the coordinator until the next one listens, and until all workers are back; how often
    each task ran; and how often the coordinator counted an attempt as lost."""

    listening: list[float] = field(default_factory=list)
    back: list[float] = field(default_factory=list)
    ran: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    value: bytes = b""


def restarted(folder: Path, seed: int, *, workers: int, restarts: int, tasks: int, sleep: float) -> Told:
    """Run the job; kill the coordinator so often, at random moments of it.

    Tasks are longer than `Settings.brief`, so that none waits behind a slot: such a one may be called back for an idle
    worker just when it begins, and is then run by both.
    """
    rng, told = random.Random(seed), Told()
    process = Process(f"sqlite://{folder}/state.db", folder, "brief=0.1")
    started: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(workers):
            started.append(start_worker(process.endpoint, folder / "data", slots=2, name=f"w{number}"))
        with Client(process.endpoint, patience=30) as client:
            _all_there(client, workers)
            job = Marks(str(folder / "marks"), tasks, sleep)
            number = client.submit("marks", params.pack(job))
            for _ in range(restarts):
                time.sleep(rng.uniform(0.1, 0.6))
                begin = time.monotonic()
                process.kill()
                process.start()
                told.listening.append(time.monotonic() - begin)
                with Client(process.endpoint, patience=30) as fresh:
                    _all_there(fresh, workers)
                told.back.append(time.monotonic() - begin)
            update = client.wait(number, timeout=120)
            told.retries, told.value = update.retries, update.value
        told.ran.update((folder / "marks").read_text().splitlines())
    finally:
        for worker in started:
            worker.terminate()
        for worker in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(10)
            worker.kill()
            worker.wait()
        process.close()
    return told


def _all_there(client: Client, count: int) -> None:
    end = time.monotonic() + 60
    while len(client.workers()) < count:
        assert time.monotonic() < end, "workers are missing"
        time.sleep(0.005)
