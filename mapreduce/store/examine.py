"""Looking at a store in a SQLite file before anything is changed in it: is it one of ours, whole, and as new as its
seal says (see seal.py)?

SQLite is asked through a connection that can only read: one that can write folds the log into the file when it is
closed, and with it what a damaged log would still have shown.
"""

from __future__ import annotations

import logging
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from ..errors import StoreError
from .base import FORMAT
from .rows import verify
from .seal import Mark
from .troubles import corrupt
from .wal import Walk, walk

log = logging.getLogger("daf.store")

APPLICATION = 0x44414631  # "DAF1" in the file's header: other programs' databases are left alone


def seal_crc(store: str, number: int) -> int:
    """The checksum of the row that counts commits."""
    return zlib.crc32(f"{store} {number}".encode())


def examine(path: Path, mark: Mark | None, older: bool) -> None:
    """`mark` is what the seal says. With `older`, a store that lacks commits is taken as it is, with a warning.

    Raises:
        StoreError: it is another program's, of a newer version, corrupt, or lacks what was committed to it.
        sqlite3.Error, OSError: it cannot be read.
    """
    shared = path.with_name(path.name + "-shm")
    if path.with_name(path.name + "-journal").exists():  # it was being made, before it had a log: undo half of that
        with closing(sqlite3.connect(path, timeout=1.0)) as db:
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    try:
        place = f"file://{quote(str(path))}" if path.is_absolute() else f"file:{quote(str(path))}"  # "//x" names a host
        with closing(sqlite3.connect(f"{place}?mode=ro", uri=True, timeout=1.0)) as db:
            known = _inspected(path, db, mark)
    except UnicodeDecodeError as error:
        raise corrupt(path, str(error)) from error
    finally:
        shared.unlink(missing_ok=True)  # only such a connection makes one
    missing = _missing(path, mark, known)
    if missing and older:
        log.warning("%s. It is taken as it is, since accept=older was given", missing)
    elif missing:
        name = path.name
        raise StoreError(
            f"{missing}. Nothing was changed. Keep a copy of {name} and {name}-wal, then restore both from a backup "
            f"without {name}.seal; or go on from what is there, which forgets what was done since: add ?accept=older "
            "to the store's URL once"
        )


def _inspected(path: Path, db: sqlite3.Connection, mark: Mark | None) -> tuple[str, int] | None:
    """The store's id and its newest commit; None where it was written before there were seals."""
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != APPLICATION and (tables or version):
        raise StoreError(f"{path} is a database of another program: give --store a file of its own")
    if version > FORMAT:
        raise StoreError(
            f"the store {path} has format {version}, this version of DAF knows up to {FORMAT}: start the newer "
            "version, or give this one another --store"
        )
    verdict = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if verdict != "ok":
        raise corrupt(path, verdict)
    if not tables:
        return None
    verify(path, db)
    if not db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'seal'").fetchone()[0]:
        if mark is not None:
            raise corrupt(path, f"{path.name}.seal speaks of commits that it does not count")
        return None
    rows = db.execute("SELECT store, number, crc FROM seal").fetchall()
    if len(rows) != 1 or seal_crc(*rows[0][:2]) != rows[0][2]:
        raise corrupt(path, "the checksum of its seal does not match")
    return rows[0][0], rows[0][1]


def _missing(path: Path, mark: Mark | None, known: tuple[str, int] | None) -> str:
    """What the store lacks, in words; "" where there is no sign that it lacks anything."""
    wal = path.with_name(path.name + "-wal")
    if mark is not None and known is not None and mark.store == known[0]:
        number = known[1]
        if number < mark.due():
            return f"the store {path} ends with commit {number}, and {mark.due()} were made; {_place(wal, walk(wal))}"
        if number < mark.committed:
            log.warning(
                "the store %s ends with commit %d of %d: those after it were not synced before the machine went down, "
                "and were promised to nobody", path, number, mark.committed,
            )  # fmt: skip
        return ""
    found = walk(wal)
    if found.after > (1 if found.torn else 0):
        return f"the store {path} lacks what was committed last; {_place(wal, found)}"
    return ""


def _place(wal: Path, found: Walk) -> str:
    if not wal.exists() or wal.stat().st_size == 0:  # looking for it makes an empty one
        return f"its log {wal.name} is gone"
    if not found.why:
        return f"its log {wal.name} is whole, so this is an older state of it"
    return f"its log {wal.name} is damaged at byte {found.torn}: {found.why}"
