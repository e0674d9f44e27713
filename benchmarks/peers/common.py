"""What the peers' modules share: the tasks themselves, digests, memory, percentiles. Nothing here knows a peer."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
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


# ------------------------------------------------------------------------------------------------ the work itself


def identity(n: int) -> int:
    """The empty task."""
    return n


def make_array(seed: int, size: int) -> Any:
    """4 MiB of float32 that cost little to make; no two are the same, so none can be kept once for several."""
    import numpy as np

    array = np.full(size // 4, seed % 7 + 1, dtype=np.float32)
    array[0] = seed
    return array


def sums_alone(tasks: int, size: int) -> float:
    """Seconds for `tasks` sums over `size` bytes in WORKERS processes at once, each with data of its own: what is left
    of a broadcast when nothing is broadcast. Summing in one process would not do, for the cores share the memory's
    bandwidth."""
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        jobs = [(tasks // WORKERS, size)] * WORKERS
        return max(pool.map(_sums, jobs, chunksize=1))


def over_sums(tasks: int, size: int, work: Callable[[], tuple[float, Any]]) -> tuple[dict[str, float], Any]:
    """Figures of a broadcast, `work` gives its seconds and its result, against the sums alone; these are measured
    before and after, for neighbours on the same memory come and go."""
    before = sums_alone(tasks, size)
    seconds, result = work()
    after = sums_alone(tasks, size)
    return {"seconds": seconds, "over_sums": 2 * seconds / (before + after)}, result


def _sums(job: tuple[int, int]) -> float:
    import numpy as np

    times, size = job
    data = np.ones(size // 8)
    array_sum(data)
    return timed(lambda: [array_sum(data) for _ in range(times)])[0]


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
    return [(path, start, end) for start, end in pairwise(cuts) if end > start]


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
    """Peak memory of this process's tree in MiB, sampled while the block runs: ten times a second, less often where
    looking at all its processes takes long, so that it never costs more than a twentieth of a core."""

    def __enter__(self) -> Peak:
        import threading

        self.mebibytes = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        pause = 0.1
        while not self._over.wait(pause):
            seconds, now = timed(tree_memory)
            self.mebibytes, pause = max(self.mebibytes, now), max(0.1, 20 * seconds)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.mebibytes = max(self.mebibytes, tree_memory())


def array_sum(array: Any) -> float:
    return float(array.sum())


def total_of(arrays: Sequence[Any]) -> float:
    """The reducer of the `arrays` case: add all up, element by element."""
    total = arrays[0].copy()
    for array in arrays[1:]:
        total += array
    return float(total.sum())


def total_of_refs(refs: Sequence[Any]) -> float:
    """The same for Ray, which wants its references resolved inside the task, one by one."""
    import ray

    total = ray.get(refs[0]).copy()
    for ref in refs[1:]:
        total += ray.get(ref)
    return float(total.sum())


def sleepy(number: int, seconds: float) -> int:
    time.sleep(seconds)
    return number


def process_id() -> int:
    return os.getpid()


def kill_half_way(work: Callable[[], int], victim: Callable[[], int], ideal: float) -> tuple[dict[str, float], str]:
    """Seconds that a SIGKILL of one worker half-way adds to `work`, against an undisturbed run just before."""
    import signal
    import threading

    calm, first = timed(work)
    pid = victim()
    timer = threading.Timer(ideal / 2, lambda: os.kill(pid, signal.SIGKILL))
    timer.start()
    disturbed, second = timed(work)
    return {"extra": disturbed - calm}, digest([first, second])


def assign(points: Any, centres: Any) -> tuple[Any, Any]:
    """One part of a k-means round: (sums, counts) of the points nearest to each centre."""
    import numpy as np

    distance = (centres**2).sum(1) - 2 * points @ centres.T
    nearest = distance.argmin(1)
    counts = np.bincount(nearest, minlength=len(centres))
    sums = np.stack([np.bincount(nearest, points[:, d], len(centres)) for d in range(points.shape[1])], 1)
    return sums, counts


def new_centres(parts: Sequence[tuple[Any, Any]]) -> Any:
    """The centres after one round; parts are added in order, so every peer gets the same bits."""
    sums, counts = parts[0][0].copy(), parts[0][1].copy()
    for s, c in parts[1:]:
        sums += s
        counts += c
    return sums / counts.clip(1)[:, None]


def kmeans_rounds(step: Callable[[Any], Any], data: str, rounds: int, k: int) -> tuple[dict[str, float], str]:
    """Run `rounds` of `step` from the first k points; the figure is the mean time of a round after the first two."""
    import numpy as np

    centres = np.load(data, mmap_mode="r")[:k].copy()
    marks = [time.perf_counter()]
    for _ in range(rounds):
        centres = step(centres)
        marks.append(time.perf_counter())
    return {"per_round": 1e3 * (marks[-1] - marks[2]) / (rounds - 2)}, centres_digest(centres)


def step(job: tuple[Any, int]) -> Any:
    """A task of a round that costs next to nothing."""
    state, number = job
    return state + number


def hollow_rounds(two: Callable[[list[Any]], Sequence[Any]], rounds: int) -> tuple[dict[str, float], str]:
    """Rounds of two such tasks, over eight numbers that all get the sum of the last round."""
    import numpy as np

    state, marks = np.zeros(8), [time.perf_counter()]
    for _ in range(rounds + 2):
        first, second = two([(state, 0), (state, 1)])
        state = (first + second) / 2
        marks.append(time.perf_counter())
    return round_figures(marks), digest(state.tolist())


def round_figures(marks: Sequence[float]) -> dict[str, float]:
    """Median and slowest round in milliseconds, after the first two."""
    spans = sorted(end - begin for begin, end in pairwise(marks[2:]))
    return {"per_round": 1e3 * spans[len(spans) // 2], "slowest": 1e3 * spans[-1]}


def centres_digest(centres: Any) -> str:
    return digest([[round(float(x), 6) for x in row] for row in centres])


def sample_sort(path: str, records: int, parallel: Callable[[Callable[..., Any], list[Any]], list[Any]]) -> str:
    """A sample sort with NumPy over any engine's parallel map: partition by sampled boundaries to files, sort each,
    write in place."""
    import numpy as np

    parts = 8
    data = np.memmap(path, "S100", "r", shape=(records,))
    keys = np.sort(data[:: max(1, records // 10_000)])
    cuts = [bytes(keys[len(keys) * number // parts]) for number in range(1, parts)]
    folder = str(scratch())
    edges = [records * number // parts for number in range(parts + 1)]
    jobs = [(path, a, b, cuts, folder, n) for n, (a, b) in enumerate(pairwise(edges))]
    sizes = np.array(parallel(partition_records, jobs))
    offsets = np.concatenate([[0], np.cumsum(sizes.sum(0))])
    out = f"{folder}/sorted.txt"
    with open(out, "wb") as file:
        file.truncate(records * 100)
    parallel(sort_partition, [(folder, parts, n, int(offsets[n]), out) for n in range(parts)])
    return out


def partition_records(job: tuple[str, int, int, list[bytes], str, int]) -> list[int]:
    """Write the records [a, b) to one file a partition; returns how many went where."""
    import numpy as np

    path, a, b, cuts, folder, number = job
    data = np.memmap(path, "S100", "r", offset=a * 100, shape=(b - a,))
    where = np.searchsorted(np.array(cuts, "S100"), data, side="right")
    sizes = []
    for part in range(len(cuts) + 1):
        mine = data[where == part]
        mine.tofile(f"{folder}/{number}-{part}")
        sizes.append(len(mine))
    return sizes


def sort_partition(job: tuple[str, int, int, int, str]) -> None:
    """Sort one partition and write it to its place."""
    import numpy as np

    folder, parts, number, offset, out = job
    data = np.sort(np.concatenate([np.fromfile(f"{folder}/{n}-{number}", "S100") for n in range(parts)]))
    with open(out, "r+b") as file:
        file.seek(offset * 100)
        file.write(data.tobytes())
