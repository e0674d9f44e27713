"""A store's files, cut at every byte of the last transaction and with a bit flipped in every byte: see
tests/store/damage.py for what is looked at."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from mapreduce.errors import StoreError
from tests.store.damage import Remains, everything, harmless_or_told, killed

PARTS = {"wal": "the log", "folded": "the store's file", "db": "the store's file under a log", "seal": "the seal"}


def torn(seed: int) -> list[tuple[str, str, str]]:
    """Every byte once; which bit of it is flipped comes from the seed. What goes wrong raises AssertionError."""
    rng = random.Random(seed)
    command = f"python -m tests.reliability --only torn --seed {seed}"
    with tempfile.TemporaryDirectory(prefix="daf-torn-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as top:
        remains = killed(Path(top) / "store")
        cuts = _cut(remains, Path(top) / "copy")
        told = {}
        for name in PARTS:
            size = len(remains.part(name))
            found = [harmless_or_told(remains, Path(top) / "copy", name, at, rng.randrange(8)) for at in range(size)]
            told[name] = f"{PARTS[name]} {sum(found):,} of {size:,} told"
    return [
        (
            "logs cut at every byte of the last transaction",
            f"{cuts:,}: there whole or not at all where it was being written, missed where it was acknowledged",
            command,
        ),
        (
            "a bit flipped in every byte of a store (told when it is opened, or nothing is missing)",
            f"{'; '.join(told.values())}; silently wrong 0",
            command,
        ),
    ]


def _cut(remains: Remains, folder: Path) -> int:
    log = remains.files["-wal"]
    for cut in range(remains.last, len(log)):
        path = remains.lay_out(folder, wal=log[:cut], seal=remains.seal_before)
        assert everything(path) == remains.before, f"cut at {cut}, while it was being written"
        path = remains.lay_out(folder, wal=log[:cut])
        try:
            everything(path)
        except StoreError as error:
            assert "were made" in str(error)
        else:
            raise AssertionError(f"cut at {cut}, after it was acknowledged, and nothing is said")
    return 2 * (len(log) - remains.last)
