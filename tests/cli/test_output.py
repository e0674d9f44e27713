"""What is said beside a result."""

from __future__ import annotations

import pytest

from mapreduce.cli import output
from mapreduce.job import Outputs, Result, Skipped


def result(**fields: object) -> Result:
    return Result(3, "words", 7, Outputs([]), [], {}, {"seconds": 1.0}, **fields)  # type: ignore[arg-type]


def test_a_job_that_is_not_deterministic_gets_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    found = result()
    found.metrics["diverged"] = 2
    output.result(found, as_json=False, quiet=True)
    said = capsys.readouterr()
    assert said.out == "7\n"
    assert "2 tasks gave other bytes" in said.err and "daf explain" in said.err


def test_many_splits_that_were_set_aside_are_named_in_part(capsys: pytest.CaptureFixture[str]) -> None:
    skipped = tuple(Skipped(0, n, f"map {n}: 'x'", "ValueError", "bad", "in your code") for n in range(25))
    output.result(result(skipped=skipped), as_json=False, quiet=False)
    said = capsys.readouterr().err
    assert "25 splits were set aside" in said and "and 15 more (--json names all)" in said
    assert "map 9:" in said and "map 10:" not in said
    assert said.splitlines()[-1].endswith("25 set aside")


def test_counters_of_the_jobs_own_are_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    found = Result(3, "words", 7, Outputs([]), [], {"words": 1200, "_error": 5}, {"seconds": 1.0})
    output.result(found, as_json=False, quiet=False)
    assert capsys.readouterr().err.splitlines()[-1] == "words: done in 1.00 s, 1,200 words"
    assert found.to_dict()["counters"] == {"words": 1200, "_error": 5}


def test_named_rows_are_shown_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    output.show({"ann": {"status": "done", "psnr": 31.23456, "error": None}, "bob": {"status": "failed", "error": "x"}})
    assert capsys.readouterr().out == "ann: status done, psnr 31.23\nbob: status failed, error x\n"
