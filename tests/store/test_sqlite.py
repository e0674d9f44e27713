"""The SQLite store keeps the contract, and what it promises beyond: kills, full disks, rot, other owners."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mapreduce.errors import StoreError
from mapreduce.store import Store, open_store
from tests.store.contract import StoreContract


class TestSqlite(StoreContract):
    @pytest.fixture(params=["full", "normal"])
    def store(self, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
        store = open_store(f"sqlite://{tmp_path}/state.db?sync={request.param}")
        yield store
        store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def opened(path: Path) -> Store:
    return open_store(f"sqlite://{path}")


def filled(path: Path) -> None:
    store = opened(path)
    for batch in range(20):
        store.rpush("log", *(b"%d-%d" % (batch, n) * 20 for n in range(10)))
        store.hset("h", f"f{batch}", b"value" * 50)
        store.set(f"s{batch}", b"text" * 50)
        store.commit()
    store.close()


def altered(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(sql)


def everything(store: Store) -> tuple[object, ...]:
    texts = [(key, store.get(key)) for key in store.scan("s")]
    return store.lrange("log"), store.hgetall("h"), texts, store.hget("h", "f3")


def test_what_was_committed_is_there_again(path: Path) -> None:
    store = opened(path)
    store.rpush("l", b"1", b"2")
    store.commit()
    store.rpush("l", b"3")
    store.commit(sync=False)
    store.rpush("l", b"never committed")
    store.close()
    assert opened(path).lrange("l") == [b"1", b"2", b"3"]


def test_a_url_with_an_absolute_path_is_opened_again(path: Path) -> None:
    """`sqlite:///` and `/folder/file` make four slashes, which a URI of SQLite takes for a host."""
    for _ in range(2):
        store = open_store(f"sqlite:///{path.absolute()}")
        store.set("key", b"value")
        store.commit()
        store.close()


def test_a_second_owner_is_refused_and_told_who_the_first_is(path: Path) -> None:
    first = opened(path)
    with pytest.raises(StoreError, match=f"in use by process {os.getpid()}"):
        opened(path)
    first.close()
    opened(path).close()


@pytest.mark.parametrize("sync", [True, False])
def test_kill_9_loses_nothing_committed_and_frees_the_lock(path: Path, sync: bool) -> None:
    code = f"""
from mapreduce.store import open_store
store = open_store("sqlite://{path}")
for number in range(100_000):
    store.rpush("l", b"%d" % number, b"x" * 500)
    store.commit(sync={sync})
    print(number, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = [int(process.stdout.readline()) for _ in range(100)]
        process.send_signal(signal.SIGKILL)
    store = opened(path)
    assert store.llen("l") // 2 > said[-1]
    assert [int(item) for item in store.lrange("l")[::2]] == list(range(store.llen("l") // 2))


@pytest.mark.parametrize("seed", range(30))
def test_flipped_bits_are_detected_or_harmless(path: Path, seed: int) -> None:
    print(f"seed {seed}")
    filled(path)
    store = opened(path)
    before = everything(store)
    store.close()
    rng = random.Random(seed)
    data = bytearray(path.read_bytes())
    for _ in range(4):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    try:
        after = everything(opened(path))
    except StoreError as error:
        assert str(path) in str(error)
    else:
        assert after == before


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_a_shortened_file_is_refused(path: Path, keep: float) -> None:
    filled(path)
    os.truncate(path, int(path.stat().st_size * keep))
    with pytest.raises(StoreError, match=r"corrupt.*backup"):
        everything(opened(path))


def test_a_log_torn_at_any_place_is_a_prefix_of_what_was_written(path: Path, tmp_path: Path) -> None:
    store = opened(path)
    store.set("n", b"0")
    store.commit()
    sizes = []
    log = path.with_name("state.db-wal")
    for number in range(1, 6):
        store.rpush("l", b"%d" % number * 300)
        store.set("n", b"%d" % number)
        store.commit()
        sizes.append(log.stat().st_size)
    rng = random.Random(7)
    for cut in [*sizes, *(rng.randrange(sizes[0], sizes[-1]) for _ in range(40))]:
        copy = tmp_path / "copy.db"
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
        os.truncate(f"{copy}-wal", cut)
        torn = opened(copy)
        whole = max(number for number, size in enumerate(sizes, 1) if size <= cut)
        assert torn.get("n") == b"%d" % whole
        assert torn.lrange("l") == [b"%d" % number * 300 for number in range(1, whole + 1)]
        torn.close()


def test_a_missing_item_of_a_list_is_detected(path: Path) -> None:
    filled(path)
    altered(path, "DELETE FROM item WHERE id = (SELECT max(id) - 5 FROM item)")
    with pytest.raises(StoreError, match="should have 200 items"):
        opened(path).lrange("log")


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE list SET length = 150",
        "UPDATE list SET length = 250",
        "UPDATE list SET key = 'lag'",
        "UPDATE list SET id = id + 1",
        "DELETE FROM list",
        "UPDATE text SET key = 's99' WHERE key = 's3'",
        "UPDATE hash SET field = 'f99' WHERE field = 'f3'",
        "UPDATE hash SET field = CAST(x'ff' AS TEXT) WHERE field = 'f3'",
    ],
)
def test_rows_that_are_not_what_was_written_are_found_at_open(path: Path, sql: str) -> None:
    filled(path)
    altered(path, sql)
    with pytest.raises(StoreError, match=r"corrupt .*Nothing was changed"):
        opened(path)


def test_a_value_in_the_wrong_place_is_detected(path: Path) -> None:
    filled(path)
    altered(path, "UPDATE text SET (value, crc) = (SELECT value, crc FROM text WHERE key = 's1') WHERE key = 's2'")
    with pytest.raises(StoreError, match=r"checksum of 's2'"):
        opened(path).get("s2")


def test_a_file_that_is_no_database(path: Path) -> None:
    path.write_bytes(b"hello, I am a text file\n" * 100)
    with pytest.raises(StoreError, match="corrupt"):
        opened(path)
    assert path.read_bytes().startswith(b"hello")


def test_a_database_of_another_program_is_left_alone(path: Path) -> None:
    altered(path, "CREATE TABLE theirs (x)")
    with pytest.raises(StoreError, match="another program"):
        opened(path)


def test_a_store_of_a_newer_version_is_refused(path: Path) -> None:
    opened(path).close()
    altered(path, "PRAGMA user_version=99")
    with pytest.raises(StoreError, match="format 99"):
        opened(path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot open the store"):
        opened(tmp_path / "no" / "state.db")


def test_a_full_disk_keeps_what_was_committed_and_what_was_not_written(path: Path) -> None:
    """A limit on the size of files stands for the disk: SQLite sees the same failed write."""
    store = opened(path)
    store.rpush("l", b"kept")
    store.commit()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (256 * 1024, hard))
        store.rpush("l", b"x" * 1_000_000)
        for _ in range(3):
            with pytest.raises(StoreError, match=r"state\.db"):
                store.commit()
        assert store.lrange("l") == [b"kept"] and store.pending == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    store.commit()
    assert store.llen("l") == 2
    store.close()
    assert opened(path).lrange("l") == [b"kept", b"x" * 1_000_000]
