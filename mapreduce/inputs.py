"""Files as inputs: cut into byte ranges that map tasks read on their own.

A range owns the records (lines, words) that *begin* in it, so ranges may be cut anywhere, without looking into the
file, and each record is still read whole and exactly once."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .blobs import map_file
from .errors import BadInput

FileRange = tuple[Path, int, int]
"""A file and its bytes [start, stop)."""

LINE = re.compile(rb"\n")
WORD = re.compile(rb"[ \t\n\v\f\r]")
_BLOCK = 1 << 14


def check_files(paths: Iterable[str | Path]) -> None:
    """Raise BadInput, naming the first path that is not a readable file; for `Job.check`."""
    for path in paths:
        if os.path.isdir(path):
            raise BadInput(f"{path} is a folder; name the files in it")
        if not os.path.exists(path):
            raise BadInput(f"there is no file {path}")
        try:
            open(path, "rb").close()
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror}") from error


def check_output(path: str | Path) -> None:
    """Raise BadInput unless a file (or folder) can be made at `path`; for `Job.check`. Folders on the way are made
    later."""
    place = Path(path).absolute()
    folder = next(parent for parent in place.parents if parent.exists())
    if not folder.is_dir():
        raise BadInput(f"{path} cannot be written: {folder} is not a folder")
    try:
        tempfile.TemporaryFile(dir=folder).close()  # asking for permissions says nothing of read-only file systems
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror} in {folder}; choose another place") from error


def file_ranges(paths: Sequence[str | Path], size: int = 8 << 20) -> Iterator[FileRange]:
    """The files cut into ranges of `size` bytes (the last of each is shorter), in order; none for an empty file."""
    for path in paths:
        end = os.stat(path).st_size
        for start in range(0, end, size):
            yield Path(path), start, min(start + size, end)


def read_range(part: FileRange, separator: re.Pattern[bytes] = LINE) -> bytes:
    """The records that begin in the range, whole. `separator` matches the one byte that ends a record: `LINE` or
    `WORD`.

    Raises OSError.
    """
    path, start, stop = part
    with open(path, "rb", buffering=0) as file:
        start, stop = _whole(file.fileno(), start, stop, separator)
        file.seek(start)
        return b"".join(iter(lambda: file.read(stop - file.tell()), b""))


def map_range(part: FileRange, separator: re.Pattern[bytes] = LINE) -> memoryview:
    """Like `read_range`, but a read-only view of the file itself, mapped: nothing is copied, and what is not looked at
    is not read. For kernels (`numpy.frombuffer`) over files that nobody cuts short meanwhile.

    Raises OSError.
    """
    path, start, stop = part
    with open(path, "rb", buffering=0) as file:
        start, stop = _whole(file.fileno(), start, stop, separator)
    return map_file(Path(path), start, stop - start)


def _whole(fd: int, start: int, stop: int, separator: re.Pattern[bytes]) -> tuple[int, int]:
    """The bytes of the records that begin in [start, stop)."""
    return _next_record(fd, start, separator), _next_record(fd, stop, separator)


def _next_record(fd: int, at: int, separator: re.Pattern[bytes]) -> int:
    """Where the first record at or after `at` begins: 0, or behind a separator; the file's end when there is none."""
    if at == 0:
        return 0
    at = min(at, os.fstat(fd).st_size) - 1
    while block := os.pread(fd, _BLOCK, at):
        if found := separator.search(block):
            return at + found.end()
        at += len(block)
    return at
