"""Huge pages asked for by ourselves: the bytes are the same with and without, at any size and offset, and whatever is
refused or does not pay."""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import random
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xxhash

from mapreduce import pages, recycle
from mapreduce.blobs import BlobStore, map_file
from mapreduce.pages import HUGE, Widener, let_go, mapped
from nerf_plugin.memory import owner


@pytest.fixture
def shm() -> Iterator[Path]:
    """A folder of the memory file system."""
    if not HUGE or recycle._file_system(Path("/dev/shm")) != recycle._TMPFS:
        pytest.skip("no memory file system at /dev/shm, or no huge pages")
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="daf-test-pages-") as folder:
        yield Path(folder)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Huge pages pay however long they take."""
    monkeypatch.setattr(pages, "_WORTH", 1.0)


def huge_kib(view: memoryview) -> int:
    """KiB of huge pages that a mapping uses as such."""
    start = ctypes.addressof((ctypes.c_char * len(view)).from_buffer(view))
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if match := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(match[1], 16) <= start < int(match[2], 16)
        elif inside and line.startswith("ShmemPmdMapped:"):
            return int(line.split()[1])
    return 0


def widened(path: Path, size: int) -> tuple[int, memoryview]:
    """A new file and its huge pages; skips where this kernel makes none."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    view = Widener().widen(fd, size)
    if view is None:
        os.close(fd)
        pytest.skip("this kernel makes no huge pages on demand")
    return fd, view


def test_a_mapping_shows_any_part_of_a_file(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    content = rng.randbytes(3 * max(HUGE, 4096) + 777)
    path = tmp_path / "file"
    path.write_bytes(content)
    with path.open("r+b") as file:
        for _ in range(30):
            offset = rng.randrange(len(content))
            size = rng.randrange(1, len(content) - offset + 1)
            view = mapped(file.fileno(), offset, size)
            assert view.readonly and view == content[offset : offset + size]


def test_a_mapping_lives_as_long_as_its_views_and_no_longer(tmp_path: Path) -> None:
    path = tmp_path / "mapped-for-a-while"
    path.write_bytes(bytes(3 * max(HUGE, 4096)))
    view = map_file(path)
    part = view[5:9]
    del view
    gc.collect()
    assert bytes(part) == bytes(4) and path.name in Path("/proc/self/maps").read_text()
    del part
    assert path.name not in Path("/proc/self/maps").read_text()


def test_huge_pages_are_used_by_writers_and_readers(shm: Path, patient: None) -> None:
    fd, view = widened(shm / "file", 2 * HUGE + 12345)
    assert len(view) == 2 * HUGE and huge_kib(view) == 2 * HUGE >> 10
    view[:] = b"x" * len(view)
    reader = mapped(fd, 0, 2 * HUGE)
    assert reader == b"x" * 2 * HUGE
    os.close(fd)


@pytest.mark.parametrize("hint", [0.5, 0.99, 1.0, 1.7])
def test_the_bytes_of_a_blob_are_the_same_whatever_was_expected(shm: Path, patient: None, hint: float) -> None:
    rng = random.Random(7)
    parts = [rng.randbytes(size) for size in (32, 100_000, HUGE, 1, 300_000, HUGE + 5, 64)]
    whole = b"".join(parts)
    store = BlobStore(shm)
    for stage in range(3):  # new, then twice in a file that was used before
        with store.writer(1, stage, 1, int(len(whole) * hint)) as writer:
            assert writer.write(parts[:4]) + writer.write(parts[4:]) == len(whole)
            digest, size = writer.commit()
        path = store.path(1, stage, 1, digest)
        assert digest == xxhash.xxh3_128_digest(whole) and size == len(whole) and path.read_bytes() == whole
        assert map_file(path, 5, len(whole) - 10) == whole[5:-5]
        store.release(1, [(stage, 1)])


def test_a_released_file_keeps_its_huge_pages(shm: Path, patient: None) -> None:
    store = BlobStore(shm)
    digest, _ = store.put(1, 0, 1, [bytes(2 * HUGE + 64)])
    path = store.path(1, 0, 1, digest)
    if not path.stat().st_mode & recycle.WIDE:
        pytest.skip("this kernel makes no huge pages on demand")
    inode = path.stat().st_ino
    store.release(1, [(0, 1)])
    taken = store.pool.take(2 * HUGE, str(shm / "mine"))
    assert taken is not None and os.fstat(taken.fd).st_ino == inode
    assert taken.pages is not None and len(taken.pages) == 2 * HUGE
    taken.pages[0] = taken.pages[HUGE] = 1
    assert huge_kib(taken.pages) == 2 * HUGE >> 10
    os.close(taken.fd)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOMEM, errno.EAGAIN])
def test_where_there_are_none_blobs_are_written_the_ordinary_way(
    shm: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    asked = []

    class Refuses:
        mmap, munmap = pages._LIBC.mmap, pages._LIBC.munmap

        @staticmethod
        def madvise(*_: int) -> int:
            asked.append(1)
            ctypes.set_errno(number)
            return -1

    monkeypatch.setattr(pages, "_LIBC", Refuses)
    store = BlobStore(shm)
    for byte in range(3):
        content = bytes([byte]) * (2 * HUGE + 5)
        digest, _ = store.put(1, 0, 1, [content])
        assert store.path(1, 0, 1, digest).read_bytes() == content
    assert len(asked) == 1, "not asked again soon"


def test_steps_that_do_not_pay_are_not_repeated_soon(shm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_WORTH", 1e15)
    widener = Widener()
    size = 2 * max(pages._STEP, HUGE)
    fds = [os.open(shm / str(n), os.O_RDWR | os.O_CREAT, 0o600) for n in range(2)]
    first = widener.widen(fds[0], size)
    if first is None:
        pytest.skip("this kernel makes no huge pages on demand")
    assert len(first) == size // 2 and os.fstat(fds[0]).st_size == size // 2
    assert widener.widen(fds[1], size) is None and os.fstat(fds[1]).st_size == 0
    for fd in fds:
        os.close(fd)


@pytest.mark.parametrize("size", [40_000, 3 * max(HUGE, 4096)])
def test_pages_let_go_come_back_and_other_memory_is_left_alone(shm: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    path = shm / "let-go"
    path.write_bytes(content)
    array = np.frombuffer(map_file(path), np.uint8)
    assert array.sum() and resident_kib(path) * 1024 >= size - 4096
    assert let_go(array.ctypes.data, size, owner(array))
    assert resident_kib(path) * 1024 < 8192 and array.tobytes() == content
    private = array.copy()
    assert not let_go(private.ctypes.data, size, owner(private)) and private.tobytes() == content


def resident_kib(path: Path) -> int:
    """KiB of a file's mappings that are resident."""
    inside, found = False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith(str(path))
        elif inside and line.startswith("Rss:"):
            found += int(line.split()[1])
    return found
