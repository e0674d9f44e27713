"""The reader of pages itself: a block it misread would be a promise nobody checks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import Block, Page, commands, matches


def page(tmp_path: Path, text: str) -> Page:
    path = tmp_path / "page.md"
    path.write_text(text)
    return Page.read(path)


def test_blocks_are_found_with_language_title_and_line(tmp_path: Path) -> None:
    found = page(tmp_path, "# A\n\n```python title=w.py\nx = 1\n```\ntext\n```console\n$ ls\n```\n")
    assert [(b.language, b.title, b.text, b.line) for b in found.blocks] == [
        ("python", "w.py", "x = 1\n", 3),
        ("console", "", "$ ls\n", 7),
    ]


def test_an_open_fence_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="never closed"):
        page(tmp_path, "```python\nx = 1\n")


def test_links_in_code_are_no_links(tmp_path: Path) -> None:
    found = page(tmp_path, '[a](b.md) `[c](d.md)` <img src="e.png">\n```text\n[f](g.md)\n```\n')
    assert found.links() == ["b.md", "e.png"]


def test_anchors_are_spelled_as_github_does(tmp_path: Path) -> None:
    assert page(tmp_path, "## The `Job` class, in short!\n").anchors() == {"the-job-class-in-short"}


def test_commands_carry_their_output_and_continued_lines() -> None:
    found = commands(Block("console", "", "$ a \\\n  b\nout\n\nmore\n$ c\n", 1))
    assert [(c.line, c.expected) for c in found] == [("a \\\n  b", "out\n\nmore\n"), ("c", "")]


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\nb\n", "a\nc\n", False),
        ("a\n...\nz\n", "a\n1\n2\nz\n", True),
        ("a\n...\n", "a\n", True),
        ("a\n...\nz\n", "b\nz\n", False),
        ("took … s\n", "took 1.5 s\n", True),
        ("took … s\n", "took 1.5 m\n", False),
        ("a.c\n", "abc\n", False),
        ("a\n", "a\nb\n", False),
    ],
)
def test_matches(expected: str, printed: str, same: bool) -> None:
    assert matches(expected, printed) is same
