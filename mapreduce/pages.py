"""Huge pages for large blobs, where nobody has set the system up for them.

A memory file system hands out pages of 4 KiB unless it is mounted with `huge=`, and /dev/shm never is. A new file then
costs half a microsecond a page to write before any byte is copied, and again when a reader maps it, reads it and lets
it go. But a process may ask for huge pages in a range of a file itself: madvise(2), MADV_COLLAPSE, Linux 6.1 and later.
Asked of a range that is still a hole but for its first page, the kernel has one huge page to clear and nothing to copy.
Measured on Linux 6.18: 6 GB/s instead of 2 for a new file, and 17 GB/s instead of 5 for the first reading of it.

Two conditions. A mapping uses a huge page as such only where address and file offset agree modulo its size, so
`mapped` chooses the address. And it does not always pay: each call waits until all processors have emptied their lists
of fresh pages (0.1 ms when they are idle or ours, 12 ms when other programs keep one busy), and under a hypervisor a
huge page may be memory that the host has yet to find. So `Widener` goes step by step with an eye on the clock, and
after a step that cost more than it can save it writes ordinary pages until the loss is small beside what was written.

Only speed depends on any of this: whatever is refused, the bytes are written the ordinary way."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import mmap
import os
import sys
import time
import weakref
from collections.abc import Sequence

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_LIBC.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_FAILED = ctypes.c_void_p(-1).value
_NOTHING, _FIXED, _NORESERVE, _COLLAPSE = 0, 0x10, 0x4000, 25
_DONTNEED = 4

WRITE = 256 << 10
"""Bytes that one call should write to a file, from a multiple of it on. Of a longer call the page cache of ext4 (Linux
6.18) makes pages of many megabytes, and finding these takes ten times as long as the copy: 400 MB in pieces of 8 MiB
0.8 s, in such 0.09. And a memory file system of our own makes pages of this size of it (see working/memfs.py)."""
LARGE = "large-pages"
"""A file in the root of a file system that makes large pages by itself: none need be asked for."""
_WORTH = 2.5e9
"""Bytes a second above which making huge pages pays: ordinary ones are written at 2 GB/s, ready ones at 10."""
_STEP = 8 << 20
_LATER = 1 << 30
_LOSS = 0.1
"""The part of the time spent on writing that steps which did not pay may cost."""


def _huge() -> int:
    if sys.platform == "linux" and sys.maxsize > 1 << 32:
        with (
            contextlib.suppress(OSError, ValueError),
            open("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size") as file,
        ):
            return int(file.read())
    return 0


HUGE = _huge()
"""Bytes of a huge page; 0 where there are none."""


def mapped(fd: int, offset: int, size: int, *, write: bool = False) -> memoryview:
    """Bytes [offset, offset + size) of a file, mapped (shared) so that its huge pages are used as such. `size` is at
    least 1. To `write` is for Linux only; such a mapping may reach beyond the file, where touching it is SIGBUS until
    the file has become longer. Raises OSError."""
    start = offset - offset % mmap.ALLOCATIONGRANULARITY
    if not write and size < (HUGE or sys.maxsize):
        return memoryview(mmap.mmap(fd, offset - start + size, access=mmap.ACCESS_READ, offset=start))[offset - start :]
    grain = HUGE or mmap.ALLOCATIONGRANULARITY
    length = offset - start + size
    room = length + grain
    reserved = _map(None, room, _NOTHING, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE, -1, 0)
    begin = reserved + (start - reserved) % grain
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if write else 0)
    try:
        _map(begin, length, protection, mmap.MAP_SHARED | _FIXED, fd, start)
        block = (ctypes.c_char * size).from_address(begin + offset - start)
    except BaseException:
        _LIBC.munmap(reserved, room)
        raise
    view = _view(block, reserved, room, readonly=not write)
    return view if write else view.toreadonly()


def _view(block: ctypes.Array[ctypes.c_char], reserved: int, room: int, *, readonly: bool) -> memoryview:
    """The bytes of a block within a reservation, which ends with the last view of it."""
    weakref.finalize(block, _LIBC.munmap, reserved, room).atexit = False
    if readonly:
        _blocks[id(block)] = block
    return memoryview(block).cast("B")


def address(mapping: memoryview) -> int:
    """Where a writable mapping begins."""
    return ctypes.addressof(ctypes.c_char.from_buffer(mapping))


def protect(mapping: memoryview, fd: int) -> None:
    """Nobody in this process writes to these bytes any more, by whatever view: that would end it with SIGSEGV.
    `mapping` is what `mapped` made of the file from its start on. Raises OSError.

    Mapped anew: this drops the page tables, which their end would do anyway; mprotect(2) would go through them first.
    """
    _map(address(mapping), len(mapping), mmap.PROT_READ, mmap.MAP_SHARED | _FIXED, fd, 0)


class Span:
    """A range of addresses in which files of `sizes` bytes are mapped side by side: arrays in them are then parts of
    one array. Each file begins at a multiple of a huge page; what lies between two reads as zeros. Linux only. Raises
    OSError."""

    def __init__(self, sizes: Sequence[int]):
        grain = HUGE or mmap.ALLOCATIONGRANULARITY
        self._sizes = tuple(sizes)
        self._starts = (0, *itertools.accumulate(size + -size % grain for size in sizes))
        room = self._starts[-1] + grain
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
        reserved = _map(None, room, mmap.PROT_READ, flags, -1, 0)
        self.address = reserved + -reserved % grain
        block = (ctypes.c_char * self._starts[-1]).from_address(self.address)
        self.view = _view(block, reserved, room, readonly=True).toreadonly()
        """All of it."""

    def place(self, number: int, fd: int, offset: int, size: int) -> memoryview:
        """Map bytes [offset, offset + size) of a file as that of number `number`. Raises OSError, and ValueError when
        they do not fit."""
        start = self._starts[number]
        if offset % mmap.ALLOCATIONGRANULARITY or size > self._sizes[number]:
            raise ValueError(f"{size} bytes from {offset} do not fit into {self._sizes[number]}")
        _map(self.address + start, size, mmap.PROT_READ, mmap.MAP_SHARED | _FIXED, fd, offset)
        return self.view[start : start + size]


def let_go(address: int, size: int, owner: object) -> bool:
    """Drop the whole pages in these bytes from what this process has resident; they come back when they are read.

    Whether it was done: only where `owner`, whose memory it is, is a read-only mapping of a file, as `mapped` and
    `mmap.mmap` make them. Other memory would lose what it holds.
    """
    readonly = _blocks.get(id(owner)) is owner or (isinstance(owner, mmap.mmap) and memoryview(owner).readonly)
    start = address + -address % mmap.PAGESIZE
    end = address + size - (address + size) % mmap.PAGESIZE
    return readonly and end > start and sys.platform == "linux" and _LIBC.madvise(start, end - start, _DONTNEED) == 0


_blocks: weakref.WeakValueDictionary[int, ctypes.Array[ctypes.c_char]] = weakref.WeakValueDictionary()
"""Read-only mappings made here, by id."""


def _map(address: int | None, size: int, protection: int, flags: int, fd: int, offset: int) -> int:
    got = _LIBC.mmap(address, size, protection, flags, fd, offset)
    if got == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(got)


class Widener:
    """Makes huge pages for new files of the memory file system, as long as that pays."""

    def __init__(self) -> None:
        self._off = not HUGE
        self._skip = 0.0
        """Bytes to be written the ordinary way before the next attempt."""

    def widen(self, fd: int, size: int) -> memoryview | None:
        """Give an empty file, open for reading and writing, huge pages for as much of its first `size` bytes as they
        fill and as pays; returns these bytes, to be written, or None."""
        size -= size % (HUGE or 1)
        if self._off or not size:
            return None
        if self._skip > 0:
            self._skip -= size
            return None
        made = 0
        try:
            os.ftruncate(fd, size)
            view = mapped(fd, 0, size, write=True)
            begin = address(view)
            while made < size and self._skip <= 0:
                made += self._step(fd, begin, made, min(max(_STEP, HUGE), size - made))
        except OSError as error:
            self._failed(error)
        if made < size:
            os.ftruncate(fd, made)
        return view[:made] if made else None

    def _step(self, fd: int, address: int, start: int, size: int) -> int:
        """Make [start, start + size) huge; returns `size`. Raises OSError."""
        begin = time.monotonic()
        for place in range(start, start + size, HUGE):
            os.pwrite(fd, b"\0", place)
        if _LIBC.madvise(address + start, size, _COLLAPSE) != 0:
            raise OSError(ctypes.get_errno(), "no huge pages")
        seconds = time.monotonic() - begin
        if seconds > size / _WORTH:
            self._skip = seconds / _LOSS * _WORTH
        return size

    def _failed(self, error: OSError) -> None:
        """Never again where the kernel cannot do it; not soon where it has no huge pages now."""
        self._off = error.errno == errno.EINVAL
        self._skip = _LATER
