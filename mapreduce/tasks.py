"""Run one task: plan, map, reduce, finish. Every engine calls these four functions, so a job means the same wherever it
runs.

They are functions of (job, stage, task number, bytes of earlier tasks) to bytes left in the node's blob store. `Env` is
what a process keeps for a job from task to task: the job object, its blobs, and caches whose absence would change speed
and nothing else.

A stage travels as `setup`, a packet that only these functions read: the names of the job's methods, `state`, the splits
(when small; else they are a blob), and for each shared value either the value itself (when small) or the position of
its blobs among the stage's `inputs`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import shuffle
from .blobs import BlobStore, Reader
from .context import FINISH, MAP, PLAN, REDUCE, TaskContext
from .job import History, Job, Outputs, Stage, StageResult
from .roots import Roots
from .wire import codec
from .wire.messages import Ref

if TYPE_CHECKING:
    import numpy as np

INLINE_BYTES = 16 << 10
"""Shared values, and splits, up to this size travel inside the setup."""

Segment = tuple[int, Ref, int, int]
"""(map index, blob, byte offset, byte size)"""


@dataclass
class Env:
    """What one process keeps for one job.

    Attributes:
        scratch: a folder of this process, for spills and `ctx.scratch`.
        budget: bytes a map task holds before it spills.
        report: takes (done, total, note) of the task at hand.
        node: name of the node whose store this is.
        roots: where artifacts may be written.
        waiting: tasks of the unit at hand that wait in this process.
    """

    job: Job
    job_id: int
    seed: int
    store: BlobStore
    reader: Reader
    scratch: Path
    node: str = ""
    budget: int = 128 << 20
    report: Callable[[float, float, str], None] = lambda done, total, note: None
    sizes: dict[int, int] = field(default_factory=dict)
    """By kind of task: the size of the last output with large arrays."""
    cache: dict[str, Any] = field(default_factory=dict)
    decoded: dict[bytes, Any] = field(default_factory=dict)
    roots: Roots = field(default_factory=Roots)
    waiting: int = 0


@dataclass(frozen=True)
class Previous:
    """What the last committed stage left: its number, setup, inputs, reduce outputs by partition (None: empty) and
    counters."""

    stage: int
    setup: bytes
    inputs: Sequence[Ref]
    outputs: Sequence[Ref | None]
    counters: Mapping[str, int]


@dataclass(frozen=True)
class Plan:
    """The answer of PLAN; see scheduler.model.StagePlan."""

    name: str
    maps: int
    reduces: int
    setup: bytes
    splits: Ref | None
    inputs: tuple[Ref, ...]
    last: bool
    counters: dict[str, int]
    share: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class TaskResult:
    """The answer of MAP and REDUCE: the blob (hash b"" when empty), a map output's partition sizes, and counters."""

    hash: bytes
    size: int
    sizes: tuple[int, ...]
    counters: dict[str, int]


@dataclass(frozen=True)
class FinishResult:
    """The answer of FINISH: a packet of {"value", "artifacts"}; see `unpack_value`."""

    value: bytes
    counters: dict[str, int]


class LoadedStage:
    """A stage as its tasks see it: splits and shared state are decoded on first use and kept for the next task."""

    def __init__(self, env: Env, number: int, setup: bytes, inputs: Sequence[Ref], splits: Ref | None, reduces: int):
        self.number = number
        self.reduces = reduces
        self.setup = codec.loads(setup)
        self.state = self.setup["state"]
        self.shared = _Shared(env, self.setup["shared"], inputs)
        self._env = env
        self._splits_ref = splits
        self._splits: list[Any] | None = self.setup.get("splits")
        self.cache: dict[str, Any] = {}
        named = {ref.hash for ref in inputs}
        for digest in env.decoded.keys() - named:
            del env.decoded[digest]

    def method(self, role: str) -> Any:
        name = self.setup[role]
        return None if name is None else getattr(self._env.job, name)

    def split(self, index: int) -> Any:
        if self._splits is None:
            assert self._splits_ref is not None
            self._splits = codec.loads(self._env.reader.read(self._env.job_id, self._splits_ref))
        return self._splits[index]


