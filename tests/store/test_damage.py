"""Torn, cut, flipped, deleted: what was committed is there, or it is said that it is not, and where. Some bytes of each
file here; every byte in `python -m tests.reliability --only torn`."""

from __future__ import annotations

import logging
import os
import random
import re
import time
from pathlib import Path

import pytest

from mapreduce.errors import StoreError
from mapreduce.store import open_store, seal
from mapreduce.store.wal import walk
from tests.store.damage import Remains, everything, flipped, harmless_or_told, killed


@pytest.fixture(scope="module")
def remains(tmp_path_factory: pytest.TempPathFactory) -> Remains:
    return killed(tmp_path_factory.mktemp("killed") / "store")


@pytest.fixture
def rng() -> random.Random:
    seed = int(os.environ.get("DAF_SEED", time.time_ns() % 2**32))
    print(f"seed {seed}")
    return random.Random(seed)


def test_what_a_kill_leaves_is_whole(remains: Remains, tmp_path: Path) -> None:
    path = remains.lay_out(tmp_path / "copy")
    assert everything(path) == remains.content != remains.before
    assert walk(path.with_name("state.db-wal")).why == ""  # closing folded it in


def test_a_transaction_that_was_being_written_is_there_whole_or_not_at_all(
    remains: Remains, tmp_path: Path, rng: random.Random
) -> None:
    log = remains.files["-wal"]
    cuts = [remains.last, remains.last + 1, len(log) - 1, len(log)]
    for cut in cuts + [rng.randrange(remains.last, len(log)) for _ in range(60)]:
        path = remains.lay_out(tmp_path / "copy", wal=log[:cut], seal=remains.seal_before)
        assert everything(path) == (remains.content if cut == len(log) else remains.before), f"cut at {cut}"


def test_a_transaction_that_was_acknowledged_is_missed(remains: Remains, tmp_path: Path, rng: random.Random) -> None:
    log = remains.files["-wal"]
    for cut in [0, 1, 32, remains.last, len(log) - 1, *(rng.randrange(len(log)) for _ in range(40))]:
        path = remains.lay_out(tmp_path / "copy", wal=log[:cut])
        with pytest.raises(StoreError, match=r"ends with commit \d+, and 12 were made"):
            everything(path)


@pytest.mark.parametrize("name", ["db", "wal", "seal", "folded"])
def test_a_flipped_bit_is_told_or_harmless(remains: Remains, tmp_path: Path, rng: random.Random, name: str) -> None:
    size = len(remains.part(name))
    told = [
        harmless_or_told(remains, tmp_path / "copy", name, rng.randrange(size), rng.randrange(8)) for _ in range(120)
    ]
    if name == "wal":  # every bit of it matters but those that nothing reads: of the header, of frames' salts
        assert sum(told) > 0.9 * len(told)


def test_damage_of_the_log_is_named_with_its_place_and_nothing_is_changed(remains: Remains, tmp_path: Path) -> None:
    at = 32 + 2 * 4120 + 24 + 1000  # in the page of the third frame
    path = remains.lay_out(tmp_path / "copy", wal=flipped(remains.files["-wal"], at, 3))
    files = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.raises(StoreError) as caught:
        everything(path)
    text = str(caught.value)
    assert re.search(r"state\.db-wal is damaged at byte 8272: .* does not match its checksum", text)
    assert "Nothing was changed" in text and "accept=older" in text and "backup" in text
    assert {name: data for name, data in files.items() if name in os.listdir(path.parent)} == files
    older = everything(path, "?accept=older")
    assert older != remains.content and everything(path) == older  # and from here on it counts again


def test_a_log_that_is_gone_is_missed(remains: Remains, tmp_path: Path) -> None:
    path = remains.lay_out(tmp_path / "copy", wal=None)
    with pytest.raises(StoreError, match=r"its log state\.db-wal is gone"):
        everything(path)


def test_an_older_copy_is_not_taken_for_the_newest(remains: Remains, tmp_path: Path) -> None:
    path = remains.lay_out(tmp_path / "copy", wal=remains.files["-wal"][: remains.last])
    with pytest.raises(StoreError, match="is whole, so this is an older state of it"):
        everything(path)
    path.with_name("state.db.seal").unlink()  # put back from a backup on purpose
    assert everything(path) == remains.before


def test_without_a_seal_the_log_itself_tells(remains: Remains, tmp_path: Path) -> None:
    """As with the stores of version 0.1.0."""
    log = remains.files["-wal"]
    for at in (3, 17, 32 + 9, 32 + 100, 32 + 4120 + 24 + 5):
        path = remains.lay_out(tmp_path / "copy", wal=flipped(log, at, 1), seal=None)
        with pytest.raises(StoreError, match=r"lacks what was committed last; its log state\.db-wal is damaged"):
            everything(path)
    for cut in (40, 5000, remains.last + 9):
        everything(remains.lay_out(tmp_path / "copy", wal=log[:cut], seal=None))


def test_after_another_boot_only_what_was_synced_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    late = killed(tmp_path / "late", sync=False)
    cut = late.files["-wal"][: late.last + 5_000]
    with pytest.raises(StoreError, match="ends with commit 11, and 12 were made"):
        everything(late.lay_out(tmp_path / "copy", wal=cut))
    monkeypatch.setattr(seal, "boot_id", lambda: "another")
    with caplog.at_level(logging.WARNING):
        assert everything(late.lay_out(tmp_path / "copy", wal=cut)) == late.before
    assert "commit 11 of 12" in caplog.text and "promised to nobody" in caplog.text
    with pytest.raises(StoreError, match="ends with commit 10, and 11 were made"):
        everything(late.lay_out(tmp_path / "copy", wal=cut[: late.last - 4120 - 9]))


def test_the_walk_counts_what_sqlite_reads(remains: Remains, tmp_path: Path, rng: random.Random) -> None:
    path = remains.lay_out(tmp_path / "copy")
    wal = path.with_name("state.db-wal")
    whole = walk(wal)
    assert (whole.torn, whole.why, whole.after) == (len(remains.files["-wal"]), "", 0) and whole.whole >= 6
    for _ in range(10):
        cut = rng.randrange(40, len(remains.files["-wal"]))
        torn = walk(remains.lay_out(tmp_path / "copy", wal=remains.files["-wal"][:cut]).with_name("state.db-wal"))
        assert torn.whole <= whole.whole and torn.torn <= cut and torn.after == 0


def test_a_kill_between_commit_and_seal_harms_nothing(remains: Remains, tmp_path: Path) -> None:
    assert everything(remains.lay_out(tmp_path / "copy", seal=remains.seal_before)) == remains.content


def test_a_store_that_is_begun_anew_does_not_ask_for_the_old_one(remains: Remains, tmp_path: Path) -> None:
    path = remains.lay_out(tmp_path / "copy", db=None, wal=None)
    store = open_store(f"sqlite://{path}")
    store.set("n", b"1")
    store.commit()
    store.close()
    assert everything(path)[0] == b"1"
