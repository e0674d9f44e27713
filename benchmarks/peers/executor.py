"""concurrent.futures.ProcessPoolExecutor."""

from __future__ import annotations

import platform
import time

from . import common


def missing() -> str | None:
    return None


def version() -> str:
    return f"Python {platform.python_version()}"


def start() -> tuple[dict[str, float], str]:
    begin = time.perf_counter()
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(common.WORKERS) as pool:
        result = pool.submit(common.identity, 7).result()
        seconds = time.perf_counter() - begin
        return {"seconds": seconds, "idle": common.tree_memory()}, common.digest(result)


def empty_tasks(n: int) -> tuple[dict[str, float], str]:
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(common.WORKERS) as pool:
        list(pool.map(common.identity, range(100)))
        seconds, result = common.timed(lambda: list(pool.map(common.identity, range(n))))
    return {"rate": n / seconds}, common.digest(sum(result))


def round_trip(n: int) -> tuple[dict[str, float], str]:
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(common.WORKERS) as pool:
        return common.round_trips(lambda number: pool.submit(common.identity, number).result(), n), ""
