"""Writes one blob front to back, hashing what it writes (of sealed packets, see `wire.codec`, the headers).

A file appears under its name only when it is complete (write, then rename). Large ones overwrite recycled files where
there are any (see recycle.py), and what lies in the file already, because its task made it there (see drafts.py), is
hashed and not copied."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from .allowance import allowance
from .pages import WRITE
from .recycle import SMALLEST, Pool, Taken

if TYPE_CHECKING:
    from .drafts import Draft

Buffer = bytes | bytearray | memoryview

_IOV_MAX = 512
_PIECE = 256 << 10
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_numbers = itertools.count()


def temporary(directory: str) -> str:
    """A name in `directory` that no other writer has."""
    return f"{directory}/{os.getpid()}-{threading.get_ident():x}-{next(_numbers)}.tmp"


def opened(directory: str, path: str, pool: Pool | None, size: int) -> Taken:
    """A file at `path`, in `directory`, for about `size` bytes: a recycled one, or a new one."""
    try:
        return _opened(path, pool, size)
    except FileNotFoundError:  # the unit's first blob
        os.makedirs(directory, exist_ok=True)
        return _opened(path, pool, size)


def _opened(path: str, pool: Pool | None, size: int) -> Taken:
    """Raises FileNotFoundError when the folder is not there."""
    taken = None if pool is None or size < SMALLEST else pool.take(size, path) or pool.new(size, path)
    return taken or Taken(os.open(path, _CREATE, 0o600), 0, None)


class BlobWriter:
    """Writes one blob front to back. Use as a context manager: leaving it without `commit` deletes what was written.

    `size` is about how many bytes will come; a file for as many is taken from `pool`, if it has one. With a `draft` its
    file becomes the blob.
    """

    def __init__(self, directory: Path | str, pool: Pool | None = None, size: int = 0, draft: Draft | None = None):
        self._directory = str(directory)
        self._pool = pool
        self._expected = size
        self._draft = draft
        self._digest = xxhash.xxh3_128()
        self._hashing = True
        self.size = 0
        self._held = 0
        """Bytes that the file has already: old ones, or pages that were made ahead."""
        self._pages: memoryview | None = None
        if draft is not None:
            self._temporary, self._fd, self._held = draft.hand_over()
        else:
            self._open()

    def _open(self) -> None:
        self._temporary = temporary(self._directory)
        self._fd, self._held, self._pages = opened(self._directory, self._temporary, self._pool, self._expected)

    def write(self, parts: Iterable[Buffer], *, sealed: bool = False, hashed: bool = True) -> int:
        """Append the parts; returns the number of bytes written. `sealed`: of the parts, the first is all that counts
        for the blob's hash; not `hashed`: nothing does. Raises OSError when the disk is full, OutputTooLarge when the
        task has written more than it may."""
        views = [memoryview(part).cast("B") for part in parts if len(part)]
        total = sum(map(len, views))
        allowance.spend(total)
        if sealed:
            self._digest.update(views[0])
        self._hashing = hashed and not sealed
        if self._draft is not None:
            views = self._in_place(self._draft, views)
        self._write(views)
        return total

    def digest(self, part: memoryview) -> bytes:
        """The hash of an array of LARGE bytes or more that will be written (see `wire.codec.digest`)."""
        from .wire import codec

        known = None if self._draft is None else self._draft.digest(part)
        return known or codec.digest(part)

    def _write(self, views: list[memoryview]) -> None:
        while self._pages is not None and views:
            view = views.pop(0)
            room = len(self._pages) - self.size
            if len(view) > room:
                view, rest = view[:room], view[room:]
                views.insert(0, rest)
            self._store(self._pages, view)
            if self.size == len(self._pages):
                self._pages = None
        while views:
            done = self._append(_some(views, WRITE - self.size % WRITE))
            self.size += done
            while views and done >= len(views[0]):
                done -= len(views[0])
                self._hash(views.pop(0))
            if done:
                self._hash(views[0][:done])
                views[0] = views[0][done:]

    def _hash(self, view: memoryview) -> None:
        if self._hashing:
            self._digest.update(view)

    def _in_place(self, draft: Draft, views: list[memoryview]) -> list[memoryview]:
        """Write what is to be written, leaving what lies at its place already; returns what is left when the draft has
        to be left."""
        for number, view in enumerate(views):
            if draft.has(view, self.size) or draft.fill(view, self.size):
                self._hash(view)
                self.size += len(view)
            elif draft.free(self.size, len(view)):
                self._write([view])
            else:
                self._leave()
                return views[number:]
        return []

    def _leave(self) -> None:
        """Go on in another file: what comes next would overwrite an array that has not been written yet."""
        old, path, written, hashing = self._fd, self._temporary, self.size, self._hashing
        self._draft, self.size, self._hashing = None, 0, False
        self._open()
        for start in range(0, written, _PIECE):
            self._write([memoryview(os.pread(old, min(_PIECE, written - start), start))])
        self._hashing = hashing
        os.close(old)
        os.unlink(path)

    def _store(self, pages: memoryview, view: memoryview) -> None:
        """Write through the mapping, a piece at a time: what was hashed is still in the processor's cache."""
        for start in range(0, len(view), _PIECE):
            piece = view[start : start + _PIECE]
            self._hash(piece)
            pages[self.size : self.size + len(piece)] = piece
            self.size += len(piece)

    def _append(self, views: list[memoryview]) -> int:
        try:
            return os.pwritev(self._fd, views, self.size)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or self._pool is None:
                raise
            self._pool.clear()
            return os.pwritev(self._fd, views, self.size)

    def commit(self, digest: bytes | None = None) -> tuple[bytes, int]:
        """Give the blob its name: `digest`, or the hash of what was written. Returns (16-byte XXH3-128, size in
        bytes)."""
        digest = digest or self._digest.digest()
        self._pages = None
        if self._draft is not None:
            self._held = self._draft.seal()
        if self._held > self.size:
            os.ftruncate(self._fd, self.size)
        os.close(self._fd)
        self._fd = -1
        os.replace(self._temporary, f"{self._directory}/{digest.hex()}")
        self._temporary = ""
        return digest, self.size

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._pages = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._temporary:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._temporary)
            self._temporary = ""


def _some(views: list[memoryview], room: int) -> list[memoryview]:
    """The first `room` bytes of `views`, or less."""
    some: list[memoryview] = []
    for view in views[:_IOV_MAX]:
        some.append(view[:room])
        room -= len(view)
        if room <= 0:
            break
    return some
