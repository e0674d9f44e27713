"""Job types that workers are tested with: some that work, and one for each way to do harm."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from mapreduce import Job


@dataclass
class Empty(Job):
    """Tasks that do nothing."""

    count: int = 10

    def splits(self):
        return range(self.count)

    def map(self, split, ctx):
        return None


@dataclass
class Letters(Job):
    """Counts letters; each split is a text."""

    texts: list[str]
    sleep: float = 0.0

    def splits(self):
        return self.texts

    def map(self, split, ctx):
        time.sleep(self.sleep)
        ctx.count("texts")
        for letter in split:
            yield letter, 1

    def combine(self, key, values):
        return sum(values)

    def reduce(self, key, values, ctx):
        yield key, sum(values)

    def finish(self, results, ctx):
        return dict(results)


@dataclass
class Arrays(Job):
    """Sums `count` arrays of `size` bytes."""

    count: int = 4
    size: int = 1 << 20

    def splits(self):
        return range(self.count)

    def map(self, split, ctx):
        yield 0, np.full(self.size // 8, split, np.float64)

    def reduce(self, key, values, ctx):
        total = np.zeros(self.size // 8)
        for value in values:
            total += value
        yield key, float(total[0])

    def finish(self, results, ctx):
        return dict(results)


@dataclass
class Harm(Job):
    """Split 3 of `count` does harm in the way that `how` says; the others yield their number."""

    how: str = "raise"
    count: int = 8
    size: int = 0

    def splits(self):
        return range(self.count)

    def map(self, split, ctx):
        if split == 3:
            getattr(self, f"do_{self.how}")()
        yield split, split

    def finish(self, results, ctx):
        return sorted(key for key, _ in results)

    def do_raise(self) -> Any:
        raise ValueError("three is too many")

    def do_exit(self) -> None:
        print("my last words")
        os._exit(7)

    def do_sysexit(self) -> None:
        sys.exit("leaving")

    def do_segv(self) -> None:
        ctypes.string_at(0)

    def do_hang(self) -> None:
        while True:
            time.sleep(0.01)

    def do_memory(self) -> None:
        np.ones(self.size // 8)

    def do_recursion(self) -> None:
        self.do_recursion()

    def do_print(self) -> None:
        for number in range(self.size // 100):
            print(f"{number:99d}")

    def do_write(self) -> None:
        with open("big", "wb") as file:
            file.write(bytes(self.size))
