"""The page of results: targets are judged from the figures, and what is not met says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import harness, page
from benchmarks.harness import Row


def rows(ours: float, theirs: float) -> dict[tuple[str, str], Row]:
    some = [("daf", ours), ("gnu", theirs)]
    return {("sort", peer): Row("sort", peer, {}, "", samples=[{"seconds": value}]) for peer, value in some}


def test_a_target_against_a_peer_is_judged_by_the_ratio() -> None:
    target = page.Target("sort", "seconds", 1 / 1.5, "gnu", "the reason")
    assert "| met |" in str(page.judge(target, rows(2.0, 3.1)))
    assert "**not met**: the reason" in str(page.judge(target, rows(2.0, 2.9)))


def test_a_target_may_be_that_of_another_row_of_ours() -> None:
    some = rows(2.0, 3.0) | {("sort", "daf_numba"): Row("sort", "daf_numba", {}, "", samples=[{"seconds": 4.0}])}
    assert "| met |" in str(page.judge(page.Target("sort", "seconds", 1, "gnu"), some))
    line = str(page.judge(page.Target("sort", "seconds", 1, "gnu", "the reason", "daf_numba"), some))
    assert "sort (daf_numba): seconds of gnu" in line and "**not met**: the reason" in line


def test_of_a_rate_more_is_met() -> None:
    row = {("empty_tasks", "daf"): Row("empty_tasks", "daf", {}, "", samples=[{"rate": 50.0}])}
    assert "| met |" in str(page.judge(page.Target("empty_tasks", "rate", 40), row))
    assert "not met" in str(page.judge(page.Target("empty_tasks", "rate", 60), row))


def test_without_figures_nothing_is_claimed() -> None:
    assert page.judge(page.Target("sort", "seconds", 1.0), {}) is None
    alone = {key: row for key, row in rows(1.0, 1.0).items() if key[1] == "daf"}
    assert page.judge(page.Target("sort", "seconds", 1.0, "gnu"), alone) is None


def test_every_target_names_a_figure_that_there_is() -> None:
    assert [t for t in page.TARGETS if t.figure not in page.CASES[t.case].figures] == []


def test_the_page_has_each_run_with_its_date_and_the_last_one_of_a_case(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib (pip install .[reports])")
    results = []
    for date, seconds in (("Monday", 7.0), ("Tuesday", 5.0)):
        about = harness.machine() | {"date": date}
        row = Row("sort", "daf", {"records": 5, "data": "/home/me/x"}, "", samples=[{"seconds": seconds}])
        peer = Row("sort", "gnu", {"records": 5}, "", samples=[{"seconds": 9.0}])
        results.append(harness.to_json([row, peer], about))
    paths = page.write(results, tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "Tuesday" in text and "Monday" not in text and "**5** (5 to 5)" in text
    assert "/home/me" not in text
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == ["page.md", "page/sort.svg"]
    assert "](page/sort.svg)" in text
