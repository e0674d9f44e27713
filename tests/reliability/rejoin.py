"""How soon workers are back at a coordinator that was killed and started again: see tests/process/rejoin.py."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from tests.process.rejoin import restarted

WORKERS, TASKS, REDUCES = 4, 500, 10


def back(seed: int, restarts: int = 40) -> list[tuple[str, str, str]]:
    """A job of tasks that leave marks, and so many deaths of the coordinator while it runs."""
    with tempfile.TemporaryDirectory(prefix="daf-rejoin-") as top:
        told = restarted(Path(top), seed, workers=WORKERS, restarts=restarts, tasks=TASKS, sleep=0.4)
    twice = sum(count - 1 for count in told.ran.values())
    assert len(told.ran) == TASKS + REDUCES + 1 and not told.retries
    text = (
        f"{statistics.median(told.back):.2f} s, at most {max(told.back):.2f} s (until it listens: "
        f"{statistics.median(told.listening):.2f} s, at most {max(told.listening):.2f} s), in {restarts} restarts"
    )
    command = f"python -m tests.reliability --only back --seed {seed}"
    return [
        (f"all {WORKERS} workers are back after a coordinator was killed and started again (median)", text, command),
        ("tasks computed again because of that", f"{twice} of {sum(told.ran.values()):,}", command),
    ]
