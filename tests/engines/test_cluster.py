"""The cluster engine, and workers of different hosts: what cannot be mapped is fetched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mapreduce import plugins
from mapreduce.engines.cluster import ClusterEngine
from mapreduce.engines.inline import InlineEngine
from mapreduce.errors import JobFailed, Refused, Unreachable
from tests.worker.jobs import Arrays, Harm, Letters
from tests.worker.scripted import JOBS, start_worker

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A coordinator on TCP and two workers that believe to be on two hosts; this program is on a third."""
    folder = tmp_path_factory.mktemp("cluster")
    command = [sys.executable, "-m", "mapreduce.coordinator", "--bind", "tcp://127.0.0.1:0", "--announce"]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    coordinator = subprocess.Popen(command, stdout=subprocess.PIPE, env=environ)
    endpoint = json.loads(coordinator.stdout.readline())["endpoint"]
    workers = [start_worker(endpoint, folder / name, host=name, name=name) for name in ("earth", "mars")]
    plugins.add(JOBS)
    yield ClusterEngine(endpoint), folder
    for process in (*workers, coordinator):
        process.terminate()
    assert [process.wait(20) for process in (*workers, coordinator)] == [0, 0, 0]
    coordinator.stdout.close()


def jobs_of(folder: Path, host: str) -> set[str]:
    return {path.name for path in (folder / host / "blobs").iterdir()}


def test_blobs_travel_between_hosts(cluster):
    engine, folder = cluster
    job = plugins.load("letters")(texts=["abc" * 100, "cab", "zz"] * 20, sleep=0.01)
    result = engine.run(job)
    assert list(result) == list(InlineEngine().run(Letters(job.texts)))
    assert jobs_of(folder, "earth") & jobs_of(folder, "mars"), "both hosts took part"


def test_large_blobs_travel_in_chunks(cluster):
    engine, _ = cluster
    result = engine.run(plugins.load("arrays")(count=6, size=5 << 20))
    assert result.value == {0: 15.0}


def test_a_failed_job(cluster):
    engine, _ = cluster
    with pytest.raises(JobFailed, match="three is too many"):
        engine.run(plugins.load("harm")(how="raise"))


def test_another_version_is_refused_with_the_difference(cluster, monkeypatch):
    engine, _ = cluster
    monkeypatch.setattr(plugins, "version", lambda name: "file-000000000000")
    with pytest.raises(Refused, match="file-000000000000"):
        engine.run(plugins.load("letters")(texts=["a"]))


def test_nobody_there(tmp_path):
    plugins.add(JOBS)
    with pytest.raises(Unreachable, match="is daf-coordinator running"):
        ClusterEngine(f"ipc://{tmp_path}/none", patience=0.5).run(plugins.load("arrays")())


def test_job_types_of_this_file_are_the_ones_above():
    assert {Arrays.name, Harm.name, Letters.name} <= set(plugins.names())
