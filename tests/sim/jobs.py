"""Jobs for the simulator: a few stages whose results depend on everything that they read, and on its order.

A job is a `Shape`, drawn from a seed. Its tasks are pure functions of bytes to bytes; each chains hashes over what it
reads, in the order in which it got it, so a missing, doubled or misplaced input changes the job's value. `sequential`
computes that value with no scheduler at all: it is what every schedule is held against.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

Key = tuple[int, int, int]  # (stage, kind, index)
PLAN, MAP, REDUCE, FINISH = range(4)


def mix(*parts: object) -> bytes:
    digest = blake2b(digest_size=16)
    for part in parts:
        raw = part if isinstance(part, bytes) else repr(part).encode()
        digest.update(len(raw).to_bytes(4, "little"))
        digest.update(raw)
    return digest.digest()


@dataclass(frozen=True)
class Shape:
    """`stages` are (maps, reduces, what it shares): nothing, the last stage's outputs, or those and what that stage
    shared. `flaky` says how often a task fails before it works, `poison` the task that always fails, `killer` the one
    that always takes its worker along; `bad` are maps that always fail too, of which `skip_bad` may be set aside."""

    seed: int
    type: str
    stages: tuple[tuple[int, int, str], ...]
    flaky: dict[Key, int] = field(default_factory=dict)
    poison: Key | None = None
    killer: Key | None = None
    slow: float = 0.05
    bad: frozenset[Key] = frozenset()
    skip_bad: int = 0

    @property
    def doomed(self) -> bool:
        """More splits are bad than may be set aside."""
        return len(self.bad) > self.skip_bad

    def seconds(self, key: Key, rng: random.Random) -> float:
        """How long an attempt takes; one in thirty is a straggler."""
        return self.slow * rng.uniform(0.2, 2.0) * (20.0 if rng.random() < 0.03 else 1.0)


@dataclass(frozen=True)
class Planned:
    """What PLAN answers, in bytes: `shares` are positions in (outputs of the last stage + its inputs)."""

    last: bool
    maps: int = 0
    reduces: int = 0
    setup: bytes = b""
    splits: bytes = b""
    shares: tuple[int, ...] = ()


def draw(seed: int, type: str, rng: random.Random) -> Shape:
    """A job at random; now and then with empty stages, failing tasks, or none at all."""
    stages = []
    for _ in range(rng.choice((1, 1, 2, 2, 3, 4))):
        maps, reduces = rng.choice((0, 1, 2, 3, 5, 9, 20)), rng.choice((0, 1, 1, 2, 3, 5))
        stages.append((maps, reduces, rng.choice(("nothing", "outputs", "outputs", "both"))))
    keys = [(n, MAP, i) for n, s in enumerate(stages) for i in range(s[0])]
    keys += [(n, REDUCE, i) for n, s in enumerate(stages) for i in range(s[1])]
    keys += [(n, PLAN, 0) for n in range(len(stages) + 1)] + [(len(stages), FINISH, 0)]
    often = rng.choice((0.0, 0.06, 0.06, 0.4))
    flaky = {key: rng.choice((1, 2, 2)) for key in keys if rng.random() < often}
    poison = rng.choice(keys) if rng.random() < 0.04 else None
    killer = rng.choice(keys) if poison is None and rng.random() < 0.02 else None
    bad, skip_bad = draw_bad(random.Random(f"bad {seed}"), [key for key in keys if key != killer])
    if poison is not None and poison[1] == MAP:
        bad, poison = bad | {poison}, None
    return Shape(seed, type, tuple(stages), flaky, poison, killer, rng.choice((0.01, 0.05, 0.05, 0.2)), bad, skip_bad)


def draw_bad(rng: random.Random, keys: Sequence[Key]) -> tuple[frozenset[Key], int]:
    """Splits that cannot be worked on, in one job of five, and how many the job lets go: mostly enough."""
    maps = [key for key in keys if key[1] == MAP]
    if not maps or rng.random() < 0.8:
        return frozenset(), rng.choice((0, 0, 2))
    bad = frozenset(rng.sample(maps, min(len(maps), rng.choice((1, 1, 2, 4)))))
    return bad, max(0, len(bad) + rng.choice((-1, 0, 0, 0, 2)))


# ---------------------------------------------------------------------------------------------------------- the tasks


def plan(
    shape: Shape, stage: int, outputs: Sequence[bytes], inputs: Sequence[bytes], setup: bytes, counters: dict[str, int]
) -> Planned:
    """PLAN of `stage`, from what the stage before left."""
    seen = mix(b"plan", shape.seed, stage, *outputs, b"|", *inputs, setup, sorted(counters.items()))
    if stage == len(shape.stages):
        return Planned(True, setup=seen, shares=tuple(i for i, output in enumerate(outputs) if output)[:1])
    maps, reduces, sharing = shape.stages[stage]
    shares = [i for i, output in enumerate(outputs) if output] if sharing != "nothing" else []
    if sharing == "both":
        shares += [len(outputs) + i for i in range(len(inputs))]
    return Planned(False, maps, reduces, seen, mix(b"splits", seen) if maps else b"", tuple(shares))


def map_task(shape: Shape, stage: int, index: int, setup: bytes, splits: bytes, inputs: Sequence[bytes]) -> list[bytes]:
    """The partitions of one map's output; some are empty."""
    base = mix(b"map", stage, index, setup, splits, *inputs)
    parts = [mix(base, p) for p in range(shape.stages[stage][1])]
    return [part[: 1 + part[1] % 9] if part[0] % 3 else b"" for part in parts]


