"""A page of memory that a slot and its worker share: what the slot runs, and since when.

The slot writes it before every task, so it costs well under a microsecond and needs no system call; the worker reads
it when it enforces the time limit and when the slot has died: then it says which attempt has to answer for that.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass

SIZE = 4096
_HEAD = struct.Struct("<7q")
_TEXT = SIZE - _HEAD.size

Key = tuple[int, int, int, int, int]
"""(job, stage, kind, index, attempt)"""


@dataclass(frozen=True)
class Reading:
    """The attempt at hand, the monotonic time in nanoseconds at which it began, and a short description of its
    input."""

    key: Key
    started: int
    text: str


def create() -> int:
    """A descriptor for a fresh gauge (memory without a name: it goes when both processes have)."""
    fd = os.memfd_create("daf-gauge")
    os.ftruncate(fd, SIZE)
    return fd


class Gauge:
    """Maps the gauge behind `fd`; the descriptor may be closed afterwards."""

    def __init__(self, fd: int):
        self._page = mmap.mmap(fd, SIZE)

    def begin(self, key: Key, started: int, text: bytes) -> None:
        """This attempt starts now. `text` is cut to what fits."""
        size = min(len(text), _TEXT)
        self._page[_HEAD.size : _HEAD.size + size] = text[:size]
        _HEAD.pack_into(self._page, 0, started, *key, size)

    def idle(self) -> None:
        """Nothing runs."""
        _HEAD.pack_into(self._page, 0, 0, 0, 0, 0, 0, 0, 0)

    def read(self) -> Reading | None:
        """What runs, or None."""
        started, job, stage, kind, index, attempt, size = _HEAD.unpack_from(self._page)
        if not started:
            return None
        text = bytes(self._page[_HEAD.size : _HEAD.size + max(0, min(size, _TEXT))])
        return Reading((job, stage, kind, index, attempt), started, text.decode("utf-8", "replace"))
