"""Sort: what cannot be sorted is refused; what is skewed is sorted all the same."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

import plugins.sort
from mapreduce import BadInput, run
from plugins.sort import Sort, key_order, places


def test_empty_files_give_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    run(Sort([tmp_path / "a"], tmp_path / "out"), "inline")
    assert (tmp_path / "out").read_bytes() == b""


def test_a_last_line_without_newline_gets_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"b\n\na")
    (tmp_path / "b").write_bytes(b"c")
    run(Sort([tmp_path / "a", tmp_path / "b"], tmp_path / "out"), "inline")
    assert (tmp_path / "out").read_bytes() == b"\na\nb\nc\n"


def test_bytes_decide_not_letters(tmp_path: Path) -> None:
    lines = [b"a", b"a\x01", b"a\x0b", b"A", "é".encode(), b"\xff", b"\x00", b"ab", b" "]
    (tmp_path / "a").write_bytes(b"\n".join(lines))
    run(Sort([tmp_path / "a"], tmp_path / "out"), "inline")
    assert (tmp_path / "out").read_bytes() == b"".join(line + b"\n" for line in sorted(lines))


def test_a_part_beyond_memory_is_merged_as_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line many times cannot be cut into parts: it is more than a reduce task holds, and goes through `stream`."""
    monkeypatch.setattr(plugins.sort, "RANGE", 10_000)
    monkeypatch.setattr(plugins.sort, "BLOCK", 64)
    streamed = []
    stream = Sort.stream
    monkeypatch.setattr(Sort, "stream", lambda self, piece: streamed.append(len(piece)) or stream(self, piece))
    rng = random.Random(3)
    lines = [rng.choice([b"same line"] * 40 + [b"same line, longer", b"other", b"x" * 300]) for _ in range(5000)]
    (tmp_path / "a").write_bytes(b"\n".join(lines) + b"\n")
    run(Sort([tmp_path / "a"], tmp_path / "out", part=5000), "inline")
    assert (tmp_path / "out").read_bytes() == b"".join(line + b"\n" for line in sorted(lines))
    assert sum(streamed) > 40_000


def test_records_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 25)
    with pytest.raises(BadInput, match="does not hold whole records of 10 bytes"):
        run(Sort([tmp_path / "a"], tmp_path / "out", record=10), "inline")
    with pytest.raises(BadInput, match="a key of 7 bytes needs records"):
        run(Sort([tmp_path / "a"], tmp_path / "out", record=5, key=7), "inline")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("b\na\n")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match="file is not a folder"):
        run(Sort([tmp_path / "a"], tmp_path / "file" / "out"), "inline")
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_file_may_be_sorted_into_itself(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("b\na\n")
    run(Sort([tmp_path / "a"], tmp_path / "a"), "inline")
    assert (tmp_path / "a").read_text() == "a\nb\n"


@pytest.mark.parametrize("seed", range(40))
def test_the_order_of_fixed_keys_is_that_of_bytes_and_stable(seed):
    rng = np.random.default_rng(seed)
    shape = int(rng.integers(0, 60)), int(rng.integers(1, 30))
    keys = rng.integers(0, int(rng.choice([2, 3, 256])), size=shape, dtype=np.uint8)
    assert list(key_order(keys)) == sorted(range(len(keys)), key=lambda row: keys[row].tobytes()), f"seed {seed}"


@pytest.mark.parametrize("seed", range(20))
def test_bounds_cut_where_the_first_key_is_that_is_not_less(seed):
    rng = np.random.default_rng(seed)
    some = rng.integers(0, int(rng.choice([2, 256])), size=(int(rng.integers(1, 60)), int(rng.integers(1, 20))))
    some[:, : 8 * (seed % 2)] = 7  # the first eight bytes of all are equal, or not
    keys, bounds = sorted(map(bytes, some.tolist())), sorted(map(bytes, some[::9].tolist()))
    found = list(places(np.array(list(map(list, keys)), np.uint8), bounds))
    assert found == [sum(key < bound for key in keys) for bound in bounds], f"seed {seed}"
