"""Grep: which lines, and under which numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

import plugins.grep
from mapreduce import BadInput, file_ranges, run
from plugins.grep import Grep


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text("one\nTwo éa\n\nthree\rone more\ntwo")
    return path


def found(job: Grep) -> list[str]:
    return [line.split(":", 1)[1] for line in run(job, "inline").value]


def test_lines_have_their_numbers(path: Path) -> None:
    assert found(Grep("one", [path])) == ["1:one", "4:three\rone more"]


def test_case_and_inversion(path: Path) -> None:
    assert found(Grep("two", [path])) == ["5:two"]
    assert found(Grep("two", [path], ignore_case=True)) == ["2:Two éa", "5:two"]
    assert found(Grep("[a-z]", [path], invert=True)) == ["3:"]


def test_a_letter_is_a_letter_beyond_ascii(path: Path) -> None:
    assert found(Grep(r"\b\wa$", [path])) == ["2:Two éa"]


def test_numbers_run_on_from_range_to_range(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins.grep, "file_ranges", lambda paths: file_ranges(paths, 3))
    assert found(Grep("", [path])) == ["1:one", "2:Two éa", "3:", "4:three\rone more", "5:two"]


def test_files_come_in_the_order_they_were_named(path: Path) -> None:
    others = [path.with_name(f"{name}.txt") for name in "zyxwvu"]
    for number, other in enumerate(others):
        other.write_text(f"one {number}\n" * 2)
    value = run(Grep("^one ", others), "inline").value
    assert value == [f"{other}:{line}:one {n}" for n, other in enumerate(others) for line in (1, 2)]


def test_a_broken_pattern_is_explained(path: Path) -> None:
    with pytest.raises(BadInput, match="is not a regular expression: unterminated character set at position 1"):
        run(Grep("a[", [path]), "inline")
