"""Run cases with peers, interleaved and repeated, and keep every sample.

Machines drift, so a sample of one peer is followed by a sample of the next, round after round, and only figures of one
run are compared.
"""

from __future__ import annotations

import compileall
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from .cases import CASES, Case
from .measure import NOT_DONE

ROOT = Path(__file__).resolve().parent.parent

PATIENCE = 60.0
"""Seconds after which a row gets no more samples: a peer that takes a minute for one is not asked for three."""


@dataclass
class Row:
    """All samples of one peer on one case. `status` is ok, missing (with the reason) or failed (with the reason)."""

    case: str
    peer: str
    params: dict[str, Any]
    command: str
    status: str = "ok"
    reason: str = ""
    version: str = ""
    digest: str = ""
    samples: list[dict[str, float]] = field(default_factory=list)
    took: float = 0.0
    """Seconds of all samples, with the ends of the peers."""

    def median(self, figure: str) -> float | None:
        """The median of a figure over the samples, None where there is none."""
        values = [sample[figure] for sample in self.samples if sample.get(figure) is not None]
        return statistics.median(values) if values else None

    def spread(self, figure: str) -> tuple[float, float] | None:
        """(smallest, largest) of a figure."""
        values = [sample[figure] for sample in self.samples if sample.get(figure) is not None]
        return (min(values), max(values)) if values else None


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def run(
    cases: Iterable[str],
    peers: Iterable[str],
    *,
    repeat: int,
    quick: bool,
    cache: Path,
    tell: Callable[[str], None],
    keep: Callable[[list[Row]], None] = lambda rows: None,
) -> list[Row]:
    """Measure `cases` with `peers`; every sample in a process of its own, peers in turn, `repeat` times.

    `keep` is given all rows so far after each case. An interruption (Ctrl-C) ends the run: what was measured before is
    returned, with the samples that the case at hand has.
    """
    rows: list[Row] = []
    cache.mkdir(parents=True, exist_ok=True)
    for folder in ("mapreduce", "plugins", "nerf_plugin", "benchmarks"):  # as an installation would; the peers are
        compileall.compile_dir(ROOT / folder, quiet=2)
    for name in cases:
        case = CASES[name]
        params = dict(case.quick if quick else case.full)
        if case.prepare is not None:
            tell(f"{name}: making the input")
            params["data"] = case.prepare(params, cache)
        group = [_row(case, peer, params) for peer in peers]
        try:
            for row in (row for _ in range(repeat) for row in group):
                if row.status == "ok" and row.took < PATIENCE:
                    begin = time.monotonic()
                    _sample(case, row, params)
                    row.took += time.monotonic() - begin
                    if row.reason != NOT_DONE:
                        tell(f"{name} {row.peer} {len(row.samples) or 1}/{repeat}: {_brief(case, row)}")
        except KeyboardInterrupt:
            tell(f"interrupted in {name}; what was measured is kept")
            return rows + _finished(group)
        rows += _finished(group)
        keep(rows)
    return rows


def _finished(group: list[Row]) -> list[Row]:
    """The rows of a case that say something; those with a result of their own are failed."""
    _agree(group)
    return [row for row in group if row.reason != NOT_DONE and (row.samples or row.status != "ok")]


def _row(case: Case, peer: str, params: dict[str, Any]) -> Row:
    command = f"{Path(sys.executable).name} -m benchmarks.measure {case.name} {peer} '{json.dumps(params)}'"
    return Row(case.name, peer, params, command)


def _sample(case: Case, row: Row, params: dict[str, Any]) -> None:
    command = [sys.executable, "-m", "benchmarks.measure", case.name, row.peer, json.dumps(params)]
    with tempfile.TemporaryFile("w+") as log, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"BENCH_SCRATCH": folder},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        try:
            out, _ = child.communicate(timeout=case.limit)
        except subprocess.TimeoutExpired:
            row.status, row.reason = "failed", f"no result within {case.limit:.0f} s"
            return
        finally:
            _end_group(child.pid)
        log.seek(0)
        tail = log.read().strip().splitlines()[-1:]
    try:
        answer = json.loads(out.strip().splitlines()[-1])
    except (IndexError, ValueError):
        row.status, row.reason = "failed", tail[0] if tail else f"exit code {child.returncode}"
        return
    if "missing" in answer:
        row.status, row.reason = "missing", answer["missing"]
        return
    row.version = answer["version"]
    if row.digest and answer["digest"] != row.digest:
        row.status, row.reason = "failed", "two samples gave different results"
    row.digest = answer["digest"]
    row.samples.append(answer["figures"])


def _end_group(pid: int) -> None:
    """Whatever a peer left running ends here."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _agree(group: list[Row]) -> None:
    """Fail the rows whose result differs from the one that most rows have."""
    digests = [row.digest for row in group if row.samples and row.digest]
    if not digests:
        return
    common = statistics.mode(digests)
    for row in group:
        if row.samples and row.digest and row.digest != common:
            row.status, row.reason = "failed", f"its result differs ({row.digest[:12]}, most have {common[:12]})"


def _brief(case: Case, row: Row) -> str:
    if row.status != "ok":
        return f"{row.status}: {row.reason}"
    latest = row.samples[-1]
    return ", ".join(
        f"{name} {latest[name]:.4g} {figure.unit}" for name, figure in case.figures.items() if name in latest
    )


def to_json(rows: list[Row], about: dict[str, Any]) -> dict[str, Any]:
    """Plain data: the machine, and every row with every sample."""
    return {"format": 1, "machine": about, "rows": [asdict(row) for row in rows]}


def from_json(data: dict[str, Any]) -> list[Row]:
    """The rows of an earlier run. Raises ValueError when the file is not one of ours."""
    if not isinstance(data, dict) or data.get("format") != 1:
        raise ValueError("this is not a result file of the benchmark suite (format 1)")
    return [Row(**row) for row in data["rows"]]