def map_counters(stage: int, index: int) -> dict[str, int] | None:
    return {"records": 1 + index % 3, f"stage{stage}": 1} if index % 4 != 3 else None


def reduce_task(
    stage: int, index: int, setup: bytes, segments: Sequence[tuple[int, bytes]], inputs: Sequence[bytes]
) -> bytes:
    """Chained over the segments in the order given; empty where the partition is."""
    if not segments:
        return b""
    return mix(b"reduce", stage, index, setup, *inputs, *[part for number, data in segments for part in (number, data)])


def finish(
    shape: Shape, setup: bytes, outputs: Sequence[bytes], inputs: Sequence[bytes], counters: dict[str, int]
) -> bytes:
    return mix(b"finish", shape.seed, setup, *outputs, b"|", *inputs, sorted(counters.items()))


# ---------------------------------------------------------------------------------------------------------- the oracle


@dataclass
class Truth:
    """What a job gives when one process runs it, and what each reduce reads on the way: (map index, bytes) by (stage,
    partition)."""

    value: bytes = b""
    counters: dict[str, int] = field(default_factory=dict)
    segments: dict[tuple[int, int], list[tuple[int, bytes]]] = field(default_factory=dict)
    tasks: int = 0
    skipped: list[tuple[int, int]] = field(default_factory=list)


def sequential(shape: Shape) -> Truth:
    """Run a job in one loop."""
    truth = Truth()
    outputs: list[bytes] = []
    inputs: list[bytes] = []
    setup, counters = b"", dict[str, int]()
    for stage in range(len(shape.stages) + 1):
        planned = plan(shape, stage, outputs, inputs, setup, counters)
        truth.tasks += 1
        shared = [[*outputs, *inputs][i] for i in planned.shares]
        if planned.last:
            truth.value = finish(shape, planned.setup, outputs, inputs, counters)
            truth.tasks += 1
            return truth
        setup, counters, inputs = planned.setup, {}, shared
        bad = [i for i in range(planned.maps) if (stage, MAP, i) in shape.bad]
        truth.skipped += [(stage, i) for i in bad]
        maps = [
            [b""] * planned.reduces if i in bad else map_task(shape, stage, i, setup, planned.splits, inputs)
            for i in range(planned.maps)
        ]
        for i in range(planned.maps):
            if i in bad:
                continue
            for name, n in (map_counters(stage, i) or {}).items():
                counters[name] = counters.get(name, 0) + n
                truth.counters[name] = truth.counters.get(name, 0) + n
        outputs = []
        for p in range(planned.reduces):
            segments = [(i, parts[p]) for i, parts in enumerate(maps) if parts[p]]
            truth.segments[stage, p] = segments
            outputs.append(reduce_task(stage, p, setup, segments, inputs))
        truth.tasks += planned.maps + planned.reduces
    raise AssertionError("a job ends")
