"""What released versions wrote is read by this one. The files come from `make.py`, run with the code of the release
that the folder is named after."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mapreduce.client import Client
from mapreduce.coordination.journal import Journal
from mapreduce.errors import JobCancelled, StoreError
from mapreduce.store import open_store
from nerf_plugin.field import Field
from tests.coordinator.crashpoints import MAPS, REDUCES, STAGES, Worker, value
from tests.coordinator.running import Working, coordinator
from tests.golden.make import NAMES, POINTS

HERE = Path(__file__).parent
RELEASES = sorted(path.name for path in HERE.iterdir() if (path / "ball.json").exists())
STORES = [f"{release}/{how}" for release in RELEASES for how in ("stopped", "killed")]


def test_there_are_some() -> None:
    assert "0.1.0" in RELEASES


@pytest.mark.parametrize("name", STORES)
def test_unfinished_jobs_go_on_and_end_with_the_same_bits(tmp_path: Path, name: str) -> None:
    shutil.copytree(HERE / name, tmp_path / "store")
    with coordinator(f"sqlite://{tmp_path}/store/state.db") as c, Client(c.endpoint) as client:
        assert {job.job: job.state for job in client.jobs()} == {
            1: "done", 2: "cancelled", 3: "mapping", 4: "reducing", 5: "planning"
        }  # fmt: skip
        assert client.submit("fake", b"done", token="done") == 1
        with pytest.raises(JobCancelled, match="not needed"):
            client.wait(2)
        worker = Worker(c.endpoint, maps=MAPS, reduces=REDUCES, stages=STAGES, name="w1")
        with Working(worker):
            ends = {job: client.wait(job, timeout=30) for job in (1, 3, 4, 5)}
    for job, end in ends.items():
        assert end.value == value(NAMES[job - 1].encode())
        assert end.counters == {"tasks": STAGES * (MAPS + REDUCES)}
    last = STAGES - 1
    again = {(3, 0, 1, index) for index in range(MAPS - 1)} | {(4, last, 2, index) for index in range(REDUCES - 1)}
    assert not again & set(worker.ran), "a result that the old version had committed was computed again"
    assert len(worker.ran) == len(set(worker.ran))


@pytest.mark.parametrize("release", RELEASES)
def test_fields_hold_what_they_held(release: str) -> None:
    field = Field.load(HERE / release / "ball.field")
    told = json.loads((HERE / release / "ball.json").read_text())
    assert field.rows[::37].tolist() == told["rows"]
    assert field.bounds.tolist() == told["bounds"] and list(field.resolution) == told["resolution"]
    np.testing.assert_allclose(field.sigma(POINTS), told["sigma"], rtol=1e-5)
    np.testing.assert_allclose(field.color(POINTS[:3], np.array([1.0, 0, 0])), told["color"], rtol=1e-5)


def test_a_store_of_a_newer_version_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    shutil.copy(HERE / "0.1.0" / "stopped" / "state.db", path)
    store = open_store(f"sqlite://{path}")
    (item,) = store.lrange("job:2:log")
    store.delete("job:2:log")
    store.rpush("job:2:log", item.replace(b"\xa5ended\x01", b"\xa5ended\x63"))
    store.commit()
    with pytest.raises(StoreError, match=r"'ended' has version 99, this release reads .*use the one that wrote it"):
        list(Journal(store).read())
    store.set("format", b"2")
    store.commit()
    store.close()
    command = [sys.executable, "-m", "mapreduce.coordinator", "--bind", "tcp://127.0.0.1:0", "--store"]
    found = subprocess.run([*command, f"sqlite://{path}"], capture_output=True, text=True, timeout=30)
    assert found.returncode == 8 and found.stderr.count("\n") == 1
    assert "the store has layout b'2', this version of DAF reads 1: use the version that wrote it" in found.stderr
