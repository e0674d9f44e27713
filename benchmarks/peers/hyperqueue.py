"""HyperQueue: its server and one worker of two cores, driven through its Python API."""

from __future__ import annotations

import time
from typing import Any

from . import common


def missing() -> str | None:
    return common.not_installed("hyperqueue")


def version() -> str:
    return common.version_of("hyperqueue")


def cluster() -> Any:
    from hyperqueue import LocalCluster
    from hyperqueue.cluster import WorkerConfig

    local = LocalCluster()
    local.start_worker(WorkerConfig(cores=common.WORKERS))
    return local


def start() -> tuple[dict[str, float], str]:
    begin = time.perf_counter()
    local = cluster()
    _programs(local, 1)
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "idle": common.tree_memory()}, common.digest(7)


def empty_tasks(n: int) -> tuple[dict[str, float], str]:
    local = cluster()
    some = min(n, 2000)  # a process each
    seconds, _ = common.timed(lambda: _programs(local, some))
    return {"rate": some / seconds}, common.digest(sum(range(n)))


def round_trip(n: int) -> tuple[dict[str, float], str]:
    local = cluster()
    _programs(local, 10)
    return common.percentiles([common.timed(lambda: _programs(local, 1))[0] for _ in range(min(n, 20))]), ""


def _programs(local: Any, n: int) -> None:
    from hyperqueue import Job

    job = Job()
    for _ in range(n):
        job.program(["true"], stdout=None, stderr=None)
    client = local.client()
    client.wait_for_jobs([client.submit(job)])
