"""This library: its local engine, a durable coordinator and two worker processes."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

from . import common


def missing() -> str | None:
    return None


def version() -> str:
    import mapreduce

    return f"daf {mapreduce.__version__}"


def engine(workers: int = common.WORKERS) -> Any:
    """An open local engine; it ends with this process."""
    from mapreduce.engines.local import LocalEngine

    return LocalEngine(workers)


def start() -> tuple[dict[str, float], str]:
    begin = time.perf_counter()
    from benchmarks.jobs import Empty
    from mapreduce import run

    with engine() as opened:
        result = run(Empty(8), engine=opened)
        seconds = time.perf_counter() - begin
        assert result.counters["sum"] == 28
        idle = {"idle": common.tree_memory(), "coordinator": _memory(opened.pids("coordinator")[0])}
        return {"seconds": seconds, **idle, "worker": _memory(opened.pids("worker")[0])}, common.digest(7)


def _memory(pid: int) -> float:
    """Memory of one process in MiB, its share of what others have mapped, too."""
    import psutil

    return float(psutil.Process(pid).memory_full_info().pss) / 2**20


def empty_tasks(n: int) -> tuple[dict[str, float], str]:
    from benchmarks.jobs import Empty
    from mapreduce import run

    with engine() as opened:
        run(Empty(100), engine=opened)
        seconds, result = common.timed(lambda: run(Empty(n), engine=opened))
    return {"rate": n / seconds}, common.digest(result.counters["sum"])


def round_trip(n: int) -> tuple[dict[str, float], str]:
    """p50 and p99 are of one task in a running stage, from one task's run to the next with a single worker that is sent
    nothing ahead: result to the coordinator, committed where something depends on it, next task to the worker and its
    process. That is what the peers' submit and get amount to. `job` is a whole job of one task: submitted, planned,
    mapped, reduced, finished, each step committed, and its result read; the peers have no such thing."""
    from benchmarks.jobs import Empty, Trips
    from mapreduce import run
    from mapreduce.engines.local import LocalEngine

    with LocalEngine(1, settings={"prefetch": 0}) as opened:
        run(Trips(10), engine=opened)
        at = sorted(run(Trips(n + 11), engine=opened).counters.values())[10:]
        figures = common.percentiles([(end - begin) / 1e9 for begin, end in pairwise(at)])
    with engine() as opened:
        job = common.round_trips(lambda _: run(Empty(1), engine=opened), max(1, n // 5))
    return figures | {"job": job["p50"]}, ""


def queued(n: int) -> tuple[dict[str, float], str]:
    from benchmarks.jobs import Empty
    from mapreduce import run

    with engine() as opened:
        run(Empty(100), engine=opened)
        return _queue(opened, n)


def million(n: int, few: int) -> tuple[dict[str, float], str]:
    """Ten thousand tasks, a million, and ten thousand again: the cost of one is compared with the mean of the short
    queues beside it."""
    from benchmarks.jobs import Empty
    from mapreduce import run

    with engine() as opened:
        run(Empty(few), engine=opened)
        before, _ = _queue(opened, few)
        figures, digest = _queue(opened, n)
        after, _ = _queue(opened, few)
    return figures | {"growth": 2 * figures["per_task"] / (before["per_task"] + after["per_task"])}, digest


def _queue(opened: Any, n: int) -> tuple[dict[str, float], str]:
    import psutil

    from benchmarks.jobs import Empty
    from mapreduce import run

    coordinator = psutil.Process(opened.pids("coordinator")[0])
    before, peak = coordinator.memory_info().rss, 0

    def look(_: Any) -> None:
        nonlocal peak
        peak = max(peak, coordinator.memory_info().rss)

    seconds, result = common.timed(lambda: run(Empty(n), engine=opened, on_update=look))
    figures = {"per_task": 1e6 * seconds / n, "bytes_per_task": max(0, peak - before) / n, "seconds": seconds}
    return figures, common.digest(result.counters["sum"])


def workers(workers: int, n: int, seconds: float) -> tuple[dict[str, float], str]:
    """A coordinator process, and workers that are connections of a few scripted processes; see
    benchmarks/coordinator.py."""
    from benchmarks import coordinator

    return coordinator.crowd(workers, n, seconds), ""


def arrays(n: int, bytes: int) -> tuple[dict[str, float], str]:
    from benchmarks.jobs import Arrays, Empty
    from mapreduce import run

    with engine() as opened:
        run(Empty(100), engine=opened)
        run(Arrays(4, 1024), engine=opened)
        seconds, result = common.timed(lambda: run(Arrays(n, bytes), engine=opened))
    return {"rate": n * bytes / seconds / 1e9}, common.digest(result.value)


def broadcast(tasks: int, bytes: int) -> tuple[dict[str, float], str]:
    """The peers' data is there before the clock starts. Ours is made by the job, so what that takes is left out."""
    from benchmarks.jobs import Broadcast
    from mapreduce import run

    def work() -> tuple[float, Any]:
        with engine() as opened:
            run(Broadcast(4, 1 << 20), engine=opened)
            seconds, result = common.timed(lambda: run(Broadcast(tasks, bytes), engine=opened))
        return seconds - result.value, result.counters["sum"]

    figures, total = common.over_sums(tasks, bytes, work)
    return figures, common.digest(float(total))


