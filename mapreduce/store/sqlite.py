"""The durable store: one SQLite file in WAL mode.

Why it survives what it is meant to survive:
- *kill -9*: a transaction is in the write-ahead log or it is not; what the operating system took from us it still
  writes.
- *a power cut*: with sync=full each commit that asks for it is followed by an fsync; frames of the log carry checksums,
  so a torn tail is dropped at the next open, and with it only what had not been synced.
- *a full disk*: the transaction is rolled back, the writes stay buffered in memory, `commit` raises and can be called
  again.
- *a file that rots or was cut*: SQLite's own check runs at open, and each row carries a CRC-32 of its key and value,
  compared with all rows at open and at every read (see rows.py). What does not fit raises StoreError, never a wrong
  value.
- *a log that rots, was cut or is gone*: commits are counted, in the file and beside it (see seal.py), so that an older
  state is not taken for the newest.
- *two coordinators*: an advisory lock on a file beside the database, taken before it is opened and released by the
  kernel however we die.

All three Redis types are plain tables."""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from ..boot import boot_id
from ..errors import StoreError
from .base import FORMAT, Store, span
from .examine import APPLICATION, examine, seal_crc
from .rows import SCHEMA, SHIFT, checked, checksum
from .seal import Mark, Seal
from .troubles import corrupt, explained


