"""Each write and each sync of a store fails for a while, or is the last thing that its process does. Some of them here;
all in `python -m tests.reliability --only disk`."""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mapreduce.store import open_store
from tests.store.faultydisk import COMMITS, Disk, Writer, content, library


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Disk, Writer]]:
    folder = tmp_path_factory.mktemp("disk")
    made = library(folder)
    if made is None:
        pytest.skip("there is no C compiler, which the failing disk needs")
    disk = Disk(folder, made)
    writer = Writer(disk, folder / "store" / "state.db")
    yield disk, writer
    writer.close()


ADVICE = ("Make room", "mount it for writing", "See dmesg", "may this user write")


def test_what_the_disk_said_is_told(writer: tuple[Disk, Writer]) -> None:
    """While it goes on failing, that is: SQLite itself says "disk I/O error" to all of them."""
    disk, process = writer
    wanted = {errno.ENOSPC: "the disk is full", errno.EIO: "Input/output error", errno.EROFS: "has become read-only"}
    at = calls(*writer) // 2
    for error, words in wanted.items():
        disk.order(error=error, first=at, until=at + 40)
        _, _, told = process.write()
        assert told and words in told[0], told


def found(path: Path) -> tuple[bytes | None, list[bytes]]:
    store = open_store(f"sqlite://{path}")
    try:
        return store.get("n"), store.lrange("l")
    finally:
        store.close()


def calls(disk: Disk, writer: Writer) -> int:
    disk.order()
    assert writer.write() == (COMMITS, 0, []) and found(writer.path) == content(COMMITS)
    assert disk.calls > 100, "the disk does not see the store's writes"
    return disk.calls


def sample(count: int, size: int = 8) -> list[int]:
    seed = int(os.environ.get("DAF_SEED", time.time_ns() % 2**32))
    print(f"seed {seed}")
    return sorted(random.Random(seed).sample(range(1, count + 1), min(size, count)))


@pytest.mark.parametrize("half", [False, True], ids=["before", "half-way"])
def test_death_at_a_write(writer: tuple[Disk, Writer], half: bool) -> None:
    disk, process = writer
    for at in (*range(1, 11), *sample(calls(*writer))):  # with the first ten the store is made
        dies_at(disk, process, at, half)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=lambda error: errno.errorcode[error])
def test_a_write_that_fails(writer: tuple[Disk, Writer], error: int) -> None:
    disk, process = writer
    for at in sample(calls(*writer)):
        fails_at(disk, process, at, error)


def dies_at(disk: Disk, writer: Writer, at: int, half: bool) -> None:
    """What had returned is there, and of the rest at most the commit that was being made."""
    disk.order(die=at, half=half)
    commits, ended, _ = writer.write()
    assert ended == signal.SIGKILL, f"it did not die at call {at}"
    disk.order()
    assert found(writer.path) in (content(commits), content(commits + 1)), f"death at call {at}"


def fails_at(disk: Disk, writer: Writer, at: int, error: int, times: int = 3) -> None:
    """It is told, and nothing is missing once the disk works again."""
    disk.order(error=error, first=at, until=at + times)
    commits, ended, told = writer.write()
    assert (commits, ended) == (COMMITS, 0), f"{errno.errorcode[error]} at call {at}"
    for text in told:
        assert str(writer.path) in text and any(advice in text for advice in ADVICE), text
    disk.order()
    assert found(writer.path) == content(COMMITS), f"{errno.errorcode[error]} at call {at}"
