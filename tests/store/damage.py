"""A store as a killed coordinator leaves it, and what becomes of it when bytes of its files are cut off or changed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mapreduce.errors import StoreError
from mapreduce.store import open_store

FILES = ("", "-wal", ".seal")
"""The store's file, its log, its seal: the suffixes of their names."""
Content = tuple[Any, ...]


@dataclass
class Remains:
    """The bytes of a store's files, by suffix, and what was in it: `content` after all commits, `before` after all but
    the last; `last` is where the last transaction begins in the log, `seal_before` what the seal said before it.
    `folded` is the store's file after it was closed, when there is no log."""

    files: dict[str, bytes]
    content: Content
    before: Content
    last: int
    seal_before: bytes
    folded: bytes

    def part(self, name: str) -> bytes:
        """The bytes of one file: db, wal, seal, folded."""
        return self.folded if name == "folded" else self.files[{"db": "", "wal": "-wal", "seal": ".seal"}[name]]

    def lay_out(self, folder: Path, **changed: bytes | None) -> Path:
        """Write the files, with some changed (by the names db, wal, seal; None: gone); returns the store's path."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        names = {"": "db", "-wal": "wal", ".seal": "seal"}
        for suffix, data in self.files.items():
            data_now = changed.get(names[suffix], data)
            if data_now is not None:
                (folder / f"state.db{suffix}").write_bytes(data_now)
        return folder / "state.db"


def everything(path: Path, options: str = "") -> Content:
    """All that is in the store. Raises StoreError."""
    store = open_store(f"sqlite://{path}{options}")
    try:
        return (
            store.get("n"),
            store.hgetall("h"),
            [(key, store.llen(key), store.lrange(key)) for key in store.scan("l")],
            list(store.scan()),
        )
    finally:
        store.close()


def killed(folder: Path, commits: int = 6, sync: bool = True) -> Remains:
    """Some commits into the file, some more into the log; the files are taken while the store is open, which is what a
    kill leaves."""
    folder.mkdir()
    path = folder / "state.db"
    for life in range(2):  # closing folds the first life's commits into the file
        store = open_store(f"sqlite://{path}")
        for number in range(commits):
            last = path.with_name("state.db-wal").stat().st_size
            seal_before = path.with_name("state.db.seal").read_bytes() if number else b""
            before = (
                store.get("n"),
                store.hgetall("h"),
                [(k, store.llen(k), store.lrange(k)) for k in store.scan("l")],
            )
            store.set("n", b"%d" % (life * commits + number))
            store.rpush("list", *(b"%d" % number * 40 for _ in range(3)))
            store.hset("h", f"f{number}", b"value" * 10)
            store.commit(sync=sync or number < commits - 1)
        if life == 0:
            store.close()
    files = {suffix: path.with_name(f"state.db{suffix}").read_bytes() for suffix in FILES}
    keys = list(store.scan())
    content = (store.get("n"), store.hgetall("h"), [(k, store.llen(k), store.lrange(k)) for k in store.scan("l")], keys)
    store.close()
    return Remains(files, content, (*before, keys), last, seal_before, path.read_bytes())


def harmless_or_told(remains: Remains, folder: Path, name: str, at: int, bit: int) -> bool:
    """Whether a flipped bit was told, with the store's name; without a word there must be nothing missing. `name`: db,
    wal, seal, or folded for the file of a store that was closed."""
    changed: dict[str, bytes | None] = {name: flipped(remains.part(name), at, bit)}
    if name == "folded":
        changed = {"db": changed["folded"], "wal": None}
    path = remains.lay_out(folder, **changed)
    try:
        content = everything(path)
    except StoreError as error:
        assert str(path) in str(error), f"it does not say which store: {error}"
        return True
    assert content == remains.content, f"silently wrong: {content!r:.200}"
    return False


def flipped(data: bytes, at: int, bit: int) -> bytes:
    """`data` with one bit changed."""
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    return bytes(changed)
