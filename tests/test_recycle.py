"""Recycled files: nobody who still sees a released blob ever sees other bytes; nothing is given twice, kept for long,
or kept beyond the bound. On the memory file system; elsewhere released files are simply deleted."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mapreduce import blobs, recycle
from mapreduce.blobs import BlobStore, map_file
from mapreduce.recycle import Pool
from mapreduce.working.host import DataDirectory

SIZE = recycle.SMALLEST + 4096


@pytest.fixture
def shm() -> Iterator[Path]:
    """A folder of the memory file system."""
    if not os.access("/dev/shm", os.W_OK) or recycle._file_system(Path("/dev/shm")) != recycle._TMPFS:
        pytest.skip("no memory file system at /dev/shm")
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="daf-test-recycle-") as folder:
        yield Path(folder)


def put(store: BlobStore, stage: int, byte: int, size: int = SIZE) -> Path:
    digest, _ = store.put(1, stage, 1, [bytes([byte]) * size])
    return store.path(1, stage, 1, digest)


def pooled(store: BlobStore) -> list[Path]:
    return sorted(store.pool.folder.iterdir()) if store.pool.folder.exists() else []


def test_a_released_file_is_overwritten_and_cut_to_its_new_size(shm: Path) -> None:
    store = BlobStore(shm)
    inode = put(store, 0, 1).stat().st_ino
    store.release(1, [(0, 1)])
    path = put(store, 1, 2, SIZE - 5)
    assert path.stat().st_ino == inode and path.read_bytes() == b"\2" * (SIZE - 5)
    assert pooled(store) == [] and not store.unit(1, 0, 1).exists()
    store.release(1, [(1, 1)])
    path = put(store, 2, 3, SIZE + 99)
    assert path.stat().st_ino == inode and path.read_bytes() == b"\3" * (SIZE + 99)


def test_a_file_that_is_a_little_short_is_taken_before_one_that_is_much_too_large(shm: Path) -> None:
    for wanted, expected in ((9, 8), (10, 16), (7, 8), (17, 16)):
        store = BlobStore(shm / str(wanted))
        for stage, size in enumerate((8, 16)):
            put(store, stage, stage, size * SIZE)
        store.release(1, [(0, 1), (1, 1)])
        taken = store.pool.take(wanted * SIZE, str(shm / "taken"))
        assert taken is not None and taken.size == expected * SIZE
        os.close(taken.fd)


def test_of_files_that_would_do_the_nearest_in_size_is_taken(shm: Path) -> None:
    for wanted, expected in ((92, 91), (95, 96), (88, 89)):
        store = BlobStore(shm / str(wanted))
        for stage, size in enumerate((82, 89, 91, 96, 120)):
            put(store, stage, stage, size * (SIZE // 50))
        store.release(1, [(stage, 1) for stage in range(5)])
        taken = store.pool.take(wanted * (SIZE // 50), str(shm / "taken"))
        assert taken is not None and taken.size == expected * (SIZE // 50)
        os.close(taken.fd)


def test_the_first_blob_of_a_unit_takes_a_released_file_too(shm: Path) -> None:
    """Although its folder is not there yet; the file is not lost over that."""
    store = BlobStore(shm)
    put(store, 0, 1)
    store.release(1, [(0, 1)])
    [kept] = pooled(store)
    inode = kept.stat().st_ino
    with pytest.raises(FileNotFoundError):
        store.pool.take(SIZE, str(shm / "no folder" / "file"))
    assert pooled(store) == [kept]
    assert put(store, 7, 2).stat().st_ino == inode


@pytest.mark.parametrize("how", ["read", "mapping", "view", "write"])
def test_a_file_that_this_process_has_open_or_mapped_never_changes(shm: Path, how: str) -> None:
    store = BlobStore(shm)
    path = put(store, 0, 1)
    inode = path.stat().st_ino
    if how == "view":
        view = map_file(path, 100, 5000)
        store.release(1, [(0, 1)])
        assert put(store, 1, 2).stat().st_ino != inode and bytes(view) == b"\1" * 5000
        del view
    elif how == "mapping":
        whole = map_file(path)
        store.release(1, [(0, 1)])
        assert put(store, 1, 2).stat().st_ino != inode and bytes(whole) == b"\1" * SIZE
        del whole
    else:
        fd = os.open(path, os.O_RDONLY if how == "read" else os.O_RDWR)
        store.release(1, [(0, 1)])
        assert put(store, 1, 2).stat().st_ino != inode
        assert how == "write" or os.pread(fd, SIZE, 0) == b"\1" * SIZE
        os.close(fd)
    assert len(pooled(store)) == 1, "it went back, for somebody later"
    assert put(store, 2, 3).stat().st_ino == inode


_MAPPER = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
fd = os.open(sys.argv[1], os.O_RDONLY)
size = os.fstat(fd).st_size
address = libc.mmap(None, size, 1, int(sys.argv[2]), fd, 0)
os.close(fd)
print("mapped", flush=True)
sys.stdin.readline()
sys.stdout.buffer.write(ctypes.string_at(address, size))
"""


