"""A job type whose worker lies where the environment says so: its blobs are altered once they have their names."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mapreduce import Job
from mapreduce.blobs import BlobWriter
from mapreduce.tasks import REDUCE

HOW = os.environ.get("DAF_TEST_LIES", "")
"""flip: one byte in the middle is another; cut: the end is missing; zero: all bytes are 0; last: as flip, but only what
reduce tasks make."""

honest = BlobWriter.commit


def commit(self: BlobWriter, known: bytes | None = None) -> tuple[bytes, int]:
    digest, size = honest(self, known)
    path = Path(self._directory) / digest.hex()
    if HOW == "last" and path.parent.name != str(int(REDUCE)):
        return digest, size
    data = bytearray(path.read_bytes())
    if HOW in ("flip", "last"):
        data[len(data) // 2] ^= 1
    path.write_bytes(bytes(size) if HOW == "zero" else data[: size // 2] if HOW == "cut" else data)
    return digest, size


if HOW:
    BlobWriter.commit = commit  # type: ignore[method-assign]


@dataclass
class Told(Job):
    """Sums arrays by key."""

    count: int = 24
    size: int = 100
    reduces = 3

    def splits(self):
        return range(self.count)

    def map(self, split, ctx):
        time.sleep(0.02)
        for key in range(6):
            yield key, np.full(self.size, split * 10 + key, np.int64)

    def reduce(self, key, values, ctx):
        yield key, sum(values)

    def finish(self, results, ctx):
        return sum(int(value.sum()) for _, value in results)


@dataclass
class Unread(Told):
    """The same, and what its reduces made is for the user to read."""

    def finish(self, results, ctx):
        return None
