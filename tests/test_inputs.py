"""Ranges of files: every record is read whole and exactly once, wherever the cuts fall."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from mapreduce import LINE, WORD, BadInput, check_files, file_ranges, map_range, read_range

CASES = [b"", b"\n", b"a", b"a\n", b"\n\na", b"aaaa bb\nccc  dd\n", b"  lead", b"trail  ", b"one-very-long-record" * 9]


@pytest.mark.parametrize("data", CASES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("separator", [LINE, WORD])
def test_ranges_give_every_record_once(tmp_path: Path, data: bytes, size: int, separator: re.Pattern[bytes]) -> None:
    path = tmp_path / "data"
    path.write_bytes(data)
    assert b"".join(read_range(part, separator) for part in file_ranges([path], size)) == data


def test_random_files_and_cuts(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    for number in range(50):
        path = tmp_path / str(number)
        data = bytes(rng.choices(b"ab \n\t\x00\xff", weights=[9, 9, 2, 2, 1, 1, 1], k=rng.randrange(200)))
        path.write_bytes(data)
        size = rng.randrange(1, 60)
        parts = [read_range(part) for part in file_ranges([path], size)]
        assert b"".join(parts) == data
        assert all(part.endswith(b"\n") for part in parts[:-1] if part and part is not parts[-1] and any(parts[-1:]))
        words = [word for part in file_ranges([path], size) for word in read_range(part, WORD).split()]
        assert words == data.split()
        for separator in (LINE, WORD):
            for part in file_ranges([path], size):
                assert bytes(map_range(part, separator)) == read_range(part, separator)


def test_a_record_longer_than_a_block_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "data"
    data = b"x" * 200_000 + b"\n" + b"y"
    path.write_bytes(data)
    parts = [read_range(part) for part in file_ranges([path], 1000)]
    assert parts[0] == data[:200_001]
    assert b"".join(parts) == data


def test_wrong_paths_are_named(tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.write_text("x")
    check_files([good])
    with pytest.raises(BadInput, match=f"there is no file {tmp_path / 'nix'}"):
        check_files([good, tmp_path / "nix"])
    with pytest.raises(BadInput, match=f"{tmp_path} is a folder"):
        check_files([tmp_path])
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="dangling"):
        check_files([tmp_path / "dangling"])
