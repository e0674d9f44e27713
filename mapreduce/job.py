"""All that the author of a job type sees: Job, Stage, Context, History, Outputs, Result.

A job type is a dataclass that extends `Job`; its fields are the job's parameters. The smallest useful one has `splits`,
`map` and `reduce`. A job of several stages or rounds overrides `next_stage` instead of `splits`.

What must hold for the promise of the same bits: every method is a function of its arguments, the parameters,
`ctx.shared` and `ctx.rng`, and of nothing else. Tasks may run twice, anywhere, in any order; their results count once.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np

Pair = tuple[Any, Any]


@dataclass(frozen=True)
class Stage:
    """One stage of a job: map tasks over `splits`, then `reduces` reduce tasks.

    `map`, `combine`, `partition` and `reduce` are methods of the job (or their names). `shared` is read-only state for
    every task of the stage, found in `ctx.shared`: plain data, NumPy arrays, or the `Outputs` of an earlier stage
    (passed by reference, never copied through the coordinator). `state` is small plain data for the tasks
    (`ctx.state`) and for the next call of `next_stage`.

    Attributes:
        splits: what the map tasks get, one each: small plain data.
        reduces: number of partitions, at least 1. It is a property of the job, never of the number of workers, so that
            results do not depend on where the job runs.
        share: which part of the whole job this stage is, as (from, to) between 0 and 1, for progress bars of jobs that
            know; results do not depend on it.
    """

    splits: Sequence[Any]
    name: str = "main"
    map: str | Callable[..., Any] = "map"
    combine: str | Callable[..., Any] | None = "combine"
    partition: str | Callable[..., Any] = "partition"
    reduce: str | Callable[..., Any] = "reduce"
    reduces: int = 4
    shared: Mapping[str, Any] = field(default_factory=dict)
    state: Any = None
    share: tuple[float, float] | None = None


class Outputs(Iterable[Pair]):
    """The (key, value) pairs that a stage's reduce tasks yielded: by partition, within a partition in the order they
    were yielded.

    Iterate over all, or over one `partition(i)`. Arrays are read-only views of mapped files. Passing an `Outputs` on in
    `Stage.shared` costs nothing: only its references travel."""

    def __init__(
        self,
        parts: Sequence[Callable[[], Iterator[Pair]]],
        refs: Sequence[Any] = (),
        beside: Callable[[int], tuple[np.ndarray, tuple[int, ...]] | None] = lambda count: None,
    ):
        self._parts = parts
        self.refs = tuple(refs)
        self._beside = beside

    @property
    def partitions(self) -> int:
        """How many partitions there are, empty ones included."""
        return len(self._parts)

    def partition(self, index: int) -> Iterator[Pair]:
        """The pairs of one partition."""
        return self._parts[index]()

    def side_by_side(self, count: int | None = None) -> tuple[np.ndarray, tuple[int, ...]]:
        """The arrays of the first `count` partitions (by default of all), which hold one value each, as parts of one:
        (array, where each partition begins along its first axis).

        Where all of them are files of this host nothing is copied: they are mapped side by side, and between two there
        may be items that mean nothing. Read-only. Raises ValueError when a partition does not hold one array, or they
        differ in more than their length.
        """
        count = self.partitions if count is None else count
        found = self._beside(count)
        if found is None:
            found = joined([[value for _, value in self.partition(number)] for number in range(count)])
        return found

    def __iter__(self) -> Iterator[Pair]:
        for part in self._parts:
            yield from part()

    def __repr__(self) -> str:
        return f"<Outputs of {self.partitions} partitions>"


def joined(values: Sequence[Sequence[Any]]) -> tuple[np.ndarray, tuple[int, ...]]:
    """The one array of each partition, copied into one: (array, where each begins). Raises ValueError."""
    import numpy as np

    arrays = [array for some in values for array in some]
    if any(len(some) != 1 for some in values) or not all(isinstance(array, np.ndarray) for array in arrays):
        raise ValueError("only partitions that hold one array each can be put side by side")
    if len({(array.dtype, array.shape[1:]) for array in arrays}) > 1:
        raise ValueError("only arrays that differ in nothing but their length can be put side by side")
    whole = np.concatenate(arrays)
    whole.flags.writeable = False
    return whole, (0, *itertools.accumulate(len(array) for array in arrays[:-1]))


@dataclass(frozen=True)
class StageResult:
    """What a committed stage left: its name, number, `state` and `shared` as it was planned, its outputs and the job's
    counters so far."""

    name: str
    index: int
    state: Any
    shared: Mapping[str, Any]
    outputs: Outputs
    counters: Mapping[str, int]


class History:
    """The stages committed so far. `len(history)` counts them and `history[-1]` is the last; of earlier ones nothing is
    kept but what
    the last one was given in `shared` and `state`, so a job of many rounds does not grow."""

    def __init__(self, count: int, last: StageResult | None):
        self._count = count
        self._last = last

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> StageResult:
        if self._last is None or index not in (-1, self._count - 1):
            raise IndexError(
                "only the last committed stage is kept: hand on what you need of earlier ones in shared or state"
            )
        return self._last

    @property
    def last(self) -> StageResult | None:
        """The last committed stage, or None before the first."""
        return self._last


@dataclass(frozen=True)
class Artifact:
    """A file that the job left for the user: absolute path, SHA-256 in hex, size in bytes."""

    path: Path
    sha256: str
    size: int


class Context(Protocol):
    """What a task can ask of the engine."""

    job: int
    stage: int
    task: int
    """Number of the map task (its split's index) or of the partition."""

    @property
    def shared(self) -> Mapping[str, Any]:
        """The stage's read-only state, decoded once a process."""

    @property
    def state(self) -> Any:
        """The stage's `state`."""

    @property
    def rng(self) -> np.random.Generator:
        """A generator seeded by (job seed, stage, kind of task, task): the same numbers wherever and however often the
        task runs."""

    def count(self, name: str, n: int = 1) -> None:
        """Add to a counter of the job. Only the attempt that is accepted counts. One whose name begins with an
        underscore is the job's own: people are not shown it, programs are."""

    def progress(self, done: float, total: float = 1.0, note: str = "") -> None:
        """Say how far this task is; cheap enough to call often."""

    def cached(self, key: str, make: Callable[[], Any], scope: Literal["job", "stage"] = "job") -> Any:
        """`make()` the first time, and the same object later, in this process: for the whole job (data that every round
        needs), or
        until the stage ends (what all its tasks derive from `shared`)."""

    def empty(self, shape: int | tuple[int, ...], dtype: Any = "float64") -> np.ndarray:
        """Memory for an array that this task fills and yields, as `numpy.empty` gives it, but where the output will
        lie: what is yielded whole or from the front (`array[:used]`), in the order of partitions, is not copied. Do not
        change it after the task."""

    def final(self, part: np.ndarray) -> None:
        """Of an array from `empty`, this part (contiguous, behind those that were named before) will not change any
        more: it is hashed at once, while it is in the processor's cache. A hint that saves a pass over memory."""

    def artifact(self, path: str | Path, mode: str = "wb") -> AbstractContextManager[Any]:
        """Open a file that appears under `path` only when the block ends well. In `finish` it is listed in the job's
        result; in map and
        reduce yield the opened file's `.record()` after the block and hand it to `keep` in `finish`."""

    def keep(self, artifact: Any) -> None:
        """List a file written by an earlier task among the job's artifacts."""

    def scratch(self) -> Path:
        """A private folder that is deleted when the task ends."""


class Job:
    """Base of all job types. Subclass it as a dataclass; the docstring's first line is its help text.

    Attributes:
        name: by which `daf run NAME` finds it; the class name in lower case unless set.
        version: raise it when results change; workers with another version do not get its tasks.
        reduces: partitions of the default stage.
        preload: modules that the local engine imports once, in the process that task processes are forked from, so that
            each finds them loaded: `("numba",)`, or a module of the plugin's own. They must not start threads.
        seed: job seed for `ctx.rng`; give it as a field to make it a parameter.
    """

    name: ClassVar[str] = ""
    version: ClassVar[str] = "1"
    reduces: ClassVar[int] = 4
    preload: ClassVar[tuple[str, ...]] = ()
    seed: int = 0

    combine: Any = None
    """Optional: `combine(self, key, values) -> value`, associative; joins the values of a key
    before they leave a map task."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__.lower()

    def check(self) -> None:
        """Optional: raise `BadInput` for wrong combinations of parameters or missing input files. Runs where the job is
        submitted, before it is; must not change the job."""

    def splits(self) -> Iterable[Any]:
        """What the map tasks get, one each: small plain data (a path, a range), in a fixed order."""
        raise TypeError(f"{type(self).__name__} must define splits(), or next_stage() for a job of several stages")

    def map(self, split: Any, ctx: Context) -> Iterable[Pair]:
        """Yield any number of (key, value) for one split. Keys of a stage are all of one comparable type."""
        raise TypeError(f"{type(self).__name__} must define map(), or name another method in its Stage")

    def partition(self, key: Any, partitions: int) -> int:
        """Which partition a key belongs to: by default CRC-32 of the key, or the key itself when it is an int."""
        return default_partition(key, partitions)

    def reduce(self, key: Any, values: Iterable[Any], ctx: Context) -> Iterable[Pair] | None:
        """Yield any number of (key, value) for one key; `values` come in map order, always. By default all are passed
        on."""
        return ((key, value) for value in values)

    def finish(self, results: Outputs, ctx: Context) -> Any:
        """Runs once, at the end, with the last stage's outputs. Write artifacts here; what it returns is the job's
        value (plain data)."""
        return None

    def next_stage(self, history: History) -> Stage | None:
        """The next stage, or None when the job is done. A pure function of the parameters and `history`."""
        if history:
            return None
        return Stage(list(self.splits()), reduces=type(self).reduces)


@dataclass(frozen=True)
class Skipped:
    """A split that was set aside (`skip_bad`): map task `task` of stage `stage`, what it was given, and what its last
    attempt ended with; `traceback` begins with the user's own frames."""

    stage: int
    task: int
    input: str
    type: str
    message: str
    traceback: str = ""


@dataclass
class Result:
    """What a finished job left.

    Attributes:
        value: what `finish` returned.
        outputs: the last stage's pairs, read lazily.
        artifacts: files written by `finish` or handed to `ctx.keep`.
        counters: the job's counters.
        metrics: seconds, tasks, retries and the like.
        skipped: splits that were set aside; empty unless `skip_bad` allowed it.
    """

    job: int
    type: str
    value: Any
    outputs: Outputs
    artifacts: list[Artifact]
    counters: dict[str, int]
    metrics: dict[str, float]
    _keep: Any = None
    skipped: tuple[Skipped, ...] = ()

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.outputs)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json`: everything but the pairs."""
        files = [{"path": str(a.path), "sha256": a.sha256, "size": a.size} for a in self.artifacts]
        plain = {"job": self.job, "type": self.type, "status": "done", "value": self.value, "artifacts": files}
        plain |= {"counters": self.counters, "metrics": self.metrics}
        return plain | {"skipped": [asdict(skipped) for skipped in self.skipped]}


def default_partition(key: Any, partitions: int) -> int:
    """An int modulo `partitions`, so that small ints spread evenly and can name partitions; else CRC-32 of the key's
    bytes."""
    if type(key) is bytes:
        return zlib.crc32(key) % partitions
    if type(key) is str:
        return zlib.crc32(key.encode("utf-8", "surrogatepass")) % partitions
    if isinstance(key, Integral):
        return int(key) % partitions
    if isinstance(key, Real) and float(key).is_integer():
        return int(float(key)) % partitions
    return zlib.crc32(_key_bytes(key)) % partitions


def _key_bytes(key: Any) -> bytes:
    """The same bytes for equal keys, NumPy scalar or not."""
    if isinstance(key, str):
        return key.encode("utf-8", "surrogatepass")
    if isinstance(key, bytes):
        return key
    if isinstance(key, Real):
        number = float(key)
        return b"%d" % int(number) if number.is_integer() else struct.pack("<d", number)
    if isinstance(key, tuple):
        return b"\0".join(map(_key_bytes, key))
    return repr(key).encode()
