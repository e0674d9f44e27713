"""What may be wrong with a store in a SQLite file, as sentences that say what to do."""

from __future__ import annotations

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
    if "full" in text:
        return StoreError(
            f"the disk is full: the store {path} could not be {doing}. Make room; nothing acknowledged is lost"
        )
    if "readonly" in text or "read-only" in text:
        return StoreError(
            f"the store {path} is read-only: it could not be {doing}. Give the coordinator's user the right to write"
        )
    if "unable to open" in text:
        return StoreError(f"cannot open the store {path}: is its folder there, and may this user write in it?")
    return StoreError(f"the store {path} could not be {doing}: {text}")
