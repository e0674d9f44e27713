"""The work that is measured: one `Case` each, the same for every peer.

A case names its figures (unit, and whether more is better), the parameters of a full and of a quick run, and how its
inputs are made. A peer takes part by defining a function of the case's name in its module (see peers/). What the
function returns has figures, and a digest of the *result*: rows of one case whose digests differ are failed, for a fast
wrong answer is no answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import inputs
from .radiance import inputs as radiance


@dataclass(frozen=True)
class Figure:
    """One number of a row. `better` is "more" or "less"."""

    unit: str
    better: str


@dataclass(frozen=True)
class Case:
    """One line of work.

    Attributes:
        figures: what a peer's function reports, by name; the first is the one that plots and comparisons use.
        full, quick: parameters of the real run, and of a run that only shows that everything works.
        prepare: makes input files once, given the parameters and a folder; its result is passed to every peer as
            `data`.
        limit: seconds after which a run is killed and counted as failed.
    """

    name: str
    title: str
    figures: dict[str, Figure]
    full: dict[str, Any] = field(default_factory=dict)
    quick: dict[str, Any] = field(default_factory=dict)
    prepare: Callable[[dict[str, Any], Path], Any] | None = None
    limit: float = 300.0


SECONDS = Figure("s", "less")
MEBIBYTES = Figure("MiB", "less")

HEAD = {"size": 400, "views": 100, "preset": "standard", "effort": 1.0}
SMALL_HEAD = {"size": 64, "views": 12, "preset": "draft", "effort": 0.1}
"""Photos of a generated head, and how a field is trained on them, in full and quick runs."""

CASES = {
    case.name: case
    for case in (
        Case(
            "start",
            "Start to first result, and memory of the idle engine (2 workers)",
            {"seconds": SECONDS, "idle": MEBIBYTES, "coordinator": MEBIBYTES, "worker": MEBIBYTES},
        ),
        Case(
            "empty_tasks",
            "Empty tasks, one by one",
            {"rate": Figure("tasks/s", "more")},
            full={"n": 20_000},
            quick={"n": 500},
        ),
        Case(
            "round_trip",
            "Round trip of one task on an idle engine; and of a whole job of one task",
            {"p50": Figure("ms", "less"), "p99": Figure("ms", "less"), "job": Figure("ms", "less")},
            full={"n": 500},
            quick={"n": 30},
        ),
        Case(
            "queued",
            "Tasks queued at once: cost of one as the queue grows",
            {"per_task": Figure("us", "less"), "bytes_per_task": Figure("B", "less"), "seconds": SECONDS},
            full={"n": 100_000},
            quick={"n": 2_000},
            limit=900,
        ),
        Case(
            "million",
            "A million tasks queued at once: cost of one, and how it grew since ten thousand",
            {
                "growth": Figure("x", "less"),
                "per_task": Figure("us", "less"),
                "bytes_per_task": Figure("B", "less"),
                "seconds": SECONDS,
            },
            full={"n": 1_000_000, "few": 10_000},
            quick={"n": 5_000, "few": 500},
            limit=900,
        ),
        Case(
            "workers",
            "1,000 simulated workers at one coordinator: its processor time for a task, idle, and its memory",
            {
                "per_task": Figure("us", "less"),
                "idle": Figure("% of a core", "less"),
                "memory": MEBIBYTES,
                "lost": Figure("workers", "less"),
                "rate": Figure("tasks/s", "more"),
            },
            full={"workers": 1000, "n": 100_000, "seconds": 10.0},
            quick={"workers": 20, "n": 1_000, "seconds": 1.0},
        ),
        Case(
            "arrays",
            "Arrays of 4 MiB summed by a reducer",
            {"rate": Figure("GB/s", "more")},
            full={"n": 200, "bytes": 4 << 20},
            quick={"n": 8, "bytes": 1 << 20},
        ),
        Case(
            "broadcast",
            "256 MiB of shared state, summed by each of 100 tasks",
            {"seconds": SECONDS, "over_sums": Figure("x", "less")},
            full={"tasks": 100, "bytes": 256 << 20},
            quick={"tasks": 4, "bytes": 4 << 20},
        ),
        Case(
            "wordcount",
            "Word count of 400 MB of text",
            {"seconds": SECONDS, "peak": MEBIBYTES},
            full={"bytes": 400_000_000},
            quick={"bytes": 2_000_000},
            prepare=inputs.text,
        ),
        Case(
            "sort",
            "Sort of 4 million records of 100 bytes, file to file",
            {"seconds": SECONDS, "peak": MEBIBYTES},
            full={"records": 4_000_000},
            quick={"records": 20_000},
            prepare=inputs.records,
        ),
        Case(
            "kmeans",
            "k-means, 50 rounds over 200,000 points: cost of a round",
            {"per_round": Figure("ms", "less")},
            full={"rounds": 50, "points": 200_000, "dimensions": 8, "k": 16},
            quick={"rounds": 3, "points": 2_000, "dimensions": 4, "k": 4},
            prepare=inputs.points,
        ),
        Case(
            "rounds",
            "200 rounds with next to no work: what a round costs",
            {"per_round": Figure("ms", "less"), "slowest": Figure("ms", "less")},
            full={"rounds": 200},
            quick={"rounds": 5},
        ),
        Case(
            "killed",
            "200 tasks of 100 ms, a worker killed half-way: extra seconds",
            {"extra": SECONDS},
            full={"n": 200, "task_seconds": 0.1},
            quick={"n": 20, "task_seconds": 0.05},
        ),
        Case(
            "scaling",
            "Word count with 1, 2, 4 workers, as far as there are cores: speed-up over one",
            {
                "speedup_2": Figure("x", "more"),
                "speedup_4": Figure("x", "more"),
                "alone": Figure("s, one worker", "less"),
            },
            full={"bytes": 400_000_000},
            quick={"bytes": 2_000_000},
            prepare=inputs.text,
        ),
        Case(
            "field",
            "Radiance field: PSNR over time, held-out photos of a generated head (DAF_BENCH_CAPTURE: another)",
            {
                "to_28": SECONDS,
                "to_25": SECONDS,
                "to_30": SECONDS,
                "psnr": Figure("dB", "more"),
                "seconds": SECONDS,
                "rays": Figure("thousand/s", "more"),
                "peak": MEBIBYTES,
            },
            full=HEAD | {"seconds": 300},
            quick=SMALL_HEAD | {"seconds": 5},
            prepare=radiance.capture,
            limit=900,
        ),
        Case(
            "kernel",
            "Kernel of the radiance field on one core, million alive samples a second",
            {
                "training": Figure("M/s", "more"),
                "forward": Figure("M/s", "more"),
                "training_random": Figure("M/s", "more"),
                "forward_random": Figure("M/s", "more"),
            },
            full=HEAD | {"turns": 8},
            quick=SMALL_HEAD | {"turns": 1},
            prepare=radiance.trained,
        ),
        Case(
            "avatar",
            "Photos to a textured mesh: distances to the surface that the cameras saw, and time",
            {
                "chamfer": Figure("% of the diagonal", "less"),
                "fscore": Figure("% at 0.5 %", "more"),
                "mesh_psnr": Figure("dB", "more"),
                "field_psnr": Figure("dB", "more"),
                "training": SECONDS,
                "files": Figure("s from field to files", "less"),
            },
            full=HEAD,
            quick=SMALL_HEAD,
            prepare=radiance.capture,
            limit=900,
        ),
        Case(
            "training_scaling",
            "Training with 1 and 2 workers: speed-up, the engine's share of a round, bytes of a round",
            {
                "speedup_2": Figure("x", "more"),
                "ceiling": Figure("x, if nothing ever waited", "more"),
                "overhead": Figure("% of all rounds", "less"),
                "overhead_last": Figure("% of the last level's rounds", "less"),
                "python": Figure("% of them that the job's Python takes beside its kernels", "less"),
                "round": Figure("ms", "less"),
                "megabytes": Figure("MB a round", "less"),
                "dense": Figure("x less than a dense exchange", "more"),
                "live": Figure("x less than a dense exchange of live voxels", "more"),
            },
            full=HEAD,
            quick=SMALL_HEAD,
            prepare=radiance.capture,
            limit=900,
        ),
    )
}
