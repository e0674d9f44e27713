"""What may be wrong with a store in a SQLite file, as sentences that say what to do.

SQLite says "disk I/O error" for whatever a write or a sync returns, and not which error that was. So the disk is asked
once more, by a write of our own beside the store."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

from ..errors import StoreError

_CORRUPT = ("malformed", "not a database", "unsupported file format", "no such table", "decode to UTF-8")


def corrupt(path: Path, what: str) -> StoreError:
    """Something in the file is not what was written."""
    return StoreError(
        f"the store {path} is corrupt ({what}). Nothing was changed. Keep a copy of {path.name} and "
        f"{path.name}-wal, then restore both from a backup, or move them away to start with no jobs"
    )


def explained(path: Path, error: sqlite3.Error, doing: str) -> StoreError:
    """What SQLite says, as one of ours."""
    text = str(error)
    if any(sign in text for sign in _CORRUPT):
        return corrupt(path, text)
    again = "" if doing == "opened" else "It is tried again by itself, and nothing acknowledged is lost. "
    failing = errno_of(path) if "disk I/O error" in text else 0
    if "full" in text or failing in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"the disk is full: the store {path} could not be {doing}. Make room; nothing acknowledged is lost"
        )
    if failing == errno.EROFS:
        return StoreError(
            f"the file system of the store {path} has become read-only: it could not be {doing}. Kernels do that after "
            f"errors of the disk. {again}See dmesg, then repair it and mount it for writing"
        )
    if "disk I/O error" in text:
        state = f"and the disk goes on failing: {os.strerror(failing)}" if failing else "though a write beside it works"
        return StoreError(
            f"I/O error: the store {path} (with its -wal) could not be {doing} ({error.sqlite_errorname}, {state}). "
            f"{again}See dmesg and the health of the disk. To move to a sound one, end the coordinator and copy all of "
            f"{path.name}*"
        )
    if "readonly" in text or "read-only" in text:
        return StoreError(
            f"the store {path} is read-only: it could not be {doing}. Give the coordinator's user the right to write"
        )
    if "unable to open" in text:
        return StoreError(f"cannot open the store {path}: is its folder there, and may this user write in it?")
    return StoreError(f"the store {path} could not be {doing}: {text}")


def errno_of(path: Path) -> int:
    """What the disk of the store says to a write now: 0 where it works. Its lock file says whose it is, and is told so
    again."""
    try:
        fd = os.open(path.with_name(path.name + ".lock"), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        return error.errno or errno.EIO
    return 0
