"""The rows of a store in a SQLite file, and whether each of them is what was written.

Each value has a CRC-32 of itself and of the names that lead to it, so that a value in the wrong place does not fit
either. A list is a row (id, key, length) and its items, whose ids are (list id << 40 | place), so that appending is
appending; an item that is gone leaves a gap.
"""

from __future__ import annotations

import sqlite3
import zlib
from pathlib import Path

from ..errors import StoreError
from .troubles import corrupt

SHIFT = 40
SCHEMA = """
CREATE TABLE text  (key TEXT PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE hash  (key TEXT, field TEXT, value BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (key, field))
    WITHOUT ROWID;
CREATE TABLE list  (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, length INTEGER NOT NULL);
CREATE TABLE item  (id INTEGER PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL);
"""


def checksum(value: bytes, *names: object) -> int:
    """What stands beside a value."""
    return zlib.crc32(value, zlib.crc32("\0".join(map(str, names)).encode()))


def checked(path: Path, value: object, crc: object, *names: object) -> bytes:
    """The value. Raises StoreError when it is not what was written under these names."""
    if not isinstance(value, bytes) or checksum(value, *names) != crc:
        raise corrupt(path, f"the checksum of {' '.join(map(repr, names))} does not match")
    return value


def verify(path: Path, db: sqlite3.Connection) -> None:
    """Read all rows. Raises StoreError for the first that is not what was written, sqlite3.Error where it cannot be
    read."""
    try:
        for key, value, crc in db.execute("SELECT key, value, crc FROM text"):
            checked(path, value, crc, key)
        for key, field, value, crc in db.execute("SELECT key, field, value, crc FROM hash"):
            checked(path, value, crc, key, field)
        _verify_lists(path, db)
    except (TypeError, ValueError, OverflowError) as error:  # numbers that are none, text that is no text
        raise corrupt(path, str(error)) from error


def _verify_lists(path: Path, db: sqlite3.Connection) -> None:
    lists = {number: (key, length) for number, key, length in db.execute("SELECT id, key, length FROM list")}
    places = dict.fromkeys(lists, 0)
    for id, value, crc in db.execute("SELECT id, value, crc FROM item ORDER BY id"):
        number, place = id >> SHIFT, id & (1 << SHIFT) - 1
        if number not in lists:
            raise corrupt(path, f"there are items of a list {number}, and no such list")
        key = lists[number][0]
        if place != places[number]:
            raise _gap(path, key, lists[number][1], place)
        places[number] += 1
        checked(path, value, crc, key, place)
    for number, (key, length) in lists.items():
        if places[number] != length:
            raise _gap(path, key, length, places[number])


def _gap(path: Path, key: str, length: int, found: int) -> StoreError:
    return corrupt(path, f"the list {key!r} should have {length} items, and there is a gap behind {found}")
