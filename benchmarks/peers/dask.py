"""Dask distributed: a local cluster of two single-threaded worker processes."""

from __future__ import annotations

import time
from typing import Any

from . import common


def missing() -> str | None:
    return common.not_installed("distributed")


def version() -> str:
    return common.version_of("distributed")


def cluster() -> Any:
    """A client of a new cluster; closing it ends the cluster."""
    import dask
    from distributed import Client

    dask.config.set({"distributed.admin.tick.limit": "1h"})
    return Client(
        n_workers=common.WORKERS, threads_per_worker=1, dashboard_address=None, processes=True, silence_logs=40
    )


def start() -> tuple[dict[str, float], str]:
    begin = time.perf_counter()
    client = cluster()
    result = client.submit(common.identity, 7).result()
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "idle": common.tree_memory()}, common.digest(result)


def empty_tasks(n: int) -> tuple[dict[str, float], str]:
    client = cluster()
    client.gather(client.map(common.identity, range(100), pure=False))
    seconds, result = common.timed(lambda: client.gather(client.map(common.identity, range(n), pure=False)))
    return {"rate": n / seconds}, common.digest(sum(result))


def queued(n: int) -> tuple[dict[str, float], str]:
    import psutil

    client = cluster()
    client.gather(client.map(common.identity, range(100), pure=False))
    scheduler = psutil.Process()  # a LocalCluster's scheduler lives in this process
    before = scheduler.memory_info().rss
    begin = time.perf_counter()
    futures = client.map(common.identity, range(n), pure=False)
    held = scheduler.memory_info().rss - before
    result = client.gather(futures)
    seconds = time.perf_counter() - begin
    figures = {"per_task": 1e6 * seconds / n, "bytes_per_task": held / n, "seconds": seconds}
    return figures, common.digest(sum(result))


def round_trip(n: int) -> tuple[dict[str, float], str]:
    client = cluster()
    return common.round_trips(lambda number: client.submit(common.identity, number, pure=False).result(), n), ""


def arrays(n: int, bytes: int) -> tuple[dict[str, float], str]:
    client = cluster()
    client.gather(client.map(common.identity, range(100), pure=False))

    def work() -> float:
        made = client.map(common.make_array, range(n), size=bytes, pure=False)
        return float(client.submit(common.total_of, made).result())

    seconds, result = common.timed(work)
    return {"rate": n * bytes / seconds / 1e9}, common.digest(result)


def rounds(rounds: int) -> tuple[dict[str, float], str]:
    client = cluster()
    return common.hollow_rounds(lambda jobs: client.gather(client.map(common.step, jobs, pure=False)), rounds)


def broadcast(tasks: int, bytes: int) -> tuple[dict[str, float], str]:
    import numpy as np

    client = cluster()
    client.gather(client.map(common.identity, range(100), pure=False))
    data = np.ones(bytes // 8)

    def work() -> float:
        there = client.scatter(data, broadcast=True)
        return float(sum(client.gather([client.submit(common.array_sum, there, pure=False) for _ in range(tasks)])))

    figures, result = common.over_sums(tasks, bytes, lambda: common.timed(work))
    return figures, common.digest(result)


def wordcount(bytes: int, data: str) -> tuple[dict[str, float], str]:
    with common.Peak() as peak:
        begin = time.perf_counter()
        from collections import Counter

        from distributed import as_completed

        client = cluster()
        total: Counter[str] = Counter()
        futures = client.map(common.count_words, common.text_ranges(data, 16))
        for _, counts in as_completed(futures, with_results=True):
            total.update(counts)
        seconds = time.perf_counter() - begin
    return {"seconds": seconds, "peak": peak.mebibytes}, common.word_digest(total)


def sort(records: int, data: str) -> tuple[dict[str, float], str]:
    with common.Peak() as peak:
        begin = time.perf_counter()
        client = cluster()
        out = common.sample_sort(data, records, lambda function, items: client.gather(client.map(function, items)))
        seconds = time.perf_counter() - begin
    return {"seconds": seconds, "peak": peak.mebibytes}, common.file_digest(out)


def kmeans(rounds: int, points: int, dimensions: int, k: int, data: str) -> tuple[dict[str, float], str]:
    import numpy as np

    client = cluster()
    parts = [client.scatter(part) for part in np.array_split(np.load(data), 4)]

    def step(centres: np.ndarray) -> np.ndarray:
        there = client.scatter(centres)
        return common.new_centres(client.gather([client.submit(common.assign, part, there) for part in parts]))

    return common.kmeans_rounds(step, data, rounds, k)


def killed(n: int, task_seconds: float) -> tuple[dict[str, float], str]:
    client = cluster()
    client.gather(client.map(common.identity, range(100), pure=False))

    def work() -> int:
        return sum(client.gather(client.map(common.sleepy, range(n), seconds=task_seconds, pure=False)))

    def victim() -> int:
        return int(next(iter(client.run(common.process_id).values())))

    return common.kill_half_way(work, victim, n * task_seconds / common.WORKERS)
