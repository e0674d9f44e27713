"""Pages that are used again: files of released blobs, kept for a moment so that the next ones overwrite them.

A new file in a memory file system costs more than its bytes: each page is allocated, charged and put into the file's
tree, which takes longer than the copy. A job of many rounds releases as many bytes each round as it writes, so a
released file is not deleted but moved into the folder `recycled` of the node's store, and the next writer of about that
size takes it, overwrites it, cuts it to its size and gives it its name. Taking is a rename: of two processes, one gets
it.

The danger is a process that still maps the released file, which must never see it change. Nobody keeps a list of such
processes (an attempt that was given up, a view that a job keeps in its cache), but the kernel does: it grants a write
lease (fcntl(2), F_SETLEASE) only when no other open file refers to the inode, and a mapping holds its open file, also
after close. So the taker asks for one, and a file for which it is refused goes back. That leaves whoever is just
opening a file by a name that it no longer has; `map_file` closes that gap by looking, after the open that the kernel
counts, whether the name still leads to what it opened.

Two things limit this to the memory file system. The gain is there. And an overlay file system counts a mapping at the
file below, not at its own: there the lease would be granted while another process maps the file.

A file whose whole huge pages are huge (see pages.py) is marked by the execute bit of its owner, and overwritten through
a mapping, at the speed of memory.

The pool is bounded in bytes and in files, dropped when nothing was released for a while (see working/janitor.py), and
its names hold size and time, so that it needs no other record and what a killed worker leaves is recognised."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import itertools
import os
import re
import shutil
import signal
import stat
import time
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .pages import HUGE, LARGE, Widener, mapped

SMALLEST = 1 << 20
"""Bytes of a file that is worth it: below, looking through the pool costs what it saves."""
LIMIT = 1 << 30
"""Bytes of all files of a node's pool; a part of the free space if that is less."""
SHARE = 8
MOST = 512
IDLE = 5.0
"""Seconds that a file stays in the pool."""
WIDE = stat.S_IXUSR
_TRIES = 4
_WASTE = 4
_LACK = 8
"""A file may lack this part of what is needed."""
_TMPFS = 0x01021994
_NAME = re.compile(r"(\d+)-(\d+)-\d+-\d+")
_numbers = itertools.count()


class _Kept(NamedTuple):
    size: int
    since: int
    name: str


class Taken(NamedTuple):
    """A file to overwrite: its descriptor, open for reading and writing; its bytes; and the part of them that is
    mapped, from the start."""

    fd: int
    size: int
    pages: memoryview | None


