"""What the peers' modules share: the tasks themselves, digests, memory, percentiles. Nothing here knows a peer."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

WORKERS = 2
"""Workers of every peer, unless a case says otherwise."""


def not_installed(module: str, extra: str = "bench") -> str | None:
    """Why a peer is missing, or None."""
    return None if importlib.util.find_spec(module) else f"not installed (pip install .[{extra}])"


def version_of(distribution: str) -> str:
    return f"{distribution} {importlib.metadata.version(distribution)}"


def digest(value: Any) -> str:
    """A hash of a plain result, the same for every peer."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def file_digest(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def scratch() -> Path:
    """A folder that the harness deletes after the sample."""
    return Path(os.environ.get("BENCH_SCRATCH", "/tmp"))


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50 and p99 in milliseconds."""
    ordered = sorted(seconds)
    return {
        "p50": 1e3 * ordered[len(ordered) // 2],
        "p99": 1e3 * ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
    }


def tree_memory() -> float:
    """Memory of this process and all below it in MiB: proportional set size, so shared pages count once."""
    import psutil

    total = 0
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total / 2**20


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """(seconds, result)"""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def round_trips(one: Callable[[int], Any], n: int) -> dict[str, float]:
    """Percentiles of n calls, one after the other, after ten that do not count."""
    for number in range(10):
        one(number)
    return percentiles([timed(lambda number=number: one(number))[0] for number in range(n)])  # type: ignore[misc]


# ------------------------------------------------------------------------------------------------------- the work itself


def identity(n: int) -> int:
    """The empty task."""
    return n


def make_array(seed: int, size: int) -> Any:
    """4 MiB of float32 that cost little to make and differ from task to task."""
    import numpy as np

    return np.full(size // 4, seed % 7 + 1, dtype=np.float32)


def sum_of_arrays(n: int, size: int) -> float:
    """What all arrays sum to, in closed form."""
    return float(sum((seed % 7 + 1) * (size // 4) for seed in range(n)))


def text_ranges(path: str, pieces: int) -> list[tuple[str, int, int]]:
    """(path, start, end) of pieces that end after a white space."""
    size = os.path.getsize(path)
    cuts = [0]
    with open(path, "rb") as file:
        for number in range(1, pieces):
            file.seek(max(size * number // pieces, cuts[-1]))
            file.readline()
            cuts.append(min(file.tell(), size))
    cuts.append(size)
    return [(path, start, end) for start, end in zip(cuts, cuts[1:], strict=False) if end > start]


def count_words(piece: tuple[str, int, int]) -> dict[str, int]:
    """Words of one piece, split on white space."""
    from collections import Counter

    path, start, end = piece
    with open(path, "rb") as file:
        file.seek(start)
        return Counter(file.read(end - start).decode().split())


def word_digest(counts: dict[str, int]) -> str:
    """Digest of word counts: the thousand most frequent, the number of words and of different words."""
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:1000]
    return digest([top, len(counts), sum(counts.values())])


class Peak:
    """Peak memory of this process's tree in MiB, sampled ten times a second while the block runs."""

    def __enter__(self) -> Peak:
        import threading

        self.mebibytes = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self.mebibytes = max(self.mebibytes, tree_memory())

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.mebibytes = max(self.mebibytes, tree_memory())
