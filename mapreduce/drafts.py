"""Arrays made where they will lie: memory for a task's output in the very file that the output will be.

A task that fills a large array and yields it pays for its bytes twice: once in memory of its own, and again when they
are copied into the blob. `Context.empty` gives it memory in the blob's file instead (mapped and writable until the
blob is committed). When the writer comes to such an array and it lies where the bytes belong, there is nothing to
copy; anything else is written as ever. So where an array lies is a guess that costs a copy when it is wrong:

- packets (see `wire.codec`) that hold a large array begin at a page, and the first large array of one lies at the next
  page; hence each array is given the page after the one where a new packet would begin;
- an array that was yielded in part (`array[:used]`) ends there, and the next one comes after that, and after what else
  was in its value.

The guess is right for a task that yields its arrays in the order of their partitions, one in each value, whole or from
the front. Such an array's hash can be computed as it is filled (`Context.final`), since it stands for the array in its
packet's checksum. Only in the memory file system: elsewhere a mapping is no faster than a copy. A file that is too
short is made longer by writing zeros before an array of it is handed out, since a full file system could tell a mapping
of it by nothing but a signal; the mapping itself reaches further from the start, so that one is enough as a rule."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xxhash

from .blobwriter import opened, temporary
from .pages import WRITE, address, mapped, protect
from .recycle import Pool
from .wire.codec import ALIGN, LARGE, PAGE

_ZEROS = bytes(WRITE)
_MORE = 8
"""A mapping is longer than what is expected by this part of it."""


def _arrays(value: Any) -> Iterator[np.ndarray]:
    """The arrays in a value, in the order of their frames."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _arrays(item)


@dataclass
class _Given:
    """An array that was given out: its address, the bytes of the file that it takes, and whether it has yet to be
    written."""

    array: np.ndarray
    address: int
    start: int
    stop: int
    waiting: bool = True
    final: int = 0
    """Bytes from the front that are hashed."""
    hash: Any = field(default_factory=xxhash.xxh3_128)


class Draft:
    """The file of an output in the making, below the folder of its unit. `expected`: about how many bytes it will
    have."""

    def __init__(self, directory: str, pool: Pool, expected: int):
        self._path = temporary(directory)
        self._fd, self._held, _ = opened(directory, self._path, pool, expected)
        self._ours = True
        self._given: list[_Given] = []
        self._mappings: list[memoryview] = []
        """The file, mapped; anew when more is needed than was expected."""
        self._address = 0
        """Where the last mapping begins."""
        self.wanted = 0
        """Where the arrays end that were given out, in whole pages of the file."""
        with contextlib.suppress(OSError):  # it is tried again for the first array
            self._map(expected + expected // _MORE)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray | None:
        """Memory for an array of LARGE bytes or more; None when there is no room for it."""
        size = math.prod(shape) * dtype.itemsize
        last = self._given[-1].stop if self._given else 0
        start = last + -last % PAGE + PAGE
        end = start + size + -size % PAGE
        try:
            self._reach(end)
        except OSError:
            return None
        self.wanted = max(self.wanted, end)
        array = np.frombuffer(self._mappings[-1], dtype, math.prod(shape), start).reshape(shape)
        self._given.append(_Given(array, self._address + start, start, start + size))
        return array

    def _reach(self, stop: int) -> None:
        """Have the bytes of the file up to `stop`, mapped. Raises OSError."""
        while self._held < stop:
            self._held += os.pwrite(self._fd, _ZEROS[: WRITE - self._held % WRITE], self._held)
        if not self._mappings or stop > len(self._mappings[-1]):
            self._map(stop)

    def _map(self, size: int) -> None:
        self._mappings.append(mapped(self._fd, 0, size, write=True))
        self._address = address(self._mappings[-1])

    def taken(self, value: Any) -> None:
        """The task has yielded `value`. Of the array that was given out last, what is not in it will not come; other
        arrays of the value lie behind it."""
        last = self._given[-1]
        found = False
        for array in _arrays(value):
            if array.ctypes.data == last.address and array.flags.c_contiguous:
                found = True
                last.stop = last.start + array.nbytes
            elif found:
                last.stop += -last.stop % ALIGN + array.nbytes

    def final(self, part: np.ndarray) -> None:
        """This part of an array that was given out will not change: it is hashed, if it follows what was hashed of that
        array already."""
        begin = part.ctypes.data
        for given in reversed(self._given):
            if given.address + given.final == begin and part.flags.c_contiguous:
                given.hash.update(part)
                given.final += part.nbytes
                return

    # --------------------------------------------------------------------------------------------------- the writer's

    def digest(self, view: memoryview) -> bytes | None:
        """The hash of an array that was given out, or of its front, if `final` has begun it."""
        begin = np.frombuffer(view, np.uint8).ctypes.data
        for given in self._given:
            if given.address == begin and 0 < given.final <= len(view):
                given.hash.update(view[given.final :])
                given.final = len(view)
                return bytes(given.hash.digest())
        return None

    def hand_over(self) -> tuple[str, int, int]:
        """The file is the writer's from now on: its path, descriptor and size."""
        self._ours = False
        return self._path, self._fd, self._held

    def has(self, view: memoryview, start: int) -> bool:
        """Whether these bytes lie at `start` of the file already."""
        if len(view) < LARGE:
            return False
        begin = np.frombuffer(view, np.uint8).ctypes.data
        for given in self._given:
            if given.start == start and given.address == begin and len(view) <= given.array.nbytes:
                given.waiting = False
                return True
        return False

    def fill(self, view: memoryview, start: int) -> bool:
        """Copy a few bytes to `start` by the mapping, which costs less than to ask the system; False where these are
        many, or have no place there."""
        stop = start + len(view)
        there = self._mappings and stop <= min(self._held, len(self._mappings[-1]))
        if not there or len(view) >= LARGE or not self.free(start, len(view)):
            return False
        self._mappings[-1][start:stop] = view
        return True

    def free(self, start: int, size: int) -> bool:
        """Whether nothing that may still be written lies there."""
        return not any(given.waiting and given.start < start + size and start < given.stop for given in self._given)

    def seal(self) -> int:
        """The blob is complete, and nobody can change it any more: a task that has kept an array and writes to it gets
        ValueError, or by another view SIGSEGV. Returns how many bytes the file has."""
        for given in self._given:
            given.array.flags.writeable = False
        for mapping in self._mappings:
            protect(mapping, self._fd)
        return self._held

    def close(self) -> None:
        """Delete the file, unless a writer has it."""
        if self._ours:
            self._ours = False
            os.close(self._fd)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
