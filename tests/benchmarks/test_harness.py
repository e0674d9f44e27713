"""The suite on tiny inputs, with the peers that need nothing more than Python and this library; what a peer does wrong
shows."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import harness, measure, report
from benchmarks.cases import CASES
from benchmarks.harness import Row

ALWAYS_THERE = ["daf", "daf_numba", "pool", "executor", "zeromq"]


def quick(case: str, tmp_path: Path, peers: list[str] = ALWAYS_THERE) -> list[Row]:
    return harness.run([case], peers, repeat=1, quick=True, cache=tmp_path, tell=lambda text: None)


@pytest.mark.parametrize(
    "case",
    ["empty_tasks", "arrays", "sort", "wordcount", "kmeans", "rounds", "broadcast", "killed", "million", "workers"],
)
def test_a_case_runs_and_all_peers_have_the_same_result(case: str, tmp_path: Path) -> None:
    rows = quick(case, tmp_path)
    assert [(row.peer, row.status, row.reason) for row in rows if row.status != "ok"] == []
    ours = next(row for row in rows if row.peer == "daf")
    assert set(CASES[case].figures) <= set(ours.samples[0])
    values = [value for row in rows for value in row.samples[0].values()]
    assert case == "killed" or min(values) >= 0  # of two runs, the disturbed one may be the faster on a busy machine
    assert len({row.digest for row in rows}) == 1


def test_a_peer_that_is_not_installed_is_named_as_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = SimpleNamespace(missing=lambda: "not installed (pip install .[bench])", empty_tasks=lambda n: None)
    monkeypatch.setitem(sys.modules, "benchmarks.peers.ray", absent)
    assert measure.measure("empty_tasks", "ray", {"n": 1}) == {"missing": "not installed (pip install .[bench])"}
    assert measure.measure("kernel", "ray", {}) == {"missing": measure.NOT_DONE}, "it would not do that case anyway"
    row = Row("empty_tasks", "ray", {"n": 1}, "", "missing", "not installed (pip install .[bench])")
    assert "missing: not installed" in report.markdown([row], harness.machine())


def test_a_row_whose_result_differs_fails_and_the_others_stay() -> None:
    rows = [Row("sort", peer, {}, "", digest=digest, samples=[{"seconds": 1.0}]) for peer, digest in GROUP]
    harness._agree(rows)
    assert [row.status for row in rows] == ["ok", "failed", "ok"]
    assert "differs" in rows[1].reason and "failed" in report.markdown(rows, harness.machine())


GROUP = [("daf", "a" * 64), ("gnu", "b" * 64), ("numpy", "a" * 64)]


def test_a_peer_that_hangs_is_one_failed_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CASES, "empty_tasks", dataclasses.replace(CASES["empty_tasks"], limit=0.01))
    [row] = quick("empty_tasks", tmp_path, ["pool"])
    assert (row.status, row.reason) == ("failed", "no result within 0 s")


def test_what_was_measured_is_kept_when_a_run_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The case before is kept when it ends; of the case at hand what is complete."""
    measured = iter([1.0, 2.0, 3.0])

    def sample(case: object, row: Row, params: object) -> None:
        if (seconds := next(measured)) == 3.0:
            raise KeyboardInterrupt
        row.samples.append({"rate": seconds})

    monkeypatch.setattr(harness, "_sample", sample)
    kept: list[list[float]] = []
    rows = harness.run(
        ["empty_tasks", "rounds"],
        ["daf"],
        repeat=1,
        quick=True,
        cache=tmp_path,
        tell=lambda text: None,
        keep=lambda rows: kept.append([row.samples[0]["rate"] for row in rows]),
    )
    assert kept == [[1.0], [1.0, 2.0]] and len(rows) == 2
    measured = iter([1.0, 3.0])
    kept.clear()
    rows = harness.run(
        ["empty_tasks"],
        ["daf", "pool"],
        repeat=2,
        quick=True,
        cache=tmp_path,
        tell=lambda text: None,
        keep=lambda rows: kept.append([]),
    )
    assert [(row.peer, len(row.samples)) for row in rows] == [("daf", 1)] and kept == []


def test_results_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [Row("sort", "daf", {"records": 5}, "command", digest="d", samples=[{"seconds": 1.0}, {"seconds": 2.0}])]
    assert harness.from_json(harness.to_json(rows, {})) == rows
    with pytest.raises(ValueError, match="not a result file"):
        harness.from_json({"format": 9})
