"""The shuffle: grouped, sorted, in map order, whatever the budget made it spill."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mapreduce import shuffle
from mapreduce.blobs import BlobStore, map_file
from mapreduce.job import default_partition
from mapreduce.wire import codec


def write(root: Path, pairs: Iterable[tuple[Any, Any]], *, partitions: int = 3, **options: Any) -> list[memoryview]:
    """What one map task leaves: the bytes of each partition's segment."""
    store = BlobStore(root)
    (root / "spill").mkdir(parents=True, exist_ok=True)
    partition = options.pop("partition", default_partition)
    collector = shuffle.Collector(partitions, partition, folder=lambda: root / "spill", **options)
    collector.collect(pairs)
    with store.writer(1, 0, 1) as writer:
        sizes = collector.write(writer)
        digest, size = writer.commit()
    assert sum(sizes) == size
    path = store.path(1, 0, 1, digest)
    return [map_file(path, sum(sizes[:n]), sizes[n]) for n in range(partitions)]


def merged(maps: list[list[memoryview]], partition: int) -> Iterator[tuple[Any, list[Any]]]:
    return shuffle.merge([shuffle.chunks(segments[partition]) for segments in maps])


@pytest.mark.parametrize("budget", [100, 10**6], ids=["spilled", "in memory"])
@pytest.mark.parametrize("value", [1, "text"])
def test_segments_that_are_read_alone_have_checksums(tmp_path: Path, budget: int, value: Any) -> None:
    """One of several cannot be compared with the blob's hash. Where there is one, it is the blob."""
    pairs = [(key, value) for key in range(200)]
    several = write(tmp_path / "several", pairs, partitions=2, budget=budget)
    assert all(len(segment) > 0 and codec.intact(segment) for segment in several)
    [alone] = write(tmp_path / "alone", pairs, partitions=1, budget=budget)
    assert [key for keys, _, _ in shuffle.chunks(alone) for key in keys] == list(range(200))


def test_every_value_arrives_once_under_its_key_in_map_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    monkeypatch.setattr(shuffle, "CHUNK_VALUES", 7)
    for trial in range(40):
        budget = rng.choice([100, 1000, 10**6])
        keys = rng.choice([1, 5, 300])
        inputs = [
            [(f"k{rng.randrange(keys)}", (m, n)) for n in range(rng.randrange(200))] for m in range(rng.randrange(1, 9))
        ]
        expected: dict[str, list[Any]] = defaultdict(list)
        for pairs in inputs:
            for key, value in pairs:
                expected[key].append(value)
        maps = [write(tmp_path / f"{trial}-{m}", pairs, budget=budget) for m, pairs in enumerate(inputs)]
        got = {}
        for partition in range(3):
            groups = list(merged(maps, partition))
            assert [key for key, _ in groups] == sorted(key for key, _ in groups)
            assert all(default_partition(key, 3) == partition for key, _ in groups)
            got |= dict(groups)
        assert got == expected


def test_a_key_that_spans_many_chunks_of_many_maps_is_one_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shuffle, "CHUNK_VALUES", 2)
    maps = [write(tmp_path / str(m), [(5, (m, n)) for n in range(9)], partitions=1) for m in range(3)]
    assert list(merged(maps, 0)) == [(5, [(m, n) for m in range(3) for n in range(9)])]


def test_spills_change_nothing_but_memory(tmp_path: Path) -> None:
    pairs = [(n * 7919 % 1000, float(n)) for n in range(20_000)]
    whole = write(tmp_path / "a", pairs)
    spilled = write(tmp_path / "b", pairs, budget=10_000)
    for partition in range(3):
        assert list(merged([whole], partition)) == list(merged([spilled], partition))
    assert list((tmp_path / "b" / "spill").iterdir()) == []


def test_combine_joins_values_before_they_leave_and_across_spills(tmp_path: Path) -> None:
    pairs = [(f"k{n % 50}", 1) for n in range(10_000)]
    combined = write(tmp_path, pairs, combine=lambda key, values: sum(values), budget=3_000)
    groups = dict(group for partition in range(3) for group in merged([combined], partition))
    assert groups == {f"k{n}": [200] for n in range(50)}


def test_arrays_are_views_of_the_segment(tmp_path: Path) -> None:
    segments = write(tmp_path, [(0, np.arange(100_000.0))], partitions=1)
    [(_, [array])] = merged([segments], 0)
    assert np.shares_memory(array, np.frombuffer(segments[0], np.uint8)) and array.sum() == 100_000 * 99_999 / 2


def test_the_merge_holds_a_chunk_a_segment_and_not_the_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shuffle, "CHUNK_VALUES", 10)
    maps = [write(tmp_path / str(m), [(n, m) for n in range(1000)], partitions=1) for m in range(4)]
    read = [0] * 4

    def counted(number: int) -> Iterator[shuffle.Chunk]:
        for chunk in shuffle.chunks(maps[number][0]):
            read[number] += 1
            yield chunk

    stream = shuffle.merge([counted(n) for n in range(4)])
    for _ in range(55):
        next(stream)
    assert max(read) <= 8


@pytest.mark.parametrize("pairs", [[(1, 0), ("a", 0)], [((1, "x"), 0), ((1, 2), 0)]])
def test_keys_that_cannot_be_ordered_are_refused(tmp_path: Path, pairs: list[Any]) -> None:
    with pytest.raises(shuffle.BadKey, match="one kind"):
        write(tmp_path, pairs, partitions=1, partition=lambda key, n: 0)


def test_keys_that_cannot_be_ordered_are_refused_across_maps(tmp_path: Path) -> None:
    maps = [write(tmp_path / str(n), [(key, 0)], partitions=1) for n, key in enumerate([1, "a"])]
    with pytest.raises(shuffle.BadKey, match="one kind"):
        list(merged(maps, 0))


@pytest.mark.parametrize(
    ("pair", "message"),
    [((float("nan"), 1), "NaN"), (([1], 1), "list cannot be a key"), (5, "pairs"), ((1, 2, 3), "pairs")],
)
def test_what_is_no_pair_or_no_key_is_named(tmp_path: Path, pair: Any, message: str) -> None:
    with pytest.raises(shuffle.BadKey, match=message):
        write(tmp_path, [pair])


def test_a_partition_out_of_range_is_named(tmp_path: Path) -> None:
    with pytest.raises(shuffle.BadKey, match=r"gave 3, not one of 0\.\.2"):
        write(tmp_path, [("a", 1)], partition=lambda key, n: n)


def test_equal_keys_share_a_partition_whatever_type_spells_them() -> None:
    for a, b in [(3, np.int64(3)), (2.5, np.float64(2.5)), ((1, 2.0), (np.int32(1), np.float32(2.0))), (3, 3.0)]:
        assert default_partition(a, 97) == default_partition(b, 97)
