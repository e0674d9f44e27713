"""Kill -9 of any process of a running job, at any moment: the job ends with the same bits."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import threading
import time

import psutil
import pytest

from mapreduce.engines.inline import InlineEngine
from mapreduce.engines.local import LocalEngine
from mapreduce.wire import codec
from tests.family import named, slots
from tests.worker.jobs import Letters

JOB = Letters(["abcde" * 50, "xyz" * 30, "hello"] * 20, sleep=0.03)


def bits(result) -> str:
    digest = hashlib.sha256()
    for part in codec.dumps([list(result), result.value, sorted(result.counters.items())]):
        digest.update(part)
    return digest.hexdigest()


@pytest.fixture(scope="module")
def expected() -> str:
    return bits(InlineEngine().run(Letters(JOB.texts)))


@pytest.fixture
def engine():
    with LocalEngine(2) as engine:
        engine.run(Letters(["warm"]))
        yield engine


def during(act, delay: float = 0.4) -> threading.Thread:
    thread = threading.Timer(delay, act)
    thread.start()
    return thread


def test_a_slot_is_killed(engine, expected):
    (slot,) = slots(root(engine), "worker-1")
    killer = during(lambda: os.kill(slot, signal.SIGKILL))
    result = engine.run(JOB)
    killer.join()
    assert bits(result) == expected
    assert result.metrics["retries"] == 1


def root(engine) -> int:
    """The zygote from which the engine's processes come."""
    return psutil.Process(engine.pids("coordinator")[0]).ppid()


@pytest.mark.parametrize("stage", ["base", "slots"])
def test_a_zygote_is_killed(engine, expected, stage):
    (nested,) = named(root(engine), "daf-zygote slots")
    zygote = root(engine) if stage == "base" else nested
    killer = during(lambda: os.kill(zygote, signal.SIGKILL))
    result = engine.run(JOB)
    killer.join()
    assert bits(result) == expected
    assert len(slots(root(engine))) == 2
    assert not [pid for pid in (zygote, nested) if psutil.pid_exists(pid)], "a zombie"


def test_a_worker_is_killed(engine, expected):
    killer = during(lambda: os.kill(engine.pids("worker")[0], signal.SIGKILL))
    result = engine.run(JOB)
    killer.join()
    assert bits(result) == expected
    assert len(engine.pids("worker")) == 2


def test_the_coordinator_is_killed_and_no_task_runs_twice(engine, expected):
    killer = during(lambda: os.kill(engine.pids("coordinator")[0], signal.SIGKILL))
    result = engine.run(JOB)
    killer.join()
    assert bits(result) == expected
    assert result.metrics["retries"] == 0


def test_a_worker_is_stopped_past_its_lease_and_comes_back(expected):
    with LocalEngine(2, settings={"lease": 1.0, "heartbeat": 0.2}) as engine:
        engine.run(Letters(["warm"]))
        pid = engine.pids("worker")[0]
        stop = during(lambda: os.kill(pid, signal.SIGSTOP))
        go = during(lambda: os.kill(pid, signal.SIGCONT), 2.5)
        result = engine.run(JOB)
        stop.join()
        go.join()
        assert bits(result) == expected
        assert bits(engine.run(JOB)) == expected
        assert engine.pids("worker").count(pid) == 1


def test_kills_at_random_moments(engine, expected):
    seed = int(os.environ.get("DAF_SEED", time.time_ns() % 2**32))
    print("seed", seed)
    rng = random.Random(seed)
    over = threading.Event()

    def harass() -> None:
        for _ in range(6):
            if over.wait(rng.uniform(0.1, 0.5)):
                return
            victims = engine.pids(rng.choice(["coordinator", "worker", "worker"]))
            if victims:
                try:
                    os.kill(rng.choice(victims), signal.SIGKILL)
                except ProcessLookupError:
                    continue

    killer = threading.Thread(target=harass, daemon=True)
    killer.start()
    result = engine.run(JOB)
    over.set()
    killer.join()
    assert bits(result) == expected
