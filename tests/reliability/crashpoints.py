"""Every fail point of the coordinator, died at: see tests/coordinator/crashpoints.py for the day that is lived.

Then two deaths a day. The second comes while the next coordinator recovers, and there the count is complete: after each
first death that leaves another world behind, at each of the points of the recovery at which the world is another again
(`world:N`, see failpoints.py). That is some thousands of days, lived by several processes at once.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.coordinator.crashpoints import worlds

RECOVERY = 30
"""Worlds of a recovering coordinator: by then both workers are back and tasks are out again."""


class Lives:
    """Processes that live days. `met(deaths, tries)` may be called from as many threads as there are processes."""

    def __init__(self, count: int, folder: str):
        self._idle: queue.SimpleQueue[subprocess.Popen[str]] = queue.SimpleQueue()
        command = [sys.executable, "-m", "tests.coordinator.crashpoints", folder]
        self._all = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)
        ]
        for process in self._all:
            self._idle.put(process)

    def ask(self, deaths: tuple[str, ...], tries: int) -> Any:
        process = self._idle.get()
        try:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(json.dumps({"deaths": deaths, "tries": tries}) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
        finally:
            self._idle.put(process)
        assert "wrong" not in answer, answer["wrong"]
        return answer

    def points(self) -> list[str]:
        """The fail points of a calm day."""
        found: list[str] = self.ask((), 1)["points"]
        return found

    def met(self, deaths: tuple[str, ...], tries: int) -> bool:
        """Whether all of them were died; what does not hold afterwards raises AssertionError."""
        return bool(self.ask(deaths, tries)["met"])

    def close(self) -> None:
        for process in self._all:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.close()
            process.wait()
            process.stdout.close()


def crashed(recoveries: int = 0, processes: int = 0) -> list[tuple[str, str, str]]:
    """Die at each point; and again at each world of each recovery, or (`recoveries`) of so many, spread evenly."""
    processes = processes or 2 * len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="daf-crash-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as top:
        lives = Lives(processes, top)
        try:
            calm = lives.points()
            firsts = worlds(calm)
            chosen = firsts[:: max(1, len(firsts) // recoveries)] if recoveries else firsts
            with ThreadPoolExecutor(processes) as pool:
                once = _told(pool.map(lambda point: lives.met((point,), 5), calm), len(calm))
                pairs = [(first, f"world:{at}") for first in chosen for at in range(1, RECOVERY + 1)]
                twice = _told(pool.map(lambda pair: lives.met(pair, 2), pairs), len(pairs))
        finally:
            lives.close()
    missed = "" if all(once) else f" ({once.count(False)} more depend on the clock and did not come up again)"
    command = "python -m tests.reliability --only crashpoints"
    after = f"all {len(firsts)}" if len(chosen) == len(firsts) else f"{len(chosen)} of the {len(firsts)}"
    return [
        (
            "fail points of the coordinator (before and after every message, around every durable write), died at",
            f"{sum(once)} of {len(calm)}{missed}: every acknowledged job ended with the same bits, no task ran twice",
            command,
        ),
        (
            "deaths while recovering from such a death",
            f"{sum(twice):,}: after {after} first deaths that leave different worlds behind, at each of the first "
            f"{RECOVERY} points of the recovery that do ({len(pairs) - sum(twice)} came up in no recovery): the same",
            command,
        ),
    ]


def _told(results: Iterable[bool], count: int) -> list[bool]:
    """All of them; how far it is goes to stderr."""
    found = []
    for result in results:
        found.append(result)
        if len(found) % 250 == 0 or len(found) == count:
            print(f"crash points: {len(found)} of {count} days", file=sys.stderr, flush=True)
    return found
