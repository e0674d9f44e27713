"""Word count: what a word is, and what is shown of many."""

from __future__ import annotations

from pathlib import Path

import pytest

from mapreduce import BadInput, run
from mapreduce.errors import BadParameters
from plugins.wordcount import WordCount


def test_words_are_what_lies_between_white_space(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b" The the\tthe,\vthe\x0cthe\r\n\xc3\xa9 \xff\xc2\xa0\n")
    result = run(WordCount([path]), "inline")
    assert result.value == [["the", 3], ["The", 1], ["the,", 1], ["é", 1], ["\\xff\xa0", 1]]


def test_the_most_frequent_are_shown_ties_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("c b a c b a d d d d")
    assert run(WordCount([path], top=3), "inline").value == [["d", 4], ["a", 2], ["b", 2]]
    assert run(WordCount([path], top=0), "inline").value == []


def test_an_empty_file_has_no_words(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    result = run(WordCount([path], out=tmp_path / "out"), "inline")
    assert result.value == [] and (tmp_path / "out").read_bytes() == b""


def test_wrong_input_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no file"):
        run(WordCount([tmp_path / "nix"]), "inline")
    with pytest.raises(BadParameters, match="'paths' must be a list of paths at least 1 long"):
        run(WordCount([]), "inline")
    with pytest.raises(BadParameters, match="'top' must be an integer >= 0, not -1"):
        run(WordCount([tmp_path], top=-1), "inline")
