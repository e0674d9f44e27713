"""NumPy in one process: the shared-memory limit for sums, and a plain sort."""

from __future__ import annotations

import time

from . import common


def missing() -> str | None:
    return common.not_installed("numpy")


def version() -> str:
    return common.version_of("numpy")


def arrays(n: int, bytes: int) -> tuple[dict[str, float], str]:
    def work() -> float:
        total = common.make_array(0, bytes).copy()
        for seed in range(1, n):
            total += common.make_array(seed, bytes)
        return float(total.sum())

    common.make_array(0, bytes)  # NumPy's import does not count
    seconds, result = common.timed(work)
    return {"rate": n * bytes / seconds / 1e9}, common.digest(result)


def sort(records: int, data: str) -> tuple[dict[str, float], str]:
    out = common.scratch() / "sorted"
    with common.Peak() as peak:
        begin = time.perf_counter()
        import numpy as np

        np.sort(np.fromfile(data, "S100")).tofile(out)
        seconds = time.perf_counter() - begin
    return {"seconds": seconds, "peak": peak.mebibytes}, common.file_digest(out)


def kmeans(rounds: int, points: int, dimensions: int, k: int, data: str) -> tuple[dict[str, float], str]:
    import numpy as np

    parts = np.array_split(np.load(data), 4)
    return common.kmeans_rounds(
        lambda centres: common.new_centres([common.assign(part, centres) for part in parts]), data, rounds, k
    )
