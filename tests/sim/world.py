"""The world around the scheduler: time, a network, and machines that break.

Time is a heap of calls. A message is a call in the future; it may be lost, come late, or come twice. All chance comes
from one generator, so a seed is a schedule.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any


@dataclass(frozen=True)
class Faults:
    """How bad the world is, until `until` (simulated seconds). Rates are per message or per second."""

    until: float = 0.0
    lose: float = 0.0
    double: float = 0.0
    late: float = 0.0
    kill: float = 0.0
    pause: float = 0.0
    cut: float = 0.0
    wipe: float = 0.0
    drain: float = 0.0
    crash: float = 0.0
    stall: float = 0.0
    cancel: float = 0.0
    rot: float = 0.0
    store: float = 0.0
    clock: float = 0.0


def draw_faults(rng: random.Random) -> Faults:
    """Some worlds are whole, most have a few kinds of trouble, some have all."""
    if rng.random() < 0.15:
        return Faults()
    on = rng.choice((0.3, 0.5, 1.0))

    def rate(*choices: float) -> float:
        return rng.choice(choices) if rng.random() < on else 0.0

    return Faults(
        until=rng.choice((3.0, 6.0, 10.0)),
        lose=rate(0.01, 0.05, 0.2),
        double=rate(0.02, 0.2),
        late=rate(0.02, 0.2),
        kill=rate(0.1, 0.4),
        pause=rate(0.1, 0.3),
        cut=rate(0.1, 0.3),
        wipe=rate(0.05, 0.2),
        drain=rate(0.1),
        crash=rate(0.1, 0.4),
        stall=rate(0.2),
        cancel=rate(0.2),
    )


class World:
    """The clock, the chances, and the wire."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.count = 0
        self.faults = Faults()
        self.log: list[str] | None = None

    def note(self, *what: object) -> None:
        """A line for the replay of a seed."""
        if self.log is not None:
            self.log.append(f"{self.now:9.3f}  " + " ".join(map(str, what)))

    def call(self, after: float, function: Callable[..., None], *args: Any) -> None:
        self.count += 1
        heappush(self.heap, (self.now + after, self.count, function, args))

    @property
    def troubled(self) -> bool:
        return self.now < self.faults.until

    def chance(self, rate: float) -> bool:
        return rate > 0.0 and self.troubled and self.rng.random() < rate

    def send(self, deliver: Callable[..., None], *args: Any) -> None:
        """A message on its way: lost, late, doubled, or simply there a little later."""
        if self.chance(self.faults.lose):
            self.note("lost", *args)
            return
        after = self.rng.uniform(0.0005, 0.004)
        if self.chance(self.faults.late):
            after += self.rng.choice((0.05, 0.5, 3.0))
        self.call(after, deliver, *args)
        if self.chance(self.faults.double):
            self.call(after + self.rng.choice((0.0, 0.01, 1.0)), deliver, *args)

    def run(self, done: Callable[[], bool], limit: float, check: Callable[[], None]) -> bool:
        """Run until `done`, or until `limit` simulated seconds: False."""
        while self.heap:
            if self.heap[0][0] > limit:
                return False
            self.now, _, function, args = heappop(self.heap)
            function(*args)
            check()
            if done():
                return True
        return False