class SqliteStore(Store):
    """A store in the SQLite file `path` (made if it is not there, in a folder that is).

    `sync`: "full" (a synced commit survives a power cut) or "normal" (the last commits before a power cut may be lost,
    no more). `older`: take a store that lacks commits as it is.

    Raises:
        StoreError: the file is corrupt, lacks commits, is of a newer version or no store of ours, is in use, or cannot
            be opened or written.
    """

    def __init__(self, path: str | Path, sync: str = "full", *, older: bool = False):
        super().__init__()
        if sync not in ("full", "normal"):
            raise StoreError(f"a store's sync is full or normal, not {sync!r}")
        self.path = Path(path).absolute()
        self.syncs = sync == "full"
        self._synchronous = ""
        self._older = older
        self._seal = Seal(self.path)
        self._mark = Mark("", "", 0, 0)
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
            if not fresh:
                examine(self.path, self._seal.read(), self._older)
            db = self._db = sqlite3.connect(self.path, isolation_level=None, timeout=1.0, check_same_thread=False)
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
            mode = db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            if mode != "wal":
                raise StoreError(
                    f"the store {self.path} cannot use a write-ahead log (it got {mode!r}): put it on a local disk"
                )
            db.execute("PRAGMA wal_autocheckpoint=4000")
            self._set_synchronous("FULL")
            if db.execute("PRAGMA user_version").fetchone()[0] == 0:
                db.executescript(
                    f"BEGIN;{SCHEMA}PRAGMA application_id={APPLICATION};PRAGMA user_version={FORMAT};COMMIT;"
                )
            self._seal_up(db)
        except sqlite3.Error as error:
            raise explained(self.path, error, "opened") from error
        except OSError as error:
            raise StoreError(f"cannot open the store {self.path}: {error.strerror}") from error

    def _seal_up(self, db: sqlite3.Connection) -> None:
        """From now on each commit is counted."""
        if db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'seal'").fetchone()[0] == 0:
            new = secrets.token_hex(8), 0
            db.execute("BEGIN IMMEDIATE")
            db.execute("CREATE TABLE seal (store TEXT NOT NULL, number INTEGER NOT NULL, crc INTEGER NOT NULL)")
            db.execute("INSERT INTO seal VALUES (?, ?, ?)", (*new, seal_crc(*new)))
            db.execute("COMMIT")
        found = db.execute("SELECT store, number FROM seal").fetchone()
        before = self._seal.read()
        synced = before.synced if before is not None and before.store == found[0] else 0
        self._mark = Mark(found[0], boot_id(), found[1], min(synced, found[1]))
        if self._older:
            self._seal.write(self._mark)

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
            self._set_synchronous("FULL" if sync and self.syncs else "NORMAL")
            db.execute("BEGIN IMMEDIATE")
            for operation, key, args in self._pending:
                if self.passing is not None:
                    self.passing(f"write {operation}")
                getattr(self, f"_{operation}")(db, key, *args)
            mark = self._next(sync)
            row = (mark.committed, seal_crc(mark.store, mark.committed))
            db.execute("UPDATE seal SET number = ?, crc = ?", row)
            if self.passing is not None:
                self.passing("commit")
            db.execute("COMMIT")
            if self.passing is not None:
                self.passing("committed")
        except (sqlite3.Error, OSError) as error:
            with suppress(sqlite3.Error):  # SQLite has often rolled back by itself
                db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise explained(self.path, error, "written") from error
            raise StoreError(f"the store {self.path} could not be written: {error}") from error
        self._mark = mark
        self._seal.write(mark)
        self._pending.clear()

    def _next(self, sync: bool) -> Mark:
        """The mark that the next commit leaves."""
        number = self._mark.committed + 1
        return replace(self._mark, committed=number, synced=number if sync and self.syncs else self._mark.synced)

    def _set(self, db: sqlite3.Connection, key: str, value: bytes) -> None:
        db.execute("INSERT OR REPLACE INTO text VALUES (?, ?, ?)", (key, value, checksum(value, key)))

    def _hset(self, db: sqlite3.Connection, key: str, field: str, value: bytes) -> None:
        db.execute("INSERT OR REPLACE INTO hash VALUES (?, ?, ?, ?)", (key, field, value, checksum(value, key, field)))

    def _hdel(self, db: sqlite3.Connection, key: str, *fields: str) -> None:
        db.executemany("DELETE FROM hash WHERE key = ? AND field = ?", [(key, field) for field in fields])

    def _rpush(self, db: sqlite3.Connection, key: str, *values: bytes) -> None:
        found = db.execute("SELECT id, length FROM list WHERE key = ?", (key,)).fetchone()
        if found is None:
            found = db.execute("INSERT INTO list (key, length) VALUES (?, 0) RETURNING id", (key,)).fetchone()[0], 0
        number, length = found
        first = number << SHIFT | length
        rows = [(first + place, value, checksum(value, key, length + place)) for place, value in enumerate(values)]
        db.executemany("INSERT INTO item VALUES (?, ?, ?)", rows)
        db.execute("UPDATE list SET length = ? WHERE id = ?", (length + len(values), number))

    def _delete(self, db: sqlite3.Connection, key: str) -> None:
        db.execute("DELETE FROM text WHERE key = ?", (key,))
        db.execute("DELETE FROM hash WHERE key = ?", (key,))
        found = db.execute("SELECT id FROM list WHERE key = ?", (key,)).fetchone()
        if found is not None:
            db.execute("DELETE FROM item WHERE id BETWEEN ? AND ?", (found[0] << SHIFT, (found[0] + 1 << SHIFT) - 1))
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
            raise explained(self.path, error, "read") from error
        except (OverflowError, UnicodeDecodeError) as error:  # a list's number that no list of ours has; no text
            raise corrupt(self.path, str(error)) from error

    def get(self, key: str) -> bytes | None:
        rows = self._rows("SELECT value, crc FROM text WHERE key = ?", key)
        return checked(self.path, *rows[0], key) if rows else None

    def hget(self, key: str, field: str) -> bytes | None:
        rows = self._rows("SELECT value, crc FROM hash WHERE key = ? AND field = ?", key, field)
        return checked(self.path, *rows[0], key, field) if rows else None

    def hgetall(self, key: str) -> dict[str, bytes]:
        rows = self._rows("SELECT field, value, crc FROM hash WHERE key = ? ORDER BY field", key)
        return {field: checked(self.path, value, crc, key, field) for field, value, crc in rows}

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
        base = number << SHIFT
        rows = self._rows(
            "SELECT id, value, crc FROM item WHERE id BETWEEN ? AND ? ORDER BY id", base + wanted[0], base + wanted[-1]
        )
        if len(rows) != len(wanted) or any(row[0] - base != place for row, place in zip(rows, wanted)):
            raise corrupt(
                self.path, f"the list {key!r} should have {len(wanted)} items from {wanted[0]} on and has {len(rows)}"
            )
        return [checked(self.path, value, crc, key, place) for place, (_, value, crc) in zip(wanted, rows)]

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
        self._seal.close()
        with suppress(OSError):
            self._lock.close()
