"""Writes docs/benchmarks.md with its plots from results: `python -m benchmarks.page RESULTS.json...`, or `bin/bench
--page`.

Several result files (runs of different cases) become one page; of a case that is in several the last one counts. Every
figure carries its spread, and every case the date and the load of its run. Targets are judged here, from the figures at
hand; what is not met says why.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import harness, report
from .cases import CASES
from .harness import Row

PAGE = harness.ROOT / "docs" / "benchmarks.md"
PLOTS = "benchmarks"

HEAD = """# Benchmarks

This library and its peers on the same work, two workers each, every sample in a process of its own and in turn, results
compared. Run it on your machine with `bin/bench` (`bin/bench --help`; `--compare results.json` says what became worse);
this page is written by `bin/bench --page`, or from stored results by `python -m benchmarks.page RESULTS.json...`.

Read ratios within one table, not seconds: the machine is a small virtual one, and the load before the run is named.
Figures are medians, with the smallest and the largest sample in brackets; the last column says with which options
`bin/bench` measures a row alone. Seconds of word count and sort begin before the engine is imported and started, and
end with the result in hand, not with the end of the engine. A peer whose samples took a minute in all is given no more.
Training of radiance fields is measured in [radiance fields](radiance-fields.md), too.

What has no row: Mitsuba 3 (nothing here drives it); a killed worker of PySpark, whose local mode has no worker to kill,
and of HyperQueue, whose tasks are programs (each `true` is a process of its own); a million tasks queued and 1,000
workers with Dask and Ray, which take a quarter of an hour and more for the first.
"""


@dataclass(frozen=True)
class Target:
    """What `figure` of this library (of its row `ours`) should reach: at least or at most `bound`; as a multiple of
    `peer`'s, if given."""

    case: str
    figure: str
    bound: float
    peer: str = ""
    reason: str = ""
    ours: str = "daf"


MEMORY = (
    "each array is written once to a file in memory and mapped from there; where that file system has ordinary pages, "
    "the kernel's work for them takes most of the time, and where the hypervisor takes free memory back, how fast it "
    "gives that again; the sum begins after the last map task"
)
SHARED = (
    "the 256 MiB are hashed and written first, and mapped page by page in each task process; coordinator and workers "
    "share the two cores with the sums"
)
BUSY = "others had most of the two cores at this load"
COUNTING = (
    "the peer does the same counting with less around it: most of this plugin's time is Python's own Counter, and half "
    "a second the start of the engine"
)
COMPILED = (
    "counting takes 0.8 s of two cores, and 0.9 s the start of engine and Numba, whose kernels are loaded while the "
    "other processes start"
)
TARGETS = (
    Target("start", "seconds", 0.6, reason=BUSY),
    Target("empty_tasks", "rate", 40_000, reason=BUSY),
    Target("empty_tasks", "rate", 0.7, "zeromq", "the bare loop neither stores nor checks nor retries anything"),
    Target("empty_tasks", "rate", 30, "ray"),
    Target("empty_tasks", "rate", 75, "dask"),
    Target("round_trip", "p50", 0.4, reason=BUSY),
    Target("round_trip", "p99", 2, reason=BUSY),
    Target("arrays", "rate", 2, reason=MEMORY),
    Target("broadcast", "over_sums", 1.1, reason=SHARED),
    Target("rounds", "per_round", 5, reason="three trips through the coordinator, each with a commit, on busy cores"),
    *(
        Target("wordcount", "seconds", 1, peer, COUNTING)
        for peer in ("pool", "mpire", "joblib", "dask", "dask_bag", "ray", "spark")
    ),
    *(Target("wordcount", "seconds", 1, peer, COMPILED, "daf_numba") for peer in ("polars", "duckdb")),
    Target("sort", "seconds", 1 / 1.5, "gnu", "its parts and the sorted parts pass through files once each"),
    Target("sort", "peak", 256),
    Target("killed", "extra", 2),
    Target("queued", "bytes_per_task", 300),
    Target("million", "growth", 1.2, reason="the queue itself costs the same; what grows is told in the table"),
    Target("million", "bytes_per_task", 300),
    Target("workers", "lost", 0, reason="the machine was too busy for the scripted workers to send their heartbeats"),
    Target("scaling", "speedup_2", 1.8, reason="two processes share the memory, and the last task of one runs alone"),
    Target("field", "rays", 400),
    Target("kernel", "training", 0.7, "cpp"),
    Target("training_scaling", "speedup_2", 1.85, reason="the kernels of two workers share caches and memory"),
    Target("training_scaling", "overhead", 3, reason="rounds of the coarse levels take a tenth of a second and less"),
    Target("training_scaling", "dense", 5),
)


def judge(target: Target, rows: dict[tuple[str, str], Row]) -> str | None:
    """One line of the table of targets; None when the figures are not there."""
    row, figure = rows.get((target.case, target.ours)), CASES[target.case].figures[target.figure]
    value = row.median(target.figure) if row is not None and row.status == "ok" else None
    if value is None:
        return None
    unit, against = f" {figure.unit}", ""
    if target.peer:
        other = rows.get((target.case, target.peer))
        base = other.median(target.figure) if other is not None and other.status == "ok" else None
        if not base:
            return None
        value, unit, against = value / base, "x", f" of {target.peer}"
    more = figure.better == "more"
    met = value >= target.bound if more else value <= target.bound
    verdict = "met" if met else f"**not met**: {target.reason or 'see the table'}"
    sign = "≥" if more else "≤"
    variant = "" if target.ours == "daf" else f" ({target.ours})"
    name = f"{target.case}{variant}: {target.figure}{against}"
    return f"| {name} | {sign} {report._number(target.bound)}{unit} | {report._number(value)}{unit} | {verdict} |"


def write(results: list[dict[str, Any]], page: Path = PAGE) -> list[Path]:
    """Write the page and its plots; returns their paths.

    Raises:
        ValueError: a file holds no results of this suite.
    """
    runs: dict[str, tuple[dict[str, Any], list[Row]]] = {}
    for data in results:
        rows = harness.from_json(data)
        for name in dict.fromkeys(row.case for row in rows):
            runs[name] = (data["machine"], [row for row in rows if row.case == name])
    every = {(row.case, row.peer): row for _, rows in runs.values() for row in rows}
    verdicts = [line for target in TARGETS if (line := judge(target, every)) is not None]
    parts = [HEAD, "## Targets", "", "| figure | target | here | |", "|---|---|---|---|", *verdicts, ""]
    folder = page.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    written = [page]
    for name in (name for name in CASES if name in runs):
        about, rows = runs[name]
        for row in rows:
            row.params.pop("data", None)
        intro, _, table = report.markdown(rows, about).partition("\n\n")
        plots = report.plots(rows, folder)
        written += plots
        pictures = [f"![{CASES[name].title}]({folder.name}/{plot.name})" for plot in plots]
        parts += [table.replace("### ", "## ").rstrip(), "", *pictures, "", intro, ""]
    page.write_text("\n".join(parts))
    return written


def main() -> int:
    paths = write([json.loads(Path(name).read_text()) for name in sys.argv[1:]])
    print("\n".join(map(str, paths)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
