"""Job types that use what the plugins do not: random numbers, arrays by reference from stage to stage, every kind of
value, scratch folders, empty partitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mapreduce import Context, History, Job, Outputs, Stage


@dataclass
class Walk(Job):
    """Two rounds of random arrays; the second reads the outputs of the first by reference."""

    tasks: int = 7
    size: int = 1000

    def next_stage(self, history: History) -> Stage | None:
        if len(history) == 0:
            return Stage(range(self.tasks), "draw", map=self.draw, reduce=self.add, reduces=3)
        if len(history) == 1:
            shared = {"sums": history[-1].outputs, "scale": np.arange(self.size, dtype=np.float32)}
            return Stage(
                range(self.tasks), "mix", map=self.mix, reduce=self.add, reduces=5, shared=shared, state={"round": 1}
            )
        return None

    def draw(self, split: int, ctx: Context) -> Iterator[tuple[int, Any]]:
        ctx.count("drawn", self.size)
        for key in range(4):
            yield key, ctx.rng.normal(size=self.size)

    def mix(self, split: int, ctx: Context) -> Iterator[tuple[int, Any]]:
        for key, total in ctx.shared["sums"]:
            yield key, total * ctx.shared["scale"] + ctx.rng.random() * split

    def add(self, key: int, values: Iterable[Any], ctx: Context) -> Iterator[tuple[int, Any]]:
        total = np.zeros(self.size)
        for value in values:
            total = total + value
        yield key, total + ctx.rng.random()

    def finish(self, results: Outputs, ctx: Context) -> Any:
        return {"total": float(sum(total.sum() for _, total in results)), "draw": ctx.rng.random()}


@dataclass
class Zoo(Job):
    """Values of every kind, through scratch files, and partitions that stay empty."""

    tasks: int = 3

    def splits(self) -> Iterable[Any]:
        return [(number, "é\n", None, 1.5, b"\xff") for number in range(self.tasks)]

    def map(self, split: Any, ctx: Context) -> Iterator[tuple[str, Any]]:
        folder = ctx.scratch()
        (folder / "note").write_bytes(split[4])
        yield "zoo", split
        yield (
            "zoo",
            {"nested": [1, (2, 3)], "array": np.eye(2, dtype=np.int8), "scratch": (folder / "note").read_bytes()},
        )
        yield "ant", 2**62 + split[0]
        yield "ant", float("inf")

    def reduce(self, key: str, values: Iterable[Any], ctx: Context) -> Iterator[tuple[str, Any]]:
        for number, value in enumerate(values):
            yield key, (number, value)

    def finish(self, results: Outputs, ctx: Context) -> Any:
        return sum(1 for _ in results)


@dataclass
class Nothing(Job):
    """No splits at all."""

    def splits(self) -> Iterable[Any]:
        return []

    def map(self, split: Any, ctx: Context) -> Iterator[tuple[str, int]]:
        yield "never", 1

    def finish(self, results: Outputs, ctx: Context) -> Any:
        return list(results)


@dataclass
class Vanishing(Job):
    """A job whose input is gone between the check and the first task."""

    path: Path

    def check(self) -> None:
        self.path.unlink()

    def splits(self) -> Iterable[Any]:
        return [self.path]

    def map(self, split: Path, ctx: Context) -> Iterator[tuple[str, int]]:
        yield "size", len(split.read_bytes())