def wordcount(bytes: int, data: str) -> tuple[dict[str, float], str]:
    with common.Peak() as peak:
        begin = time.perf_counter()
        from mapreduce import run
        from plugins.wordcount import WordCount

        with engine() as opened:
            result = run(WordCount([data], top=0), engine=opened)
            counts = {word.decode(): count for word, count in result}
            seconds = time.perf_counter() - begin
    return {"seconds": seconds, "peak": peak.mebibytes}, common.word_digest(counts)


def sort(records: int, data: str) -> tuple[dict[str, float], str]:
    out = common.scratch() / "sorted"
    with common.Peak() as peak:
        begin = time.perf_counter()
        from mapreduce import run
        from mapreduce.engines.local import LocalEngine
        from plugins.sort import Sort

        with LocalEngine(common.WORKERS, data_dir=common.scratch()) as opened:  # on disk: memory is what is limited
            run(Sort([data], out, record=100), engine=opened)
            seconds = time.perf_counter() - begin
    return {"seconds": seconds, "peak": peak.mebibytes}, common.file_digest(out)


def kmeans(rounds: int, points: int, dimensions: int, k: int, data: str) -> tuple[dict[str, float], str]:
    from benchmarks.jobs import Rounds
    from mapreduce import run

    with engine() as opened:
        run(Rounds(data, 3, k), engine=opened)
        value = run(Rounds(data, rounds, k), engine=opened).value
    marks = value["marks"]
    return {"per_round": 1e3 * (marks[-1] - marks[2]) / (rounds - 2)}, common.centres_digest(value["centres"])


def rounds(rounds: int) -> tuple[dict[str, float], str]:
    from benchmarks.jobs import Hollow
    from mapreduce import run

    with engine() as opened:
        run(Hollow(3), engine=opened)
        value = run(Hollow(rounds + 2), engine=opened).value
    return common.round_figures(value["marks"]), common.digest(value["state"])


def killed(n: int, task_seconds: float) -> tuple[dict[str, float], str]:
    from benchmarks.jobs import Empty, Sleepy
    from mapreduce import run

    with engine() as opened:
        run(Empty(100), engine=opened)

        def work() -> int:
            return int(run(Sleepy(n, task_seconds), engine=opened).counters["sum"])

        return common.kill_half_way(work, lambda: int(opened.pids("worker")[0]), n * task_seconds / common.WORKERS)


def scaling(bytes: int, data: str) -> tuple[dict[str, float], str]:
    """Seconds of the job on an engine that is up: its start has a case of its own. Two workers are tried even where
    there is one core."""
    import os

    from mapreduce import run
    from plugins.wordcount import WordCount

    seconds, digests = {}, set()
    for workers in (1, 2, 4):
        if workers <= max(2, len(os.sched_getaffinity(0))):
            with engine(workers) as opened:
                run(WordCount([__file__]), engine=opened)
                seconds[workers], result = common.timed(lambda: run(WordCount([data], top=0), engine=opened))
                digests.add(common.word_digest({word.decode(): count for word, count in result}))
    [digest] = digests
    figures = {f"speedup_{workers}": seconds[1] / seconds[workers] for workers in seconds if workers > 1}
    return figures | {"alone": seconds[1]}, digest


def field(data: str, preset: str, effort: float, seconds: float, **_: Any) -> tuple[dict[str, float], str]:
    from benchmarks.jobs import Empty
    from benchmarks.radiance import field as fields

    folder = common.scratch() / "diary"
    with engine() as opened:
        opened.run(Empty(8))
        with fields.Peak() as peak:
            begin, rays = fields.ours(opened, data, preset, effort, folder)
    curve = fields.saved(folder, data, preset, begin)
    return fields.figures(curve, rays, curve[-1][0], peak.mebibytes), ""


def kernel(data: dict[str, str], turns: int, **_: Any) -> tuple[dict[str, float], str]:
    """Our kernel, turn by turn with its twin where there is a compiler, so that both meet the same neighbours."""
    from benchmarks.radiance import twin

    rates = twin.compare(data["capture"], data["field"], turns, common.scratch())
    return rates["ours"], common.file_digest(data["field"])


def training_scaling(data: str, preset: str, effort: float, **_: Any) -> tuple[dict[str, float], str]:
    from benchmarks.radiance import scaling as measured

    return measured.measure(data, preset, effort, common.scratch())


def avatar(data: str, preset: str, effort: float, **_: Any) -> tuple[dict[str, float], str]:
    from pathlib import Path

    from benchmarks.radiance import avatar as avatars

    small = {} if effort == 1 else {"resolution": 48, "faces": 4000, "texture": 128, "turntable": 2}
    facts = avatars.measure(Path(data), common.scratch() / "avatar", preset=preset, effort=effort, **small)
    wanted = ("chamfer", "fscore", "mesh_psnr", "field_psnr", "training", "files")
    return {name: float(facts[name]) for name in wanted}, ""
