"""Tells how many rows a table of another process's SQLite database has: `python tally.py DATABASE TABLE SECONDS` prints
the number every so many seconds, until nobody reads it any more.

A program of its own, for it may not be done in the process that writes: two copies of SQLite in one process (Python's,
and the one in pycolmap) take each other's file locks away, for closing a file drops all locks that the process has on
it ("How To Corrupt An SQLite Database File", section 2.2.1, sqlite.org); the writer then loses its memory-mapped
index under its hands. It only looks where there is a write-ahead log: there readers keep no writer waiting.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import time
from pathlib import Path


def count(database: Path, table: str) -> int | None:
    """Rows of a table; None when it cannot be said now."""
    if not os.path.exists(f"{database}-wal"):
        return None
    try:
        with contextlib.closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as opened:
            return int(opened.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    except sqlite3.Error:  # not there yet, or locked
        return None


def main(database: str, table: str, seconds: str) -> None:
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        while True:
            time.sleep(float(seconds))
            found = count(Path(database), table)
            print("" if found is None else found, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)  # nobody reads what would be flushed
