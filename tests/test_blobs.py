"""Blobs: complete or absent, mapped where they lie, released by unit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xxhash

from mapreduce import pages
from mapreduce.blobs import BlobLost, BlobStore, BlobWrong, Reader
from mapreduce.wire import codec
from mapreduce.wire.messages import Node, Ref


def test_a_blob_is_named_by_its_content(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    digest, size = store.put(7, 2, 1, [b"ab", b"", memoryview(b"cd")])
    assert (digest, size) == (xxhash.xxh3_128_digest(b"abcd"), 4)
    assert store.path(7, 2, 1, digest).read_bytes() == b"abcd"


def test_many_parts_are_written_whole(tmp_path: Path) -> None:
    parts = [bytes([n % 256]) * (n % 7) for n in range(5000)]
    digest, size = BlobStore(tmp_path).put(1, 0, 1, parts)
    assert BlobStore(tmp_path).path(1, 0, 1, digest).read_bytes() == b"".join(parts)
    assert size == sum(map(len, parts))


def test_a_writer_that_is_left_early_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), BlobStore(tmp_path).writer(1, 0, 1) as writer:
        writer.write([b"half"])
        raise RuntimeError
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_releasing_a_unit_spares_its_neighbours_and_views_in_use(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    refs = []
    for stage, kind in ((0, 1), (0, 2), (1, 1)):
        digest, size = store.put(3, stage, kind, [b"x%d%d" % (stage, kind)])
        refs.append(Ref(digest, size, "n", stage, kind))
    reader = Reader(store, "here")
    view = reader.read(3, refs[0])
    store.release(3, [(0, 1)])
    assert bytes(view) == b"x01"
    with pytest.raises(BlobLost, match="'n'"):
        reader.read(3, refs[0])
    assert bytes(reader.read(3, refs[1])) == b"x02" and bytes(reader.read(3, refs[2])) == b"x11"
    store.release(3)
    assert not (tmp_path / "3").exists()


def segments(tmp_path: Path) -> tuple[Reader, Ref, list[bytes]]:
    """A blob of packets, which begin at all kinds of offsets."""
    parts = [codec.pack(bytes(range(256)) * n) for n in (0, 3, 16, 40, 1)]
    digest, size = BlobStore(tmp_path).put(1, 0, 1, parts)
    return Reader(BlobStore(tmp_path), "here"), Ref(digest, size, "n", 0, 1), parts


def test_segments_of_a_blob_can_be_read_wherever_they_begin(tmp_path: Path) -> None:
    reader, ref, parts = segments(tmp_path)
    for first in range(len(parts)):
        for last in range(first, len(parts) + 1):
            offset, content = sum(map(len, parts[:first])), b"".join(parts[first:last])
            assert bytes(reader.read(1, ref, offset, len(content))) == content
    with pytest.raises(BlobLost, match="wanted"):
        reader.read(1, ref, ref.size, 1)


def test_a_byte_that_is_another_is_noticed_by_whoever_reads_it(tmp_path: Path) -> None:
    reader, ref, parts = segments(tmp_path)
    path = BlobStore(tmp_path).path(1, 0, 1, ref.hash)
    wrong = sum(map(len, parts[:3])) + 500
    data = bytearray(path.read_bytes())
    data[wrong] ^= 1
    path.write_bytes(data)
    with pytest.raises(BlobWrong, match="not those that were made"):
        reader.read(1, ref)
    with pytest.raises(BlobWrong):
        reader.read(1, ref, len(parts[0]), ref.size - len(parts[0]))
    assert bytes(reader.read(1, ref, 0, len(parts[0]))) == parts[0], "the others are as they were"


def test_another_node_of_this_host_is_mapped_and_one_elsewhere_is_fetched(tmp_path: Path) -> None:
    parts = [codec.pack("a"), codec.pack("b")]
    fetched = parts[1]
    digest, size = BlobStore(tmp_path / "b").put(1, 0, 1, parts)
    ref = Ref(digest, size, "b", 0, 1)
    asked = []

    def fetch(node: Node, job: int, ref: Ref, offset: int, size: int) -> bytes:
        asked.append((node.name, offset, size))
        return fetched

    here = Node("b", "here", str(tmp_path / "b"), "")
    away = Node("b", "away", str(tmp_path / "b"), "tcp://127.0.0.1:1")
    mine = BlobStore(tmp_path / "a")
    assert bytes(Reader(mine, "here", {"b": here}, fetch).read(1, ref)) == b"".join(parts) and asked == []
    where = len(parts[0]), len(parts[1])
    assert bytes(Reader(mine, "here", {"b": away}, fetch).read(1, ref, *where)) == fetched and asked == [("b", *where)]


def test_of_a_node_that_was_away_only_what_lives_is_kept(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    for job in (1, 2, 3, 9):
        for stage in (0, 1, 2):
            for kind in (0, 1, 2):
                store.put(job, stage, kind, [b"x"])
    (tmp_path / "2" / "0" / "1-77-3").mkdir()
    (tmp_path / "name").write_text("not a job")
    store.keep(9, {2: (1, {(0, 2)}), 3: (1 << 40, {(2, 2)})})
    left = {path.relative_to(tmp_path).parts[:3] for path in tmp_path.glob("*/*/*/*")}
    assert {unit for unit in left if unit[0] == "1"} == set()
    assert {unit for unit in left if unit[0] == "2"} == {("2", "0", "2")} | {
        ("2", stage, kind) for stage in "12" for kind in "012"
    }
    assert {unit for unit in left if unit[0] == "3"} == {("3", "2", "2")}
    assert len({unit for unit in left if unit[0] == "9"}) == 9, "of jobs that are newer than the list nothing is known"
    assert not (tmp_path / "2" / "0" / "1-77-3").exists()


@pytest.mark.parametrize("host", ["here", "away"])
def test_a_wrong_copy_of_ones_own_is_not_laid_to_the_holder(tmp_path: Path, host: str) -> None:
    """The reader's node made the same bytes once, or fetched them, and its disk is bad; the holder's are right."""
    content = [codec.pack("right")]
    for name in ("a", "b"):
        digest, size = BlobStore(tmp_path / name).put(1, 0, 1, content)
    mine = BlobStore(tmp_path / "a")
    mine.path(1, 0, 1, digest).write_bytes(bytes(size))
    ref = Ref(digest, size, "b", 0, 1)
    holder = Node("b", host, str(tmp_path / "b"), "tcp://127.0.0.1:1")
    reader = Reader(mine, "here", {"b": holder}, lambda node, job, ref, offset, size: content[0])
    assert bytes(reader.read(1, ref)) == content[0]
    mine.path(1, 0, 1, digest).write_bytes(b"short")
    assert bytes(reader.read(1, ref)) == content[0]


def test_only_in_a_private_store_of_ones_own_bytes_are_not_compared(tmp_path: Path) -> None:
    """A local engine's own file system; whoever says so of his folder is not believed."""
    content = codec.pack(np.arange(1000))
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / pages.LARGE).touch()
        digest, size = BlobStore(tmp_path / name).put(1, 0, 1, [content])
        BlobStore(tmp_path / name).path(1, 0, 1, digest).write_bytes(content[:-1] + b"x")
    ref = Ref(digest, size, "n", 0, 1)
    mine = BlobStore(tmp_path / "mine")
    assert bytes(Reader(mine, "here").read(1, ref)) == content[:-1] + b"x"
    theirs = Node("n", "here", str(tmp_path / "theirs"), "")
    with pytest.raises(BlobWrong):
        Reader(BlobStore(tmp_path / "other"), "here", {"n": theirs}).read(1, ref)
    mine.release(1)
    with pytest.raises(BlobWrong):
        Reader(mine, "here", {"n": theirs}).read(1, ref)