def run_plan(env: Env, number: int, previous: Previous | None) -> Plan:
    """Ask the job for stage `number`, given what stage `number` - 1 left."""
    last = None if previous is None else stage_result(env, previous)
    stage = env.job.next_stage(History(number, last))
    if stage is None:
        kept = () if previous is None else (*previous.inputs, *(ref for ref in previous.outputs if ref is not None))
        return Plan("finish", 0, 0, b"", None, kept, True, {})
    if not isinstance(stage, Stage):
        raise TypeError(
            f"{type(env.job).__name__}.next_stage must return a Stage or None, not a {type(stage).__name__}"
        )
    if stage.reduces < 1:
        raise ValueError(f"stage {stage.name!r}: reduces must be at least 1, not {stage.reduces}")
    splits = list(stage.splits)
    shared, inputs = _pack_shared(env, number, stage.shared)
    setup: dict[str, Any] = {"name": stage.name, "state": stage.state, "shared": shared}
    for role in ("map", "combine", "partition", "reduce"):
        setup[role] = _method_name(env.job, stage, role)
    if len(splits) <= INLINE_BYTES and sum(map(len, codec.dumps(splits, checksum=False))) <= INLINE_BYTES:
        ref, setup["splits"] = None, splits
    else:
        ref = _put(env, number, splits)
    return Plan(
        stage.name,
        len(splits),
        stage.reduces,
        codec.pack(setup),
        ref,
        tuple(inputs),
        False,
        {},
        stage.share or (0.0, 0.0),
    )


def run_map(env: Env, stage: LoadedStage, index: int) -> TaskResult:
    """Run one map task; its output is one blob of `stage.reduces` segments."""
    ctx = TaskContext(env, MAP, index, stage, stage.number)
    try:
        pairs = stage.method("map")(stage.split(index), ctx)
        if pairs is None:
            return TaskResult(b"", 0, (), ctx.counters)
        partition, combine = stage.method("partition"), stage.method("combine")
        collector = shuffle.Collector(stage.reduces, partition, combine, ctx.scratch, env.budget, ctx.weigh)
        collector.collect(pairs)
        if collector.empty:
            return TaskResult(b"", 0, (), ctx.counters)
        with env.store.writer(env.job_id, stage.number, MAP, collector.expected(), ctx.draft) as writer:
            sizes = collector.write(writer)
            digest, size = writer.commit()
        ctx.wrote(size)
        return TaskResult(digest, size, sizes, ctx.counters)
    finally:
        ctx.close()


def run_reduce(env: Env, stage: LoadedStage, index: int, segments: Sequence[Segment]) -> TaskResult:
    """Run one reduce task over its partition's segments, which come in map order."""
    ctx = TaskContext(env, REDUCE, index, stage, stage.number)
    reduce = stage.method("reduce")

    def produce() -> Iterator[tuple[Any, Any]]:
        buffers = [_segment(env, segment) for segment in segments]
        for key, values in shuffle.merge(buffers):
            yield from reduce(key, values, ctx) or ()

    try:
        stream = produce()
        first = next(stream, None)
        if first is None:
            return TaskResult(b"", 0, (), ctx.counters)
        with env.store.writer(env.job_id, stage.number, REDUCE, ctx.weigh(first[1]), ctx.draft) as writer:
            shuffle.write_pairs(writer, itertools.chain([first], stream))
            digest, size = writer.commit()
        ctx.wrote(size)
        return TaskResult(digest, size, (), ctx.counters)
    finally:
        ctx.close()


def run_finish(env: Env, number: int, previous: Previous | None) -> FinishResult:
    """Run the job's `finish` over the last stage's outputs."""
    last = None if previous is None else stage_result(env, previous)
    ctx = TaskContext(env, FINISH, 0, last, number)
    try:
        value = env.job.finish(Outputs([]) if last is None else last.outputs, ctx)
        return FinishResult(codec.pack({"value": value, "artifacts": ctx.artifacts}), ctx.counters)
    finally:
        ctx.close()


def unpack_value(value: bytes) -> tuple[Any, list[tuple[str, str, int]]]:
    """(what `finish` returned, artifacts as (path, sha256, size))."""
    plain = codec.loads(value)
    return plain["value"], [tuple(artifact) for artifact in plain["artifacts"]]


