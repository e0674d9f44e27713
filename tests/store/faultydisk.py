"""A disk that fails at the n-th write or sync of a store, or at which its process dies: a preloaded library
(faultydisk.c) under real stores in real processes.

`python -m tests.store.faultydisk` forks a process for each line that it reads; that one writes a story of commits into
a store, small and with the log folded in now and then, and says each commit that has returned."""

from __future__ import annotations

import json
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

COMMITS = 12
SOURCE = Path(__file__).with_name("faultydisk.c")


def library(folder: Path) -> Path | None:
    """The library, compiled; None where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    made = folder / "faultydisk.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", made, SOURCE, "-ldl"], check=True)
    return made


class Disk:
    """Stores under `folder` whose writes are counted; `environment` is for the processes that open them."""

    def __init__(self, folder: Path, library: Path):
        page = folder / "page"
        page.write_bytes(bytes(4096))
        with open(page, "r+b") as file:
            self._page = mmap.mmap(file.fileno(), 4096)
        self.environment = os.environ | {
            "LD_PRELOAD": str(library), "DAF_PAGE": str(page), "DAF_DISK": f"{folder}/store/"
        }  # fmt: skip

    def order(self, *, error: int = 0, first: int = 1, until: int = 1 << 40, die: int = 0, half: bool = False) -> None:
        """From now on, counted from here: fail calls `first` to `until` with `error`, or die at call `die`."""
        self._page[:48] = struct.pack("6q", 0, error, first, until, die, half)

    @property
    def calls(self) -> int:
        """How many there were since the last order."""
        return int(struct.unpack_from("q", self._page)[0])


class Writer:
    """Processes that write the story to the store at `path`."""

    def __init__(self, disk: Disk, path: Path):
        self.path = path
        self._template = subprocess.Popen(
            [sys.executable, "-m", "tests.store.faultydisk", str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=disk.environment,
        )  # fmt: skip

    def write(self) -> tuple[int, int, list[str]]:
        """The commits that returned, the signal that ended the process, and what failed on the way."""
        assert self._template.stdin is not None and self._template.stdout is not None
        shutil.rmtree(self.path.parent, ignore_errors=True)
        self.path.parent.mkdir()
        self._template.stdin.write(b"go\n")
        self._template.stdin.flush()
        commits, failed = 0, []
        while True:
            said: dict[str, Any] = json.loads(self._template.stdout.readline())
            if "status" in said:
                return commits, os.WTERMSIG(said["status"]) if os.WIFSIGNALED(said["status"]) else 0, failed
            if "failed" in said:
                failed.append(said["failed"])
            commits = said.get("commit", commits)

    def close(self) -> None:
        assert self._template.stdin is not None and self._template.stdout is not None
        self._template.stdin.close()
        self._template.wait()
        self._template.stdout.close()


def content(number: int) -> tuple[bytes | None, list[bytes]]:
    """What is in the store after so many commits."""
    return (b"%d" % number if number else None), [b"%d" % n * 500 for n in range(1, number + 1)]


def story(path: str) -> None:
    """In a process of its own: commit after commit, each tried again until it works."""
    from mapreduce.errors import StoreError
    from mapreduce.store import sqlite

    def attempt(what: Any) -> Any:
        while True:
            try:
                return what()
            except StoreError as error:
                os.write(1, json.dumps({"failed": str(error)}).encode() + b"\n")

    store = attempt(lambda: sqlite.SqliteStore(path))
    store._connection.execute("PRAGMA wal_autocheckpoint=12")
    for number in range(1, COMMITS + 1):
        store.set("n", b"%d" % number)
        store.rpush("l", b"%d" % number * 500)
        attempt(lambda number=number: store.commit(sync=number % 2 == 0))
        os.write(1, json.dumps({"commit": number}).encode() + b"\n")
    store.close()


def main() -> None:
    for _ in sys.stdin:
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            story(sys.argv[1])
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        print(json.dumps({"status": status}), flush=True)


if __name__ == "__main__":
    main()
