"""Comparing runs: noise is no regression, a real change is, in either direction of better."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.harness import Row


def row(case: str, figure: str, *values: float, **other: object) -> Row:
    return Row(case, "daf", {"n": 1}, "", samples=[{figure: value} for value in values], **other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ((1.0, 1.1, 1.2), (1.15, 1.3, 1.4), ""),  # the ranges overlap
        ((1.00, 1.01, 1.02), (1.03, 1.04, 1.05), ""),  # apart, but by 3 %
        ((1.0, 1.1, 1.2), (1.5, 1.6, 1.7), "WORSE"),
        ((1.5, 1.6, 1.7), (1.0, 1.1, 1.2), "better"),
        ((1.0,), (1.2,), ""),  # one sample each: 20 % may be noise
        ((1.0,), (1.4,), "WORSE"),
    ],
)
def test_seconds_count_as_worse_only_beyond_the_noise(before: tuple, now: tuple, said: str) -> None:
    lines, worse = report.compare([row("sort", "seconds", *now)], [row("sort", "seconds", *before)])
    assert [line.split(":")[0] for line in lines] == ([said] if said else [])
    assert worse == (said == "WORSE")


def test_of_a_rate_less_is_worse() -> None:
    lines, worse = report.compare([row("empty_tasks", "rate", 50.0)], [row("empty_tasks", "rate", 100.0)])
    assert worse and "100 -> 50 tasks/s (x0.50)" in lines[0]


def test_other_parameters_and_failed_rows_are_not_compared() -> None:
    old, new = row("sort", "seconds", 1.0), row("sort", "seconds", 9.0)
    new.params = {"n": 2}
    assert report.compare([new], [old]) == ([], False)
    new.params, new.status = old.params, "failed"
    assert report.compare([new], [old]) == ([], False)


def test_the_table_names_medians_and_spread_best_first() -> None:
    fast, slow = row("sort", "seconds", 1.0, 2.0, 4.0), row("sort", "seconds", 5.0)
    slow.peer = "gnu"
    about = dict.fromkeys(("date", "processor", "cores", "memory_gib", "system", "python", "load_before"), "x")
    table = report.markdown([slow, fast], about)
    assert "**2** (1 to 4)" in table
    assert table.index("this library") < table.index("GNU tools")


def test_plots_are_the_same_bytes_for_the_same_figures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib (pip install .[reports])")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        peer = row("sort", "seconds", 3.0)
        peer.peer = "gnu"
        [path] = report.plots([row("sort", "seconds", 1.0, 2.0), peer], tmp_path / name)
        assert path.name == "sort.svg"
    assert (tmp_path / "a" / "sort.svg").read_bytes() == (tmp_path / "b" / "sort.svg").read_bytes()


def test_one_row_alone_is_no_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib (pip install .[reports])")
    assert report.plots([row("sort", "seconds", 1.0, 2.0)], tmp_path) == []
