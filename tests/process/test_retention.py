"""Blobs go when nothing refers to them, also those of workers that were dead when it was decided."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mapreduce import params, plugins
from mapreduce.client import Client
from mapreduce.errors import Refused, UnknownJob
from tests.process.test_harm import wait_until
from tests.worker.jobs import Letters
from tests.worker.scripted import JOBS, start_worker

ROOT = Path(__file__).parents[2]


class Cluster:
    """A coordinator on a file and workers on folders that outlive them."""

    def __init__(self, folder: Path, *options: str):
        self.folder, self.options = folder, options
        self.endpoint = f"ipc://{folder}/c"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def coordinator(self) -> None:
        command = [sys.executable, "-m", "mapreduce.cli.coordinator", "--bind", self.endpoint, "--announce"]
        command += ["--store", f"sqlite://{self.folder}/store", "--log-level", "warning", *self.options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)})
        json.loads(process.stdout.readline())
        process.stdout.close()
        self.processes["coordinator"] = process

    def worker(self, name: str) -> None:
        self.processes[name] = start_worker(self.endpoint, self.folder / name, name=name)

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def jobs_at(self, worker: str) -> set[int]:
        """The jobs of which a worker's folder holds something."""
        blobs = self.folder / worker / "blobs"
        found = {Path(place).relative_to(blobs).parts[0] for place, _, files in os.walk(blobs) if files}
        return {int(number) for number in found}


@pytest.fixture
def cluster(tmp_path, request):
    made = Cluster(tmp_path, *getattr(request, "param", ()))
    made.coordinator()
    made.worker("w")
    plugins.add(JOBS)
    yield made
    for name in list(made.processes):
        made.kill(name)


def submit(client: Client, *texts: str, sleep: float = 0.0) -> int:
    packed = params.pack(Letters(list(texts), sleep=sleep))
    for _ in range(500):
        if any("letters" in worker.plugins for worker in client.workers()):
            break
        time.sleep(0.02)
    return client.submit("letters", packed, version=plugins.version("letters"))


def test_a_worker_that_was_dead_learns_what_was_deleted(cluster):
    with Client(cluster.endpoint, patience=30) as client:
        done = [submit(client, "abc", "cab") for _ in range(3)]
        for job in done:
            client.wait(job, 30)
        running = submit(client, *["abc"] * 200, sleep=0.05)
        while client.update(running).maps_done < 3:
            time.sleep(0.02)
        assert cluster.jobs_at("w") == {*done, running}
        cluster.kill("w")
        client.cancel(running)
        client.forget(done[1])
        assert cluster.jobs_at("w") == {*done, running}, "nobody is there to delete it"
        cluster.worker("w")
        wait_until(lambda: cluster.jobs_at("w") == {done[0], done[2]}, 30)


def test_forgetting_outlives_the_coordinator(cluster):
    with Client(cluster.endpoint, patience=30) as client:
        first, second = submit(client, "abc"), submit(client, "xyz")
        for job in (first, second):
            client.wait(job, 30)
        client.forget(first)
        cluster.kill("w")
        for _ in range(2):
            with pytest.raises(UnknownJob):
                client.update(first)
            cluster.kill("coordinator")
            cluster.coordinator()
        assert client.update(second).state == "done"
        cluster.worker("w")
        wait_until(lambda: cluster.jobs_at("w") == {second}, 30)
        live = submit(client, *["abc"] * 50, sleep=0.1)
        with pytest.raises(Refused, match="cancel it first"):
            client.forget(live)


@pytest.mark.parametrize(
    "cluster", [("--keep-jobs", "2"), ("--keep-bytes", "200")], indirect=True, ids=["jobs", "bytes"]
)
def test_old_jobs_make_room_for_new_ones(cluster):
    with Client(cluster.endpoint, patience=30) as client:
        for _ in range(6):
            client.wait(submit(client, "abc"), 30)
        left = [update.job for update in client.jobs()]
        assert left[0] == 6 and 1 <= len(left) <= 2
        wait_until(lambda: cluster.jobs_at("w") == set(left), 30)


@pytest.mark.parametrize("cluster", [("--keep-for", "2s")], indirect=True)
def test_old_jobs_go_by_themselves_also_over_a_restart(cluster):
    with Client(cluster.endpoint, patience=30) as client:
        client.wait(submit(client, "abc"), 30)
        cluster.kill("coordinator")
        time.sleep(2.0)
        cluster.coordinator()
        wait_until(lambda: client.jobs() == (), 30)
        wait_until(lambda: cluster.jobs_at("w") == set(), 30)