def stage_result(env: Env, previous: Previous) -> StageResult:
    """The last stage as `next_stage` and `finish` see it."""
    setup = codec.loads(previous.setup)
    shared = _Shared(env, setup["shared"], previous.inputs)
    outputs = outputs_of(env.reader, env.job_id, previous.outputs)
    return StageResult(setup["name"], previous.stage, setup["state"], shared, outputs, dict(previous.counters))


def outputs_of(reader: Reader, job_id: int, refs: Sequence[Ref | None]) -> Outputs:
    """Reduce outputs, read when iterated."""

    def part(ref: Ref | None) -> Callable[[], Iterator[tuple[Any, Any]]]:
        return lambda: iter(()) if ref is None else shuffle.pairs(reader.read(job_id, ref))

    def beside(count: int) -> tuple[np.ndarray, tuple[int, ...]] | None:
        from .beside import side_by_side

        some = [ref for ref in refs[:count] if ref is not None]
        return side_by_side(reader, job_id, some) if some and len(some) == count else None

    return Outputs([part(ref) for ref in refs], [() if ref is None else (ref,) for ref in refs], beside)


def _segment(env: Env, segment: Segment) -> Iterator[shuffle.Chunk]:
    _, ref, offset, size = segment
    return shuffle.chunks(env.reader.read(env.job_id, ref, offset, size))


class _Shared(Mapping[str, Any]):
    """`ctx.shared`: values decoded on first use, kept by hash while some stage at hand names them."""

    def __init__(self, env: Env, spec: dict[str, Any], inputs: Sequence[Ref]):
        self._env, self._spec, self._inputs = env, spec, inputs
        self._values: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            self._values[name] = self._decode(*self._spec[name])
        return self._values[name]

    def _decode(self, how: str, what: Any) -> Any:
        if how == "value":
            return what
        if how == "outputs":
            refs = [None if position is None else self._inputs[position] for position in what]
            return outputs_of(self._env.reader, self._env.job_id, refs)
        ref = self._inputs[what]
        if ref.hash not in self._env.decoded:
            self._env.decoded[ref.hash] = codec.loads(self._env.reader.read(self._env.job_id, ref))
        return self._env.decoded[ref.hash]

    def spec(self, name: str) -> tuple[str, Any, list[Ref]]:
        """How a value is stored, to hand it on to the next stage without reading it."""
        how, what = self._spec[name]
        positions = [] if how == "value" else [what] if how == "blob" else [p for p in what if p is not None]
        return how, what, [self._inputs[position] for position in positions]

    def __iter__(self) -> Iterator[str]:
        return iter(self._spec)

    def __len__(self) -> int:
        return len(self._spec)


def _pack_shared(env: Env, number: int, shared: Mapping[str, Any]) -> tuple[dict[str, Any], list[Ref]]:
    spec: dict[str, Any] = {}
    inputs: list[Ref] = []
    for name, value in shared.items():
        if isinstance(value, Outputs):
            positions: list[int | None] = []
            for refs in value.refs:
                positions.append(len(inputs) if refs else None)
                inputs.extend(refs)
            spec[name] = ["outputs", positions]
            continue
        parts = codec.dumps(value, checksum=False)  # a blob of its own: it has a hash
        if sum(map(len, parts)) <= INLINE_BYTES:
            spec[name] = ["value", value]
        else:
            spec[name] = ["blob", len(inputs)]
            inputs.append(_ref(env, number, env.store.put(env.job_id, number, PLAN, parts)))
    return spec, inputs


def _put(env: Env, number: int, value: Any) -> Ref:
    return _ref(env, number, env.store.put(env.job_id, number, PLAN, codec.dumps(value, checksum=False)))


def _ref(env: Env, number: int, stored: tuple[bytes, int]) -> Ref:
    return Ref(stored[0], stored[1], env.node, number, PLAN)


def _method_name(job: Job, stage: Stage, role: str) -> str | None:
    method = getattr(stage, role)
    name = method if isinstance(method, str) or method is None else getattr(method, "__name__", None)
    if role == "combine" and (name is None or getattr(job, name, None) is None):
        return None
    if not isinstance(name, str) or not callable(getattr(job, name, None)):
        raise TypeError(f"stage {stage.name!r}: {role} must be a method of {type(job).__name__}, not {method!r}")
    return name