class Pool:
    """The recycled files of the store below `root`, as one thread sees them."""

    def __init__(self, root: Path, limit: int = LIMIT):
        self.folder = root / "recycled"
        self._text = str(self.folder)
        self._limit = limit
        self._usable: bool | None = None
        self.large = (root / LARGE).exists()
        """Whether the store is the root of a file system that makes large pages by itself (see working/memfs.py)."""
        self._widener = Widener()
        self._known: list[_Kept] = []
        """What was there when we last looked, by size: looking again for each blob costs more than taking."""

    def give(self, files: Iterable[tuple[str, int]]) -> None:
        """Move released files (path, size in bytes) into the pool, as far as they fit; the oldest make room."""
        files = [(path, size) for path, size in files if SMALLEST <= size <= self._limit]
        if not files or not self.usable:
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # it may have been cleared
        kept = sorted(self._list(), key=lambda item: item.since)
        room = os.statvfs(self.folder)
        held = sum(item.size for item in kept)
        limit = min(self._limit, (room.f_bavail * room.f_frsize + held) // SHARE)
        for path, size in files:
            while kept and (held + size > limit or len(kept) >= MOST):
                oldest = kept.pop(0)
                held -= oldest.size
                self._remove(oldest.name)
            if held + size > limit:
                return
            now = time.monotonic_ns()
            name = f"{now}-{size}-{os.getpid()}-{next(_numbers)}"
            with contextlib.suppress(OSError):  # another worker of this node has released it
                os.rename(path, self.folder / name)
                kept.append(_Kept(size, now, name))
                held += size

    def take(self, size: int, path: str) -> Taken | None:
        """A file for about `size` bytes, moved to `path`; None when there is none that nobody else has open or
        mapped. Raises FileNotFoundError when the folder of `path` is not there."""
        if size < SMALLEST:
            return None
        looked = False
        for _ in range(_TRIES):
            place = self._nearest(size)
            if place is None:
                if not looked:  # what was released since may fit
                    self._known, looked = sorted(self._list()), True
                    continue
                if not self._known:
                    return None
                # the largest of those that are too small: the rest gets new pages
                place = max(0, bisect_left(self._known, (size,)) - 1)
            found = self._known[place]
            kept = f"{self._text}/{found.name}"
            try:
                os.rename(kept, path)
            except FileNotFoundError:
                if os.path.exists(kept):
                    raise
                self._known, looked = sorted(self._list()), True  # somebody else has it: time to look again
                continue
            del self._known[place]
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            about = _sole(fd)
            if about is not None:
                whole = found.size - found.size % HUGE if about.st_mode & WIDE else 0
                return Taken(fd, found.size, mapped(fd, 0, whole, write=True) if whole else None)
            os.close(fd)
            try:
                os.rename(path, kept)
            except FileNotFoundError:  # the pool was dropped
                os.unlink(path)
        return None

    def _nearest(self, size: int) -> int | None:
        """Which of the files that are known to take for `size` bytes: what it lacks gets new pages, and of what it has
        too much the pages go."""
        place = bisect_left(self._known, (size,))
        suited = [
            number
            for number in range(max(0, place - 1), min(place + 1, len(self._known)))
            if size - size // _LACK <= self._known[number].size <= _WASTE * size
        ]
        return min(suited, key=lambda number: abs(self._known[number].size - size), default=None)

    def new(self, size: int, path: str) -> Taken | None:
        """A new file at `path` with huge pages for about `size` bytes; None when there is no such thing here."""
        if not HUGE or size < HUGE or self.large or not self.usable:
            return None
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        pages = self._widener.widen(fd, size)
        if pages is not None and len(pages) + HUGE > size:
            os.fchmod(fd, 0o600 | WIDE)
        return Taken(fd, 0 if pages is None else len(pages), pages)

    def trim(self, seconds: float = IDLE) -> bool:
        """Delete what has been there longer; returns whether anything is left."""
        now = time.monotonic_ns()
        left = False
        for item in self._list():
            if 0 <= now - item.since < seconds * 1e9:  # a time to come is of before the host was started
                left = True
            else:
                self._remove(item.name)
        return left

    def clear(self) -> None:
        """Delete all of it: the space is needed."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def usable(self) -> bool:
        """Whether the store lies in a memory file system."""
        if self._usable is None:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._usable = hasattr(fcntl, "F_SETLEASE") and _file_system(self.folder) == _TMPFS
            if not self._usable:
                self.clear()
        return self._usable

    def _list(self) -> list[_Kept]:
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        return [_Kept(int(match[2]), int(match[1]), match[0]) for match in map(_NAME.fullmatch, names) if match]

    def _remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.folder / name)


def _sole(fd: int) -> os.stat_result | None:
    """About the file, if `fd` is the only open file, and its only name, of its inode: nobody else can see or change its
    bytes."""
    try:
        # Somebody who opens it now would be announced by SIGIO, which kills; SIGURG is ignored.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return None
    about = os.fstat(fd)
    return about if about.st_nlink == 1 else None


def _file_system(path: Path) -> int:
    """The kernel's number of the type of file system that `path` is in; 0 where it cannot be found."""
    buffer = (ctypes.c_long * 64)()  # struct statfs begins with f_type
    if ctypes.CDLL(None).statfs(os.fsencode(path), buffer) != 0:
        return 0
    return int(buffer[0])
