"""Mutated messages at a coordinator that works: it answers everybody else, and ends no job wrongly."""

from __future__ import annotations

import random
import time
from contextlib import closing

import pytest

from mapreduce.client import Client
from mapreduce.coordination import rates
from mapreduce.wire import messages as m
from mapreduce.wire import sockets
from mapreduce.wire.typed import encode
from tests.coordinator.fakes import Fake
from tests.coordinator.running import Working, coordinator
from tests.wire.test_typed import TO_COORDINATOR


def mutated(rng: random.Random, frame: bytes) -> bytes:
    data = bytearray(frame)
    for _ in range(rng.randint(0, 3)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(3):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[at : at + rng.randint(1, 4)]
            case _:
                data[at:at] = rng.randbytes(rng.randint(1, 4))
    return bytes(data)


@pytest.mark.parametrize("role", ["stranger", "worker", "client"])
def test_mutated_messages(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "CLIENT", (1e9, 1e9))
    monkeypatch.setattr(rates, "STRANGERS", (1e9, 1e9))
    seed = 41
    print(f"seed {seed}")
    rng = random.Random(seed)
    drop = (m.Submit, m.Cancel)  # what a client may do to anyone's jobs is not an attack
    frames = [encode(message) for message in TO_COORDINATOR if not isinstance(message, drop)]
    with (
        coordinator() as c,
        Client(c.endpoint) as client,
        Working(Fake(c.endpoint, maps=200, stages=3, name="good")),
        closing(Fake(c.endpoint, type="other")) as rogue,
    ):
        while not any(worker.worker == "good" for worker in client.workers()):
            time.sleep(0.01)
        if role == "worker":
            rogue.run(lambda: rogue.welcome is not None)
        elif role == "client":
            rogue.connect_as_client()
        jobs = [client.submit("fake", b"") for _ in range(3)]
        for number in range(10_000):
            sockets.send(
                rogue.socket, *(mutated(rng, rng.choice(frames)) for _ in range(1 if rng.random() < 0.98 else 2))
            )
            while sockets.receive(rogue.socket) is not None:
                pass
            if number % 500 == 0:
                client.ping()
        assert [client.wait(job, timeout=60).state for job in jobs] == ["done"] * 3
