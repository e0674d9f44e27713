"""A backup attempt of which both halves answer: the first result that is accepted wins, the other is compared."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from mapreduce.client import Client
from mapreduce.scheduler.settings import Settings
from mapreduce.wire import messages as m
from tests.coordinator.fakes import Fake, Key
from tests.coordinator.running import coordinator

MAP, REDUCE = 1, 2
SLOW = 9
"""The map task that gets a backup."""


class Other(Fake):
    """Makes other bytes of that task than everybody else."""

    def answer(self, message: m.Message, keys: tuple[m.TaskKey, ...]) -> None:
        if isinstance(message, m.Results) and message.kind == MAP:
            done = [msgspec.structs.replace(d, hash=bytes(16)) if d.index == SLOW else d for d in message.done]
            message = msgspec.structs.replace(message, done=tuple(done))
        super().answer(message, keys)


def slow(key: Key) -> bool:
    return key[2:] == (MAP, SLOW) or key[2] == REDUCE


def holds(fake: Fake) -> bool:
    return any((assign.kind, task[0]) == (MAP, SLOW) for assign, task in fake.kept)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("second", "diverged"), [(Fake, ()), (Other, ((0, MAP, SLOW),))])
def test_both_attempts_answer(second: type[Fake], diverged: tuple[tuple[int, int, int], ...], turned: bool) -> None:
    settings = Settings(straggler_floor=0.05, straggler=1.0)
    with coordinator(settings=settings) as c, Client(c.endpoint) as client:
        fakes = [Fake(c.endpoint, hold=slow), second(c.endpoint, hold=slow)]
        together(fakes, lambda: all(fake.welcome is not None for fake in fakes))
        job = client.submit("fake", b"")
        together(fakes, lambda: all(map(holds, fakes)))
        attempts = {task[1] for fake in fakes for assign, task in fake.kept if assign.kind == MAP}
        assert len(attempts) == 2, "each under a number of its own"
        for fake in reversed(fakes) if turned else fakes:
            fake.let_go()  # it looks for nothing that has come meanwhile: the Abort comes too late for the other
            fake.run(lambda fake=fake: not fake._unacked)  # type: ignore[misc]
        for fake in fakes:
            fake.hold = lambda key: False
            fake.let_go()
        together(fakes, lambda: client.update(job).state == "done")
        update = client.wait(job, timeout=30)
        assert update.diverged == diverged
        assert any("not deterministic" in line for line in client.explain(job)) == bool(diverged)
        for fake in fakes:
            fake.close()


def together(fakes: list[Fake], until: Callable[[], bool]) -> None:
    """Let these workers live side by side until something is true."""
    while not until():
        for fake in fakes:
            fake.turn(0.01)
