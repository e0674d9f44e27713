"""Every write, truncation and sync of a store fails, or is the last that its process does: see
tests/store/faultydisk.py for the disk and the story that is written to it."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

from tests.store.faultydisk import Disk, Writer, library
from tests.store.test_faultydisk import calls, dies_at, fails_at

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS)


def failing() -> list[tuple[str, str, str]]:
    """Each call in turn. What goes wrong raises AssertionError."""
    with tempfile.TemporaryDirectory(prefix="daf-disk-") as top:
        made = library(Path(top))
        if made is None:
            return []
        disk = Disk(Path(top), made)
        writer = Writer(disk, Path(top) / "store" / "state.db")
        try:
            count = calls(disk, writer)
            for at in range(1, count + 1):
                for half in (False, True):
                    dies_at(disk, writer, at, half)
                for error in ERRORS:
                    fails_at(disk, writer, at, error)
        finally:
            writer.close()
    names = ", ".join(errno.errorcode[error] for error in ERRORS)
    return [
        (
            "writes and syncs of a store, each the last thing that its process did, before it and half-way",
            f"{count} calls, {2 * count} deaths: all that had returned was there, and never half a commit",
            "python -m tests.reliability --only disk",
        ),
        (
            f"the same calls failing three times with {names}",
            f"{count * len(ERRORS)} failures told, nothing missing once the disk worked again",
            "python -m tests.reliability --only disk",
        ),
    ]
