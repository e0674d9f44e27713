"""The case `training_scaling`: the same training with one and two workers, and where a round's time and bytes go.

Speed-up is the ratio of the wall times of the rounds (from the first round's plan to the plan after the last). Both are
run in turns, and each round counts as it went in the better turn. `ceiling` is what two workers could reach if nothing
ever waited: twice the kernels' CPU time with one worker by that with two, which share caches and memory.

Overhead is measured with one worker, where nothing waits for anything: the part of the rounds' wall time that is
spent neither in the job's own code (its plans, map and reduce methods, and the kernels that these call) nor on the
diary. It holds messages, scheduling, the durable store, decoding, mapping rows, memory for every output, and its hash.
`overhead_last` is that of the last level, where most of the time goes; `python` is what the job's own code takes there
beside the kernels' two functions (map_task, reduce_task).

Bytes of a round are those of gradient packets and rows. In a dense exchange every map task sends a float32 for every
value (13, with harmonics of degree 2: 28) of each voxel of the level's box, and gets as many back; `live` compares with
one of the sparse grid's voxels only.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .training import Training, read_diary

TURNS = 3
NUMBER = 4
"""Bytes of a float32."""


def train(workers: int, capture: str, preset: str, effort: float, folder: Path) -> tuple[list[dict[str, Any]], str]:
    """One training: its diary, and a digest of all rows."""
    from mapreduce.engines.local import LocalEngine

    folder.mkdir()
    with LocalEngine(workers) as engine:
        result = engine.run(Training(Path(capture), folder, preset, effort))
        digest = hashlib.sha256()
        for _, rows in result.outputs:
            digest.update(rows)
    return read_diary(folder), digest.hexdigest()


def rounds(diary: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    """Each round: wall and task seconds, those of the job's own code, of its kernels and of the diary, bytes out, and
    its level's grid."""
    plans = {line["stage"]: line for line in diary if line["what"] == "plan"}
    found: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for line in diary:
        if line["what"] == "plan":
            continue
        one, what = found[line["stage"]], line["what"]
        if not one:
            plan, then = plans[line["stage"]], plans[line["stage"] + 1]
            one.update(wall=then["begin"] - plan["begin"], own=plan["own"], diary=plan["diary"])
        one["own"] += line["own"]
        one["diary"] += line["diary"]
        one["kernel"] += line["kernel"]
        one["kernel_cpu"] += line["kernel_cpu"]
        one["tasks"] += line["end"] - line["begin"]
        one[f"{what}_kernel"] += line["kernel_cpu"]
        one[f"{what}_bytes"] += line["bytes"]
        one[f"{what}s"] += 1
        for name in ("level", "dense", "live", "values"):
            one[name] = line[name]
    return [dict(found[stage]) for stage in sorted(found)]


def total(some: Sequence[dict[str, float]], name: str) -> float:
    return sum(one[name] for one in some)


def best(runs: Sequence[Sequence[dict[str, float]]]) -> list[dict[str, float]]:
    """Each round as it went in that of several equal runs where it took the least: what else the machine does only
    ever adds."""
    return [min(turns, key=lambda one: one["wall"]) for turns in zip(*runs, strict=True)]


def overhead(some: Sequence[dict[str, float]]) -> float:
    """Per cent of the wall time that the engine takes, of a run with one worker."""
    wall = total(some, "wall") - total(some, "diary")
    return 100 * (1 - total(some, "own") / wall)


def measure(capture: str, preset: str, effort: float, folder: Path) -> tuple[dict[str, float], str]:
    """The case's figures and the digest of the rows. Raises ValueError when two workers give other bits than one."""
    diaries: dict[int, list[list[dict[str, Any]]]] = {1: [], 2: []}
    digests = set()
    for turn in range(TURNS):
        for workers, kept in diaries.items():
            diary, digest = train(workers, capture, preset, effort, folder / f"{workers}-{turn}")
            kept.append(diary)
            digests.add(digest)
    if len(digests) > 1:
        raise ValueError("two workers gave other bits than one")
    one, two = (best([rounds(diary) for diary in diaries[workers]]) for workers in (1, 2))
    last = [r for r in one if r["level"] == one[-1]["level"]]
    bytes_out = total(last, "map_bytes") + total(last, "reduce_bytes")
    dense, live = (sum(2 * r["maps"] * r[name] * r["values"] * NUMBER for r in last) for name in ("dense", "live"))
    return {
        "speedup_2": total(one, "wall") / total(two, "wall"),
        "ceiling": 2 * total(one, "kernel_cpu") / total(two, "kernel_cpu"),
        "overhead": overhead(one),
        "overhead_last": overhead(last),
        "python": 100 * (total(last, "own") - total(last, "kernel")) / (total(last, "wall") - total(last, "diary")),
        "round": 1e3 * total(last, "wall") / len(last),
        "megabytes": bytes_out / len(last) / 1e6,
        "dense": dense / bytes_out,
        "live": live / bytes_out,
    }, digests.pop()
