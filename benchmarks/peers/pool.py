"""multiprocessing.Pool with chunksize 1: fast, in the standard library, and it hangs when a worker dies."""

from __future__ import annotations

import platform
import time
from typing import Any

from . import common


def missing() -> str | None:
    return None


def version() -> str:
    return f"Python {platform.python_version()}"


def start() -> tuple[dict[str, float], str]:
    begin = time.perf_counter()
    from multiprocessing import Pool

    with Pool(common.WORKERS) as pool:
        result = pool.apply(common.identity, (7,))
        seconds = time.perf_counter() - begin
        return {"seconds": seconds, "idle": common.tree_memory()}, common.digest(result)


def empty_tasks(n: int) -> tuple[dict[str, float], str]:
    from multiprocessing import Pool

    with Pool(common.WORKERS) as pool:
        pool.map(common.identity, range(100), chunksize=1)
        seconds, result = common.timed(lambda: pool.map(common.identity, range(n), chunksize=1))
    return {"rate": n / seconds}, common.digest(sum(result))


def round_trip(n: int) -> tuple[dict[str, float], str]:
    from multiprocessing import Pool

    with Pool(common.WORKERS) as pool:
        return common.round_trips(lambda number: pool.apply(common.identity, (number,)), n), ""


def arrays(n: int, bytes: int) -> tuple[dict[str, float], str]:
    from multiprocessing import Pool

    with Pool(common.WORKERS) as pool:
        pool.map(common.identity, range(10), chunksize=1)

        def work() -> float:
            total = None
            for array in pool.imap_unordered(_make, [(seed, bytes) for seed in range(n)]):
                total = array if total is None else total + array
            return float(total.sum())

        seconds, result = common.timed(work)
    return {"rate": n * bytes / seconds / 1e9}, common.digest(result)


def rounds(rounds: int) -> tuple[dict[str, float], str]:
    from multiprocessing import Pool

    with Pool(common.WORKERS) as pool:
        return common.hollow_rounds(lambda jobs: pool.map(common.step, jobs, chunksize=1), rounds)


def wordcount(bytes: int, data: str) -> tuple[dict[str, float], str]:
    from collections import Counter
    from multiprocessing import Pool

    with common.Peak() as peak:
        begin = time.perf_counter()
        total: Counter[str] = Counter()
        with Pool(common.WORKERS) as pool:
            for counts in pool.imap_unordered(common.count_words, common.text_ranges(data, 16)):
                total.update(counts)
            seconds = time.perf_counter() - begin
    return {"seconds": seconds, "peak": peak.mebibytes}, common.word_digest(total)


def _make(job: tuple[int, int]) -> Any:
    return common.make_array(*job)
