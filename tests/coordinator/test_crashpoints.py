"""The coordinator dies at fail points: a seeded sample of them here, all of them in `python -m tests.reliability --only
crashpoints`."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.coordinator.crashpoints import Day, die, points
from tests.coordinator.forked import Forked

KINDS = {"write set", "write hset", "write rpush", "write delete", "commit", "committed"} | {
    f"{when} {what}"
    for when in ("send", "sent")
    for what in ("welcome", "ready", "accepted", "stage", "assign", "ack", "release", "keep", "update", "joblist")
}


@pytest.fixture
def coordinators(tmp_path: Path) -> Iterator[Forked]:
    forked = Forked(tmp_path)
    yield forked
    forked.close()


def test_a_sample_of_deaths(coordinators: Forked, tmp_path: Path) -> None:
    """One death at a point of each kind, and as many days with a second death while the next one recovers."""
    seed = int(os.environ.get("DAF_SEED", time.time_ns() % 2**32))
    print(f"seed {seed}")
    rng = random.Random(seed)
    calm = points(coordinators, tmp_path)
    kinds: dict[str, list[str]] = {}
    for point in calm:
        kinds.setdefault(point.rpartition(":")[0], []).append(point)
    assert set(kinds) == KINDS, "a durable write or a message passes no fail point, or is of a new kind"
    for known in kinds.values():
        die(coordinators, tmp_path, (rng.choice(known),))
    for _ in range(12):
        die(coordinators, tmp_path, (rng.choice(calm), str(rng.randrange(1, 40))), tries=1)


def test_a_calm_day_loses_nobody(coordinators: Forked, tmp_path: Path) -> None:
    day = Day(coordinators, tmp_path / "day")
    assert day.run() == 0 and set(day.told.accepted) == {"long", "short", "doomed", "once"}
