"""joblib with its default backend, loky."""

from __future__ import annotations

import time
from typing import Any

from . import common


def missing() -> str | None:
    return common.not_installed("joblib")


def version() -> str:
    return common.version_of("joblib")


def start() -> tuple[dict[str, float], str]:
    begin = time.perf_counter()
    from joblib import Parallel, delayed

    with Parallel(common.WORKERS) as parallel:
        result = parallel([delayed(common.identity)(7), delayed(common.identity)(8)])[0]
        seconds = time.perf_counter() - begin
        return {"seconds": seconds, "idle": common.tree_memory()}, common.digest(result)


def empty_tasks(n: int) -> tuple[dict[str, float], str]:
    from joblib import Parallel, delayed

    with Parallel(common.WORKERS, batch_size=1) as parallel:
        parallel(delayed(common.identity)(number) for number in range(100))
        seconds, result = common.timed(lambda: parallel(delayed(common.identity)(number) for number in range(n)))
    return {"rate": n / seconds}, common.digest(sum(result))


def round_trip(n: int) -> tuple[dict[str, float], str]:
    from joblib import Parallel, delayed

    with Parallel(common.WORKERS) as parallel:
        return common.round_trips(lambda number: parallel([delayed(common.identity)(number)]), n), ""


def arrays(n: int, bytes: int) -> tuple[dict[str, float], str]:
    from joblib import Parallel, delayed

    with Parallel(common.WORKERS, return_as="generator_unordered") as parallel:
        list(parallel(delayed(common.identity)(number) for number in range(10)))

        def work() -> float:
            total = None
            for array in parallel(delayed(common.make_array)(seed, bytes) for seed in range(n)):
                total = array if total is None else total + array
            return float(total.sum())

        seconds, result = common.timed(work)
    return {"rate": n * bytes / seconds / 1e9}, common.digest(result)


def broadcast(tasks: int, bytes: int) -> tuple[dict[str, float], str]:
    import numpy as np
    from joblib import Parallel, delayed

    data = np.ones(bytes // 8)

    def work() -> tuple[float, Any]:
        with Parallel(common.WORKERS) as parallel:
            parallel(delayed(common.identity)(number) for number in range(4))
            return common.timed(lambda: parallel(delayed(common.array_sum)(data) for _ in range(tasks)))

    figures, result = common.over_sums(tasks, bytes, work)
    return figures, common.digest(sum(result))


def rounds(rounds: int) -> tuple[dict[str, float], str]:
    from joblib import Parallel, delayed

    with Parallel(common.WORKERS) as parallel:
        return common.hollow_rounds(lambda jobs: parallel(delayed(common.step)(job) for job in jobs), rounds)


def wordcount(bytes: int, data: str) -> tuple[dict[str, float], str]:
    with common.Peak() as peak:
        begin = time.perf_counter()
        from collections import Counter

        from joblib import Parallel, delayed

        total: Counter[str] = Counter()
        pieces = common.text_ranges(data, 16)
        parallel = Parallel(common.WORKERS, return_as="generator_unordered")
        for counts in parallel(delayed(common.count_words)(piece) for piece in pieces):
            total.update(counts)
        seconds = time.perf_counter() - begin
    return {"seconds": seconds, "peak": peak.mebibytes}, common.word_digest(total)


def kmeans(rounds: int, points: int, dimensions: int, k: int, data: str) -> tuple[dict[str, float], str]:
    import numpy as np
    from joblib import Parallel, delayed

    parts = np.array_split(np.load(data), 4)
    with Parallel(common.WORKERS) as parallel:
        parallel(delayed(common.identity)(number) for number in range(4))

        def step(centres: np.ndarray) -> np.ndarray:
            return common.new_centres(parallel(delayed(common.assign)(part, centres) for part in parts))

        return common.kmeans_rounds(step, data, rounds, k)
