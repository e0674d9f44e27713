"""kill -9 of the coordinator at random moments while jobs are submitted and run: what was acknowledged is finished,
with the same result as without kills, and what was committed is not run again.

The workers are fakes that keep a result until it is acknowledged, as real ones do. The coordinator is a real process on
a real store.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from mapreduce.client import Client
from mapreduce.errors import DafError
from mapreduce.wire import messages as m
from tests.coordinator.fakes import Fake
from tests.coordinator.running import Process, Working, coordinator

SETTINGS = ("heartbeat=0.1", "lease=1", "assign_grace=0.5", "speculate=false")
MAPS, REDUCES, STAGES = 30, 3, 2


class Slow(Fake):
    """Takes a moment for each batch, so that kills meet tasks at all stages of their lives."""

    def do(self, a: m.Assign, tasks: list[tuple[int, int]]) -> None:
        if tasks:
            time.sleep(0.002)
        super().do(a, tasks)


def value_without_kills() -> str:
    with coordinator() as c, Client(c.endpoint) as client:
        with Working(Fake(c.endpoint, maps=MAPS, reduces=REDUCES, stages=STAGES)):
            job = client.submit("fake", b"")
            return repr(client.wait(job, timeout=30).value)


@pytest.mark.parametrize("seed", range(3))
def test_acknowledged_jobs_live_through_kills(tmp_path: Path, seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    process = Process(f"sqlite://{tmp_path}/state.db", tmp_path, *SETTINGS)
    acknowledged: dict[int, str] = {}
    enough = threading.Event()
    errors: list[BaseException] = []

    def submit() -> None:
        """A stream of submissions; each is repeated with its token until it is acknowledged."""
        try:
            with Client(process.endpoint, patience=30) as client:
                while not enough.is_set():
                    token = f"token-{len(acknowledged)}"
                    job = client.submit("fake", b"", token=token)
                    assert job not in acknowledged, f"two submissions got job {job}"
                    acknowledged[job] = token
                    time.sleep(0.1)
        except BaseException as error:
            errors.append(error)

    fakes = [Slow(process.endpoint, maps=MAPS, reduces=REDUCES, stages=STAGES, name=f"w{i}") for i in range(2)]
    submitting = threading.Thread(target=submit, daemon=True)
    with Working(*fakes):
        submitting.start()
        for _ in range(8):
            time.sleep(rng.uniform(0.05, 0.5))
            process.kill()
            process.start()
        enough.set()
        submitting.join(60)
        with Client(process.endpoint, patience=30) as client:
            ends = {job: client.wait(job, timeout=60) for job in acknowledged}
    process.close()
    assert not errors and not submitting.is_alive()
    assert len(acknowledged) > 5
    assert {end.state for end in ends.values()} == {"done"}
    expected = value_without_kills()
    wrong = [job for job, end in ends.items() if job == 1 and repr(end.value) != expected]
    assert not wrong
    assert all(end.counters == {"tasks": STAGES * (MAPS + REDUCES)} for end in ends.values())


def test_committed_tasks_are_not_run_again(tmp_path: Path) -> None:
    """A worker that keeps its results until they are acknowledged never sees a task twice, however often the
    coordinator dies."""
    process = Process(f"sqlite://{tmp_path}/state.db", tmp_path, *SETTINGS)
    rng = random.Random(9)
    fake = Slow(process.endpoint, maps=400, reduces=REDUCES, stages=3, name="w")
    with Working(fake), Client(process.endpoint, patience=30) as client:
        job = client.submit("fake", b"")
        for _ in range(6):
            time.sleep(rng.uniform(0.05, 0.3))
            process.kill()
            process.start()
        assert client.wait(job, timeout=60).state == "done"
    process.close()
    twice = {key: count for key, count in Counter(fake.ran).items() if count > 1}
    assert not twice, f"{len(twice)} of {len(fake.ran)} tasks ran twice: {sorted(twice)[:10]}"


def test_what_a_late_worker_holds_is_not_given_to_the_first_one_back(tmp_path: Path) -> None:
    process = Process(f"sqlite://{tmp_path}/state.db", tmp_path, "heartbeat=0.2", "lease=5", "speculate=false")
    holding = [True]
    first, late = (
        Fake(process.endpoint, maps=8, slots=4, name=name, hold=lambda key: key[2] == 1 and holding[0])
        for name in ("first", "late")
    )
    with Client(process.endpoint, patience=30) as client:
        for fake in (first, late):
            fake.run(lambda fake=fake: fake.welcome is not None)  # type: ignore[misc]
        job = client.submit("fake", b"")
        while len(first.kept) < 4 or len(late.kept) < 4:
            first.turn(), late.turn()
        process.kill()
        process.start()
        late.socket.close(0)
        first.slots = 8  # it has room for what the other one holds
        first.connect()
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            first.turn()
        assert first.welcome is not None and len(first.kept) == 4
        late.connect()
        late.run(lambda: late.welcome is not None)
        holding[0] = False
        first.let_go(), late.let_go()
        with Working(first, late):
            assert client.wait(job, timeout=30).retries == 0
    process.close()
    assert len(first.ran) + len(late.ran) == len(set(first.ran + late.ran))


def test_workers_that_do_not_come_back_are_not_waited_for_long(tmp_path: Path) -> None:
    process = Process(f"sqlite://{tmp_path}/state.db", tmp_path, "heartbeat=0.2", "lease=5")
    with Client(process.endpoint, patience=30) as client:
        dead = Fake(process.endpoint, name="dead", hold=lambda key: True)
        job = client.submit("fake", b"")
        dead.run(lambda: bool(dead.kept))
        process.kill()
        dead.close()
        process.start()
        with Working(Fake(process.endpoint)):
            assert client.wait(job, timeout=30).state == "done"
    process.close()
    assert "worker dead did not come back" in (tmp_path / "coordinator.log").read_text()


def test_a_job_that_ended_stays_ended(tmp_path: Path) -> None:
    process = Process(f"sqlite://{tmp_path}/state.db", tmp_path, *SETTINGS)
    fake = Fake(process.endpoint, maps=5)
    with Working(fake), Client(process.endpoint, patience=30) as client:
        done = client.submit("fake", b"", token="done")
        end = client.wait(done, timeout=30)
        cancelled = client.submit("fake", b"", version="none has it")
        client.cancel(cancelled, "not needed")
        process.kill()
        process.start()
        again = client.wait(done, timeout=30)
        assert (again.value, again.counters, again.outputs, again.nodes) == (
            end.value,
            end.counters,
            end.outputs,
            end.nodes,
        )
        update = client.update(cancelled)
        assert (update.state, update.note) == ("cancelled", "not needed")
        assert client.submit("fake", b"", token="done") == done
        try:
            client.cancel(done)
        except DafError as error:
            raise AssertionError("cancelling what has ended does nothing") from error
        assert client.update(done).state == "done"
    process.close()


def test_elapsed_goes_on_over_a_restart(tmp_path: Path) -> None:
    process = Process(f"sqlite://{tmp_path}/state.db", tmp_path, "heartbeat=0.1", "lease=30")
    with Client(process.endpoint, patience=30) as client:
        fake = Fake(process.endpoint, maps=2, hold=lambda key: key[2] == 1)
        job = client.submit("fake", b"")
        fake.run(lambda: bool(fake.kept))
        time.sleep(0.8)
        before = client.update(job).elapsed
        process.kill()
        process.start()
        with Working(fake):
            assert client.update(job).elapsed > before
            fake.hold = lambda key: False
            fake.let_go()
            assert client.wait(job, timeout=30).elapsed > before > 0.4
    process.close()
