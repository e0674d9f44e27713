"""The compiled word count gives what the plain one gives, and its kernels what plain Python gives."""

from __future__ import annotations

import importlib
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mapreduce import WORD, file_ranges, map_range, run
from plugins import words
from plugins.wordcount import WordCount
from plugins.wordcount_fast import FastWordCount, pairs

KINDS = {
    "few letters, so that most words are equal": (b"ab \n", (1, 3)),
    "NULs, which fill up short words": (b"a\0 ", (1, 20)),
    "all bytes": (bytes(range(256)), (1, 40)),
    "long words that begin and end alike": (b"ab ", (20, 60)),
}


def twin(text: bytes) -> list[tuple[bytes, int]]:
    """The kernels in plain Python: every different word with its count, in the order of its bytes."""
    return sorted(Counter(text.split()).items())


def compiled(text: bytes, parts: int = 3) -> list[tuple[bytes, int]]:
    array = np.frombuffer(text, np.uint8)
    return list(pairs(words.merge([some for _, some in words.cut(array, words.count(array), parts)])))


def made(rng: random.Random, letters: bytes, sizes: tuple[int, int], count: int) -> bytes:
    """Words of random letters (which may hold separators), long ones with a common beginning and end."""
    some = [bytes(rng.choices(letters, k=rng.randint(*sizes))) for _ in range(count)]
    return rng.choice([b" ", b"\n\n", b"\t \r"]).join(
        word if len(word) < 20 else b"https://" + word + b".html" for word in some
    )


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_are_held_against_their_twin(kind: str) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(100):
        text = made(rng, *KINDS[kind], rng.randrange(300))
        assert compiled(text) == twin(text)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, words.BLOCK - 1, words.BLOCK, words.BLOCK + 1, 3 * words.BLOCK])
@pytest.mark.parametrize("last", [b"", b" ", b" x", b" exactly8", b" more-than-sixteen-bytes"])
def test_a_word_may_fill_blocks_and_end_with_the_text(size: int, last: bytes) -> None:
    assert compiled(b"y" * size + last) == twin(b"y" * size + last)


def test_the_table_grows() -> None:
    numbers = b" ".join(b"%d" % (n * n) for n in range(5 * words.BLOCK))
    assert compiled(numbers + b" " + numbers) == [(word, 2) for word, _ in twin(numbers)]


def test_every_white_space_separates() -> None:
    assert compiled(bytes(range(256))) == twin(bytes(range(256)))


def test_a_word_goes_to_the_same_part_wherever_it_stands() -> None:
    texts = [b"the cat the-incomprehensibilities", b"the-incomprehensibilities of another cat", b"cat"]
    where: dict[bytes, set[int]] = {}
    for text in texts:
        array = np.frombuffer(text, np.uint8)
        for part, some in words.cut(array, words.count(array), 5):
            for word, _ in pairs(some):
                where.setdefault(word, set()).add(part)
    assert len(where) == 5 and all(len(parts) == 1 for parts in where.values())
    assert len(set.union(*where.values())) > 1


def test_ranges_count_every_word_once(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    text = made(random.Random(seed), b"abc \n", (1, 30), 200)
    (tmp_path / "a").write_bytes(text)
    for size in (1, 3, 17, 1000, 1 << 20):
        some: list[words.Words] = []
        for part in file_ranges([tmp_path / "a"], size):
            array = np.frombuffer(map_range(part, WORD), np.uint8)
            some += [piece for _, piece in words.cut(array, words.count(array), 4)]
        assert list(pairs(words.merge(some))) == twin(text)


def test_results_are_those_of_the_plain_one(tmp_path: Path) -> None:
    """Value, counters and file are equal, byte for byte: accents, bytes that are no UTF-8, ties, NULs, long words."""
    rng = random.Random(11)
    (tmp_path / "a").write_bytes("é è naïve ß 漢字 😀 ".encode() * 3 + b"\xff\xfe \xc2\xa0 b\0 b \0b " + b"z" * 70_000)
    (tmp_path / "b").write_bytes(made(rng, bytes(range(256)), (1, 30), 5000))
    (tmp_path / "empty").touch()
    paths = [tmp_path / name for name in ("a", "b", "empty")]
    plain = run(WordCount(paths, top=50, out=tmp_path / "plain.txt"), "inline")
    fast = run(FastWordCount(paths, top=50, out=tmp_path / "fast.txt"), "inline")
    assert (tmp_path / "fast.txt").read_bytes() == (tmp_path / "plain.txt").read_bytes()
    assert (fast.value, fast.counters) == (plain.value, plain.counters)
    assert dict(plain) == {word: count for _, some in fast for word, count in pairs(some)}


def test_an_empty_file_has_no_words(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    result = run(FastWordCount([tmp_path / "a"], out=tmp_path / "out"), "inline")
    assert result.value == [] and (tmp_path / "out").read_bytes() == b""


def test_its_slots_find_the_kernels_loaded(tmp_path: Path) -> None:
    """What the class names can be imported, and calling the kernels afterwards loads and compiles nothing."""
    for module in FastWordCount.preload:
        importlib.import_module(module)
    if not any(Path(words._count.stats.cache_path).glob("words._count-*.nbi")):
        pytest.skip("this machine keeps no compiled kernels")
    kernels = words._count, words._merge, words._gather, words._order
    known = [list(kernel.signatures) for kernel in kernels]
    (tmp_path / "a").write_bytes(b"to be or not to be " * 100)
    run(FastWordCount([tmp_path / "a"], out=tmp_path / "out"), "inline")
    assert [list(kernel.signatures) for kernel in kernels] == known
