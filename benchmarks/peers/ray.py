"""Ray: one node, two CPUs."""

from __future__ import annotations

import time
from typing import Any

from . import common


def missing() -> str | None:
    return common.not_installed("ray")


def version() -> str:
    return common.version_of("ray")


def cluster() -> Any:
    """Ray, started."""
    import os

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    ray.init(num_cpus=common.WORKERS, include_dashboard=False, configure_logging=False, log_to_driver=False)
    return ray


def warm(ray: Any) -> Any:
    """The remote identity, with both workers up."""
    remote = ray.remote(common.identity)
    ray.get([remote.remote(number) for number in range(100)])
    return remote


def start() -> tuple[dict[str, float], str]:
    begin = time.perf_counter()
    ray = cluster()
    result = ray.get(ray.remote(common.identity).remote(7))
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "idle": common.tree_memory()}, common.digest(result)


def empty_tasks(n: int) -> tuple[dict[str, float], str]:
    ray = cluster()
    remote = warm(ray)
    seconds, result = common.timed(lambda: ray.get([remote.remote(number) for number in range(n)]))
    return {"rate": n / seconds}, common.digest(sum(result))


def queued(n: int) -> tuple[dict[str, float], str]:
    ray = cluster()
    remote = warm(ray)
    before = common.tree_memory()
    begin = time.perf_counter()
    refs = [remote.remote(number) for number in range(n)]
    held = common.tree_memory() - before
    result = ray.get(refs)
    seconds = time.perf_counter() - begin
    figures = {"per_task": 1e6 * seconds / n, "bytes_per_task": held * 2**20 / n, "seconds": seconds}
    return figures, common.digest(sum(result))


def round_trip(n: int) -> tuple[dict[str, float], str]:
    ray = cluster()
    remote = warm(ray)
    return common.round_trips(lambda number: ray.get(remote.remote(number)), n), ""


def arrays(n: int, bytes: int) -> tuple[dict[str, float], str]:
    ray = cluster()
    warm(ray)
    make, total = ray.remote(common.make_array), ray.remote(common.total_of_refs)

    def work() -> float:
        return float(ray.get(total.remote([make.remote(seed, bytes) for seed in range(n)])))

    seconds, result = common.timed(work)
    return {"rate": n * bytes / seconds / 1e9}, common.digest(result)


def rounds(rounds: int) -> tuple[dict[str, float], str]:
    ray = cluster()
    remote = ray.remote(common.step)
    return common.hollow_rounds(lambda jobs: ray.get([remote.remote(job) for job in jobs]), rounds)


def broadcast(tasks: int, bytes: int) -> tuple[dict[str, float], str]:
    import numpy as np

    ray = cluster()
    warm(ray)
    data = np.ones(bytes // 8)
    remote = ray.remote(common.array_sum)

    def work() -> float:
        there = ray.put(data)
        return float(sum(ray.get([remote.remote(there) for _ in range(tasks)])))

    figures, result = common.over_sums(tasks, bytes, lambda: common.timed(work))
    return figures, common.digest(result)


def wordcount(bytes: int, data: str) -> tuple[dict[str, float], str]:
    with common.Peak() as peak:
        begin = time.perf_counter()
        from collections import Counter

        ray = cluster()
        remote = ray.remote(common.count_words)
        total: Counter[str] = Counter()
        left = [remote.remote(piece) for piece in common.text_ranges(data, 16)]
        while left:
            [ready], left = ray.wait(left)
            total.update(ray.get(ready))
        seconds = time.perf_counter() - begin
    return {"seconds": seconds, "peak": peak.mebibytes}, common.word_digest(total)


def sort(records: int, data: str) -> tuple[dict[str, float], str]:
    with common.Peak() as peak:
        begin = time.perf_counter()
        ray = cluster()

        def parallel(function: Any, items: list[Any]) -> list[Any]:
            remote = ray.remote(function)
            return list(ray.get([remote.remote(item) for item in items]))

        out = common.sample_sort(data, records, parallel)
        seconds = time.perf_counter() - begin
    return {"seconds": seconds, "peak": peak.mebibytes}, common.file_digest(out)


def kmeans(rounds: int, points: int, dimensions: int, k: int, data: str) -> tuple[dict[str, float], str]:
    import numpy as np

    ray = cluster()
    warm(ray)
    parts = [ray.put(part) for part in np.array_split(np.load(data), 4)]
    remote = ray.remote(common.assign)

    def step(centres: np.ndarray) -> np.ndarray:
        there = ray.put(centres)
        return common.new_centres(ray.get([remote.remote(part, there) for part in parts]))

    return common.kmeans_rounds(step, data, rounds, k)


def killed(n: int, task_seconds: float) -> tuple[dict[str, float], str]:
    ray = cluster()
    warm(ray)
    remote, process = ray.remote(common.sleepy), ray.remote(common.process_id)

    def work() -> int:
        return sum(ray.get([remote.remote(number, task_seconds) for number in range(n)]))

    return common.kill_half_way(work, lambda: int(ray.get(process.remote())), n * task_seconds / common.WORKERS)
