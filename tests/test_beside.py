"""Outputs side by side: one array that has all of them in it, without a copy where they are files of this host, and
with the same values where they are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mapreduce import job, shuffle, tasks
from mapreduce.blobs import BlobStore, BlobWrong, Reader
from mapreduce.pages import Span
from mapreduce.wire.codec import LARGE
from mapreduce.wire.messages import Node, Ref
from tests.test_pages import resident_kib


def stored(store: BlobStore, *partitions: list[Any]) -> list[Ref]:
    """What reduce tasks that yield these leave."""
    refs = []
    for number, values in enumerate(partitions):
        with store.writer(1, number, tasks.REDUCE) as writer:
            shuffle.write_pairs(writer, ((number, value) for value in values))
            refs.append(Ref(*writer.commit(), "n", number, tasks.REDUCE))
    return refs


def rows(count: int, first: int, width: int = 16) -> np.ndarray:
    return np.arange(first, first + count * width, dtype=np.float32).reshape(count, width)


def check(whole: np.ndarray, starts: tuple[int, ...], arrays: list[np.ndarray]) -> None:
    assert len(starts) == len(arrays) and not whole.flags.writeable
    for start, array in zip(starts, arrays, strict=True):
        np.testing.assert_array_equal(whole[start : start + len(array)], array)


@pytest.mark.parametrize("counts", [(5000, 40_000, 4096), (9000,), (70_000, 70_000)])
def test_large_arrays_are_mapped_and_not_copied(tmp_path: Path, counts: tuple[int, ...]) -> None:
    store = BlobStore(tmp_path)
    arrays = [rows(count, 7 * n) for n, count in enumerate(counts)]
    refs = stored(store, *([array] for array in arrays))
    outputs = tasks.outputs_of(Reader(store, "here"), 1, refs)
    whole, starts = outputs.side_by_side()
    check(whole, starts, arrays)
    for array, ref in zip(arrays, refs, strict=True):
        path = store.path(1, ref.stage, tasks.REDUCE, ref.hash)
        assert resident_kib(path) * 1024 >= array.nbytes, "mapped, all of it"
    del whole
    assert not resident_kib(path), "let go with the array"
    check(*outputs.side_by_side(len(arrays) - 1 or 1), arrays[: len(arrays) - 1 or 1])


def test_what_cannot_be_mapped_so_is_copied(tmp_path: Path) -> None:
    """Small arrays are anywhere in their files, rows of 24 bytes do not fit between pages, others are elsewhere."""
    store = BlobStore(tmp_path)
    small = [rows(3, 0), rows(2, 9)]
    odd = [rows(20_000, n, width=6) for n in range(3)]
    for arrays in (small, odd):
        refs = stored(store, *([array] for array in arrays))
        whole, starts = tasks.outputs_of(Reader(store, "here"), 1, refs).side_by_side()
        check(whole, starts, arrays)
    far = {"n": Node("n", "there", str(tmp_path / "nowhere"), "")}
    data = {ref.hash: store.path(1, ref.stage, tasks.REDUCE, ref.hash).read_bytes() for ref in refs}
    store.release(1)
    reader = Reader(store, "here", far, lambda node, job, ref, offset, size: data[ref.hash][offset : offset + size])
    check(*tasks.outputs_of(reader, 1, refs).side_by_side(), odd)


def test_what_is_no_array_each_is_refused(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    large, other = rows(9000, 0), rows(9000, 0).astype(np.float64)
    for partitions in ([[large], [large, large]], [[large], []], [[large], ["text"]], [[large], [other]]):
        outputs = tasks.outputs_of(Reader(store, "here"), 1, stored(store, *partitions))
        with pytest.raises(ValueError, match="side by side"):
            outputs.side_by_side()
    with pytest.raises(ValueError, match="side by side"):
        job.Outputs([lambda: iter([(0, 1)])]).side_by_side()


def test_wrong_bytes_are_noticed(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    refs = stored(store, [rows(9000, 0)], [rows(9000, 5)])
    path = store.path(1, 1, tasks.REDUCE, refs[1].hash)
    data = bytearray(path.read_bytes())
    data[LARGE] ^= 4
    path.write_bytes(data)
    with pytest.raises(BlobWrong):
        tasks.outputs_of(Reader(store, "here"), 1, refs).side_by_side()


def test_a_span_takes_what_fits_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)) * 64)
    span = Span([5000, 8192])
    with open(tmp_path / "file", "rb") as file:
        first, second = span.place(0, file.fileno(), 0, 5000), span.place(1, file.fileno(), 4096, 8192)
        for number, offset, size in ((0, 0, 5001), (1, 1, 100)):
            with pytest.raises(ValueError, match="do not fit"):
                span.place(number, file.fileno(), offset, size)
    assert bytes(first) == (bytes(range(256)) * 20)[:5000] and bytes(second) == bytes(range(256)) * 32
    assert first.readonly and span.view[5000 + 5000] == 0, "what lies between reads as zeros"