@pytest.mark.parametrize("flags", [1, 2], ids=["shared", "private"])
def test_a_file_that_another_process_maps_with_its_descriptor_closed_never_changes(shm: Path, flags: int) -> None:
    store = BlobStore(shm)
    path = put(store, 0, 1)
    inode = path.stat().st_ino
    child = subprocess.Popen(
        [sys.executable, "-c", _MAPPER, path, str(flags)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None and child.stdout.readline() == b"mapped\n"
    store.release(1, [(0, 1)])
    assert put(store, 1, 2).stat().st_ino != inode
    seen, _ = child.communicate(b"\n")
    assert seen == b"\1" * SIZE
    assert put(store, 2, 3).stat().st_ino == inode, "once nobody maps it, it is used"


def test_a_file_with_another_name_is_not_used(shm: Path) -> None:
    store = BlobStore(shm)
    path = put(store, 0, 1)
    os.link(path, shm / "kept")
    store.release(1, [(0, 1)])
    put(store, 1, 2)
    assert (shm / "kept").read_bytes() == b"\1" * SIZE


def test_a_reader_that_opened_a_released_name_notices(shm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gap between finding a file by its name and being counted by the kernel."""
    store = BlobStore(shm)
    path = put(store, 0, 1)
    real = os.open

    def late(name: Path, flags: int, *mode: int) -> int:
        monkeypatch.setattr(blobs.os, "open", real)
        store.release(1, [(0, 1)])
        return real(put(store, 1, 2), flags, *mode)  # the inode that `name` was a moment ago

    monkeypatch.setattr(blobs.os, "open", late)
    with pytest.raises(FileNotFoundError):
        map_file(path)


def test_a_reader_follows_a_name_that_the_same_bytes_were_given_again(
    shm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup attempt ends just while its twin's output is opened."""
    store = BlobStore(shm)
    path = put(store, 0, 1)
    real = os.open

    def late(name: Path, flags: int, *mode: int) -> int:
        monkeypatch.setattr(blobs.os, "open", real)
        fd = real(name, flags, *mode)
        assert put(store, 0, 1) == path
        return fd

    monkeypatch.setattr(blobs.os, "open", late)
    assert bytes(map_file(path)) == b"\1" * SIZE


def test_of_many_takers_each_gets_another_file(shm: Path) -> None:
    store = BlobStore(shm)
    inodes = {put(store, 0, n).stat().st_ino for n in range(40)}
    store.release(1, [(0, 1)])
    got: list[int] = []
    together = threading.Barrier(8)

    def take(number: int) -> None:
        pool = Pool(shm)
        together.wait()
        for turn in range(5):
            taken = pool.take(SIZE, str(shm / f"mine-{number}-{turn}"))
            if taken is not None:
                got.append(os.fstat(taken[0]).st_ino)
                os.close(taken[0])

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == len(set(got)) >= 8 and set(got) <= inodes


def test_the_pool_is_bounded_and_the_oldest_go_first(shm: Path) -> None:
    store = BlobStore(shm)
    store.pool = Pool(shm, limit=3 * SIZE + 100)
    newest = []
    for stage in range(5):
        newest.append(put(store, stage, stage).stat().st_ino)
        put(store, stage, 100 + stage, 100)
        put(store, stage, 200 + stage, 4 * SIZE)
    for stage in range(5):
        store.release(1, [(stage, 1)])
    kept = pooled(store)
    assert sum(path.stat().st_size for path in kept) <= 3 * SIZE + 100
    assert sorted(path.stat().st_ino for path in kept) == sorted(newest[-3:])


def test_small_files_and_whole_jobs_are_deleted(shm: Path) -> None:
    store = BlobStore(shm)
    put(store, 0, 1, recycle.SMALLEST - 1)
    store.release(1, [(0, 1)])
    put(store, 0, 1)
    store.release(1)
    assert [path for path in shm.rglob("*") if path.is_file()] == []


def test_what_is_not_used_goes_after_a_while(shm: Path) -> None:
    store = BlobStore(shm)
    put(store, 0, 1)
    store.release(1, [(0, 1)])
    assert store.pool.trim(60.0) and len(pooled(store)) == 1
    assert not store.pool.trim(0.0) and pooled(store) == []


def test_a_file_system_that_is_full_gets_the_pool_back(shm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = BlobStore(shm)
    put(store, 0, 1)
    put(store, 0, 2)
    store.release(1, [(0, 1)])
    real = os.pwritev

    def full(fd: int, views: list[memoryview], at: int) -> int:
        if pooled(store):
            raise OSError(errno.ENOSPC, "full")
        return real(fd, views, at)

    monkeypatch.setattr(blobs.os, "pwritev", full)
    assert put(store, 1, 3).read_bytes() == b"\3" * SIZE


def test_what_is_being_written_is_not_recycled(shm: Path) -> None:
    """An attempt that was given up goes on writing while its unit is released."""
    store = BlobStore(shm)
    with store.writer(1, 0, 1) as writer:
        writer.write([bytes(SIZE)])
        store.release(1, [(0, 1)])
        assert pooled(store) == []
        with pytest.raises(FileNotFoundError):
            writer.commit()


_KILLED = """
import os, signal, sys
from pathlib import Path
from mapreduce.blobs import BlobStore
store = BlobStore(Path(sys.argv[1]))
with store.writer(1, 1, 1, int(sys.argv[2])) as writer:
    writer.write([b"new" * 1000])
    assert not list(store.pool.folder.iterdir()), "it took the file"
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_and_a_killed_worker_leave_nothing(shm: Path) -> None:
    directory = DataDirectory(shm / "node")
    store = BlobStore(directory.blobs)
    put(store, 0, 1)
    store.release(1, [(0, 1)])
    killed = subprocess.run([sys.executable, "-c", _KILLED, directory.blobs, str(SIZE)], check=False)
    assert killed.returncode == -signal.SIGKILL
    [left] = [path for path in directory.blobs.rglob("*") if path.is_file()]
    assert left.suffix == ".tmp" and left.parent == store.unit(1, 1, 1), "half a file never has a blob's name"
    put(store, 2, 2)
    store.release(1, [(1, 1), (2, 1)])
    [left] = [path for path in directory.blobs.rglob("*") if path.is_file()]
    assert left.parent == store.pool.folder
    directory.close()
    DataDirectory(shm / "node").close()
    assert [path for path in directory.blobs.rglob("*") if path.is_file()] == []


def test_on_other_file_systems_released_files_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recycle, "_file_system", lambda path: 0xEF53)
    store = BlobStore(tmp_path)
    put(store, 0, 1)
    store.release(1, [(0, 1)])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_somebody_who_opens_a_file_while_it_is_looked_at_kills_nobody(shm: Path) -> None:
    """The kernel announces it by a signal, which must be one that is ignored."""
    path = shm / "file"
    path.write_bytes(b"x")
    child = os.fork()
    if child == 0:
        opener = 0
        real = fcntl.fcntl

        def slow(fd: int, what: int, value: int) -> int:
            nonlocal opener
            answer = real(fd, what, value)
            if (what, value) == (fcntl.F_SETLEASE, fcntl.F_WRLCK):
                opener = os.fork()
                if opener == 0:
                    os.open(path, os.O_RDONLY)  # waits until the lease is given back
                    os._exit(0)
                ctypes.CDLL(None).usleep(100_000)
            return answer

        fcntl.fcntl = slow  # type: ignore[assignment]
        found = recycle._sole(os.open(path, os.O_WRONLY))
        os._exit(os.waitstatus_to_exitcode(os.waitpid(opener, 0)[1]) if found else 2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
