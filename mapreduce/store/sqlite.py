"""The durable store: one SQLite file in WAL mode.

Why it survives what it is meant to survive:
- *kill -9*: a transaction is in the write-ahead log or it is not; what the operating system took from us it still
  writes.
- *a power cut*: with sync=full each commit that asks for it is followed by an fsync; frames of the log carry checksums,
  so a torn tail is dropped at the next open, and with it only what had not been synced.
- *a full disk*: the transaction is rolled back, the writes stay buffered in memory, `commit` raises and can be called
  again.
- *a file that rots or was cut*: SQLite's own check runs at open, and each row carries a CRC-32 of its key and value,
  compared at every read; a list knows its length. What does not fit raises StoreError, never a wrong value.
- *two coordinators*: an advisory lock on a file beside the database, taken before it is opened and released by the
  kernel however we die.

All three Redis types are plain tables. A list's items are keyed by (list number << 40 | position), so appending is
appending."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ..errors import StoreError
from .base import FORMAT, Store, span

_APPLICATION = 0x44414631  # "DAF1" in the file's header: other programs' databases are left alone
_SHIFT = 40
_SCHEMA = """
CREATE TABLE text  (key TEXT PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE hash  (key TEXT, field TEXT, value BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (key, field))
    WITHOUT ROWID;
CREATE TABLE list  (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, length INTEGER NOT NULL);
CREATE TABLE item  (id INTEGER PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL);
"""


def _crc(value: bytes, *names: object) -> int:
    return zlib.crc32(value, zlib.crc32("\0".join(map(str, names)).encode()))


class SqliteStore(Store):
    """A store in the SQLite file `path` (made if it is not there, in a folder that is).

    `sync`: "full" (a synced commit survives a power cut) or "normal" (the last commits before a power cut may be lost,
    no more).

    Raises:
        StoreError: the file is corrupt, of a newer version, no store of ours, in use, or cannot be opened or written.
    """

    def __init__(self, path: str | Path, sync: str = "full"):
        super().__init__()
        if sync not in ("full", "normal"):
            raise StoreError(f"a store's sync is full or normal, not {sync!r}")
        self.path = Path(path).absolute()
        self._full = sync == "full"
        self._synchronous = ""
        self._db: sqlite3.Connection | None = None
        self._lock = self._take_lock()
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    # ------------------------------------------------------------------------------------------------------ opening

    def _take_lock(self) -> IO[str]:
        name = self.path.with_name(self.path.name + ".lock")
        try:
            file = open(name, "a+")
        except OSError as error:
            raise StoreError(f"cannot open the store {self.path}: {name}: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            file.close()
            raise StoreError(
                f"the store {self.path} is in use by process {owner}: two coordinators cannot share one store. Stop "
                "that one, or give this one another --store"
            ) from None
        with suppress(OSError):  # a full disk: the lock holds without the number in it
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
        return file

    def _open(self) -> None:
        fresh = not self.path.exists() or self.path.stat().st_size == 0
        try:
            db = self._db = sqlite3.connect(self.path, isolation_level=None, timeout=1.0, check_same_thread=False)
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
            if not fresh:
                self._inspect(db)
            mode = db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            if mode != "wal":
                raise StoreError(
                    f"the store {self.path} cannot use a write-ahead log (it got {mode!r}): put it on a local disk"
                )
            db.execute("PRAGMA wal_autocheckpoint=4000")
            self._set_synchronous("FULL")
            if db.execute("PRAGMA user_version").fetchone()[0] == 0:
                db.executescript(
                    f"BEGIN;{_SCHEMA}PRAGMA application_id={_APPLICATION};PRAGMA user_version={FORMAT};COMMIT;"
                )
        except sqlite3.Error as error:
            raise self._explained(error, "opened") from error
        except OSError as error:
            raise StoreError(f"cannot open the store {self.path}: {error.strerror}") from error

    def _inspect(self, db: sqlite3.Connection) -> None:
        application = db.execute("PRAGMA application_id").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if application != _APPLICATION and (tables or version):
            raise StoreError(f"{self.path} is a database of another program: give --store a file of its own")
        if version > FORMAT:
            raise StoreError(
                f"the store {self.path} has format {version}, this version of DAF knows up to {FORMAT}: start the "
                "newer version, or give this one another --store"
            )
        verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise self._corrupt(verdict)

    def _corrupt(self, what: str) -> StoreError:
        return StoreError(
            f"the store {self.path} is corrupt ({what}). Nothing was changed. Keep a copy of {self.path.name} and "
            f"{self.path.name}-wal, then restore both from a backup, or move them away to start with no jobs"
        )

    def _explained(self, error: sqlite3.Error, doing: str) -> StoreError:
        text = str(error)
        if any(sign in text for sign in ("malformed", "not a database", "unsupported file format", "no such table")):
            return self._corrupt(text)
        if "full" in text:
            return StoreError(
                f"the disk is full: the store {self.path} could not be {doing}. Make room; nothing acknowledged is lost"
            )
        if "readonly" in text or "read-only" in text:
            return StoreError(
                f"the store {self.path} is read-only: it could not be {doing}. Give the coordinator's user the right "
                "to write"
            )
        if "unable to open" in text:
            return StoreError(f"cannot open the store {self.path}: is its folder there, and may this user write in it?")
        return StoreError(f"the store {self.path} could not be {doing}: {text}")

    # ------------------------------------------------------------------------------------------------------ writing

    def _set_synchronous(self, level: str) -> None:
        if level != self._synchronous:
            self._connection.execute(f"PRAGMA synchronous={level}")
            self._synchronous = level

    def commit(self, sync: bool = True) -> None:
        if not self._pending:
            return
        db = self._connection
        try:
            self._set_synchronous("FULL" if sync and self._full else "NORMAL")
            db.execute("BEGIN IMMEDIATE")
            for operation, key, args in self._pending:
                if self.passing is not None:
                    self.passing(f"write {operation}")
                getattr(self, f"_{operation}")(db, key, *args)
            if self.passing is not None:
                self.passing("commit")
            db.execute("COMMIT")
            if self.passing is not None:
                self.passing("committed")
        except (sqlite3.Error, OSError) as error:
            with suppress(sqlite3.Error):  # SQLite has often rolled back by itself
                db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise self._explained(error, "written") from error
            raise StoreError(f"the store {self.path} could not be written: {error}") from error
        self._pending.clear()

    def _set(self, db: sqlite3.Connection, key: str, value: bytes) -> None:
        db.execute("INSERT OR REPLACE INTO text VALUES (?, ?, ?)", (key, value, _crc(value, key)))

    def _hset(self, db: sqlite3.Connection, key: str, field: str, value: bytes) -> None:
        db.execute("INSERT OR REPLACE INTO hash VALUES (?, ?, ?, ?)", (key, field, value, _crc(value, key, field)))

    def _hdel(self, db: sqlite3.Connection, key: str, *fields: str) -> None:
        db.executemany("DELETE FROM hash WHERE key = ? AND field = ?", [(key, field) for field in fields])

    def _rpush(self, db: sqlite3.Connection, key: str, *values: bytes) -> None:
        found = db.execute("SELECT id, length FROM list WHERE key = ?", (key,)).fetchone()
        if found is None:
            found = db.execute("INSERT INTO list (key, length) VALUES (?, 0) RETURNING id", (key,)).fetchone()[0], 0
        number, length = found
        first = number << _SHIFT | length
        rows = [(first + place, value, _crc(value, key, length + place)) for place, value in enumerate(values)]
        db.executemany("INSERT INTO item VALUES (?, ?, ?)", rows)
        db.execute("UPDATE list SET length = ? WHERE id = ?", (length + len(values), number))

    def _delete(self, db: sqlite3.Connection, key: str) -> None:
        db.execute("DELETE FROM text WHERE key = ?", (key,))
        db.execute("DELETE FROM hash WHERE key = ?", (key,))
        found = db.execute("SELECT id FROM list WHERE key = ?", (key,)).fetchone()
        if found is not None:
            db.execute("DELETE FROM item WHERE id BETWEEN ? AND ?", (found[0] << _SHIFT, (found[0] + 1 << _SHIFT) - 1))
            db.execute("DELETE FROM list WHERE id = ?", found)

    # ------------------------------------------------------------------------------------------------------ reading

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreError(f"the store {self.path} is closed")
        return self._db

    def _rows(self, sql: str, *args: object) -> list[Any]:
        try:
            return self._connection.execute(sql, args).fetchall()
        except sqlite3.Error as error:
            raise self._explained(error, "read") from error
        except OverflowError as error:  # a list's number or length that no list of ours can have
            raise self._corrupt(str(error)) from error

    def _checked(self, value: bytes, crc: int, *names: object) -> bytes:
        if not isinstance(value, bytes) or _crc(value, *names) != crc:
            raise self._corrupt(f"the checksum of {' '.join(map(repr, names))} does not match")
        return value

    def get(self, key: str) -> bytes | None:
        rows = self._rows("SELECT value, crc FROM text WHERE key = ?", key)
        return self._checked(*rows[0], key) if rows else None

    def hget(self, key: str, field: str) -> bytes | None:
        rows = self._rows("SELECT value, crc FROM hash WHERE key = ? AND field = ?", key, field)
        return self._checked(*rows[0], key, field) if rows else None

    def hgetall(self, key: str) -> dict[str, bytes]:
        rows = self._rows("SELECT field, value, crc FROM hash WHERE key = ? ORDER BY field", key)
        return {field: self._checked(value, crc, key, field) for field, value, crc in rows}

    def llen(self, key: str) -> int:
        rows = self._rows("SELECT length FROM list WHERE key = ?", key)
        return int(rows[0][0]) if rows else 0

    def lrange(self, key: str, start: int = 0, stop: int = -1) -> list[bytes]:
        found = self._rows("SELECT id, length FROM list WHERE key = ?", key)
        if not found:
            return []
        number, length = found[0]
        wanted = span(start, stop, length)
        if not wanted:
            return []
        base = number << _SHIFT
        rows = self._rows(
            "SELECT id, value, crc FROM item WHERE id BETWEEN ? AND ? ORDER BY id", base + wanted[0], base + wanted[-1]
        )
        if len(rows) != len(wanted) or any(row[0] - base != place for row, place in zip(rows, wanted)):
            raise self._corrupt(
                f"the list {key!r} should have {len(wanted)} items from {wanted[0]} on and has {len(rows)}"
            )
        return [self._checked(value, crc, key, place) for place, (_, value, crc) in zip(wanted, rows)]

    def scan(self, prefix: str = "") -> Iterator[str]:
        sql = " UNION ".join(f"SELECT key FROM {table} WHERE key >= ?1" for table in ("text", "hash", "list"))
        for (key,) in self._rows(f"{sql} ORDER BY 1", prefix):
            if not key.startswith(prefix):
                return
            yield key

    def close(self) -> None:
        self._pending.clear()
        if self._db is not None:
            with suppress(sqlite3.Error):  # what was committed is in the log whether or not it can be folded in now
                self._db.close()
            self._db = None
        with suppress(OSError):
            self._lock.close()
