"""mpire's WorkerPool."""

from __future__ import annotations

import time

from . import common


def missing() -> str | None:
    return common.not_installed("mpire")


def version() -> str:
    return common.version_of("mpire")


def start() -> tuple[dict[str, float], str]:
    begin = time.perf_counter()
    from mpire import WorkerPool

    with WorkerPool(common.WORKERS) as pool:
        result = pool.apply(common.identity, 7)
        seconds = time.perf_counter() - begin
        return {"seconds": seconds, "idle": common.tree_memory()}, common.digest(result)


def empty_tasks(n: int) -> tuple[dict[str, float], str]:
    from mpire import WorkerPool

    with WorkerPool(common.WORKERS, keep_alive=True) as pool:
        pool.map(common.identity, range(100), chunk_size=1)
        seconds, result = common.timed(lambda: pool.map(common.identity, range(n), chunk_size=1))
    return {"rate": n / seconds}, common.digest(sum(result))


def round_trip(n: int) -> tuple[dict[str, float], str]:
    from mpire import WorkerPool

    with WorkerPool(common.WORKERS, keep_alive=True) as pool:
        return common.round_trips(lambda number: pool.apply(common.identity, number), n), ""


def wordcount(bytes: int, data: str) -> tuple[dict[str, float], str]:
    with common.Peak() as peak:
        begin = time.perf_counter()
        from collections import Counter

        from mpire import WorkerPool

        total: Counter[str] = Counter()
        with WorkerPool(common.WORKERS) as pool:
            pieces = [(piece,) for piece in common.text_ranges(data, 16)]
            for counts in pool.imap_unordered(common.count_words, pieces, chunk_size=1):
                total.update(counts)
            seconds = time.perf_counter() - begin
    return {"seconds": seconds, "peak": peak.mebibytes}, common.word_digest(total)
