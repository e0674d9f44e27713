"""A memory file system of our own: it has large pages, only its user reaches it, and nothing is left of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mapreduce import recycle, run
from mapreduce.blobs import BlobStore, map_file
from mapreduce.engines.local import LocalEngine
from mapreduce.pages import LARGE
from mapreduce.working import host, memfs
from mapreduce.working.host import DataDirectory
from tests.worker.jobs import Letters

SIZE = 64 << 20


@pytest.fixture(params=[memfs.made, memfs._mounted_in_a_namespace], ids=["any way", "in a user namespace"])
def root(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The root of a new one."""
    made: Callable[[int], list[int]] = request.param
    fds = made(SIZE)
    if not fds:
        pytest.skip("this process may not mount, not even in a user namespace")
    yield Path(f"/proc/{os.getpid()}/fd/{fds[0]}")
    os.close(fds[0])


def test_blobs_live_there_as_anywhere(root: Path) -> None:
    store = BlobStore(root)
    content = os.urandom(3 << 20)
    for stage in range(3):  # new, and twice in the file of a released one
        digest, size = store.put(1, stage, 1, [content[:100], content[100 : 1 << 20], content[1 << 20 :]])
        path = store.path(1, stage, 1, digest)
        assert size == len(content) and map_file(path) == content and map_file(path, 5, 7) == content[5:12]
        store.release(1, [(stage, 1)])
    assert len(list(store.pool.folder.iterdir())) == 1, "released files are recycled here too"


def test_it_is_a_memory_file_system_of_the_size_that_was_asked_for_and_hangs_nowhere(root: Path) -> None:
    assert recycle._file_system(root) == recycle._TMPFS and (root / LARGE).exists()
    about = os.statvfs(root)
    assert about.f_blocks * about.f_frsize == SIZE
    assert os.stat(f"{root}/").st_mode & 0o777 == 0o700
    device = os.stat(f"{root}/").st_dev
    numbers = f" {os.major(device)}:{os.minor(device)} "
    assert numbers not in Path("/proc/self/mountinfo").read_text()


_OTHER = """
import os, sys
os.mkdir(sys.argv[1] + "/made")
with open(sys.argv[1] + "/made/file", "xb") as file:
    file.write(b"by another process")
"""


def test_other_processes_of_the_user_reach_it(root: Path) -> None:
    subprocess.run([sys.executable, "-c", _OTHER, root], check=True)
    assert (root / "made/file").read_bytes() == b"by another process"


def test_whoever_may_not_mount_gets_none_or_one_in_a_namespace() -> None:
    """Without privileges, as most users are."""
    if os.geteuid() != 0:
        pytest.skip("these tests run without privileges anyway")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            for fd in memfs.made(SIZE):
                place = f"/proc/self/fd/{fd}/file"
                Path(place).write_bytes(b"mine")
                assert os.stat(place).st_uid == 65534
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_data_directory_moves_its_blobs_there_and_frees_them_at_its_end() -> None:
    directory = DataDirectory()
    if not directory.room or not (fds := memfs.made(SIZE)):
        directory.close()
        pytest.skip("the data directory is not in /dev/shm, or this process may not mount")
    directory.move_into(fds[0])
    store = BlobStore(directory.blobs)
    digest, _ = store.put(1, 0, 1, [b"x" * 100])
    device = os.fstat(fds[0]).st_dev
    assert os.stat(store.path(1, 0, 1, digest)).st_dev == device != os.stat(directory.path).st_dev
    again = DataDirectory(directory.path)  # as its workers do
    assert BlobStore(again.blobs).path(1, 0, 1, digest).read_bytes() == b"x" * 100
    again.close()
    view = map_file(store.path(1, 0, 1, digest))
    directory.close()
    assert not directory.path.exists() and view == b"x" * 100
    with pytest.raises(OSError):
        os.fstat(fds[0])


@pytest.mark.parametrize("mounts", [True, False])
def test_a_job_gives_the_same_where_there_is_such_a_thing_and_where_not(
    mounts: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not mounts:
        monkeypatch.setenv(host.VARIABLE, str(tmp_path))
    with LocalEngine(1) as engine:
        assert run(Letters(["abc", "bcd"]), engine=engine).value == {"a": 1, "b": 2, "c": 2, "d": 1}
        moved = (engine._place.path / "blobs").is_symlink()
        assert moved <= mounts
