"""What the coordinator must never forget, as plain records.

Every change that a restart has to know is one record, persisted before anything that depends on it leaves the process.
Assignments are not: a worker that comes back says what it holds, and the fence (see `phase.py`) keeps numbers apart.
Results are, one record a message.

The journal of a job does not grow with its rounds: `Trimmed` says that of this job only `Admitted` still matters (the
record that follows it in the same commit says where the job stands); `Forgotten` that nothing does. Of `Mark`, only
the newest matters. A store may delete what is no longer needed, at any time after the commit, or never: replay reads
the same state either way.

`pack` makes a record a tuple of None, bool, int, float, str, bytes, tuples and dicts (what msgpack carries), `unpack`
reads it back, also with lists in place of tuples. A packed record starts with its tag and the version of its form, so
that old journals stay readable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .model import Blob, JobSpec, JobState, Limits, Output, StagePlan, TaskError

Counts = dict[str, int]


@dataclass(frozen=True, slots=True)
class Mark:
    """Numbers that never go back: the fence now in use, and the next job's id."""

    fence: int
    next_job: int


@dataclass(frozen=True, slots=True)
class Admitted:
    """A job was accepted. `at` is the caller's wall clock."""

    job: int
    spec: JobSpec
    token: str
    at: float


@dataclass(frozen=True, slots=True)
class Planned:
    """Stage `stage` is planned. `totals` are the counters of all before it; `since` the fence under which it starts."""

    job: int
    stage: int
    plan: StagePlan
    since: int
    totals: Counts = field(default_factory=dict)
    rewinds: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """Accepted results of map or reduce tasks, all on one node. `blobs` and `sizes` are empty when no task left any
    bytes."""

    job: int
    stage: int
    kind: int
    node: str
    indexes: tuple[int, ...]
    blobs: tuple[Blob | None, ...] = ()
    sizes: tuple[tuple[int, ...], ...] = ()
    counters: Counts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lost:
    """Outputs of the current stage that are gone."""

    job: int
    stage: int
    maps: tuple[int, ...]
    reduces: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Charged:
    """An attempt failed, and counts against its task."""

    job: int
    stage: int
    kind: int
    index: int
    worker: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """A map task was set aside. Those of earlier stages are said again where the journal is trimmed."""

    job: int
    stage: int
    index: int
    error: TaskError


@dataclass(frozen=True, slots=True)
class Rewound:
    """The job starts over."""

    job: int
    fence: int
    rewinds: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The job is done, failed or cancelled."""

    job: int
    state: JobState
    stage: int
    value: bytes
    error: TaskError | None
    reason: str
    counters: Counts
    outputs: tuple[Output, ...]
    elapsed: float
    retries: int = 0
    rewinds: int = 0


@dataclass(frozen=True, slots=True)
class Lasted:
    """The job had lasted so many `seconds` when the monotonic clock of the boot `clock` showed `at`. The caller adds
    one to what it commits; of a job's, only the last matters."""

    job: int
    seconds: float
    at: float
    clock: str


@dataclass(frozen=True, slots=True)
class Trimmed:
    """Of this job's earlier records only `Admitted` still matters."""

    job: int


@dataclass(frozen=True, slots=True)
class Forgotten:
    """None of this job's records matters any more, nor does this one."""

    job: int


Record = Mark | Admitted | Planned | Done | Lost | Charged | Skipped | Rewound | Ended | Lasted | Trimmed | Forgotten

# ------------------------------------------------------------------------------------------------------------- packing


def _output(o: Sequence[Any]) -> Output:
    return Output(Blob(*o[0]) if o[0] is not None else None, o[1], tuple(o[2]), *o[3:])


def _plan(p: Sequence[Any]) -> StagePlan:
    return StagePlan(p[0], p[1], p[2], p[3], _output(p[4]), tuple(map(_output, p[5])), p[6], tuple(p[7]))


def _pack_plan(p: StagePlan) -> tuple[Any, ...]:
    return (p.name, p.maps, p.reduces, p.setup, tuple(p.splits), tuple(map(tuple, p.inputs)), p.last, p.share)


def _spec(s: Sequence[Any]) -> JobSpec:
    return JobSpec(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], Limits(*s[8]))


def _pack_spec(s: JobSpec) -> tuple[Any, ...]:
    limits = (s.limits.attempts, s.limits.task_seconds, s.limits.task_memory, s.limits.skip_bad)
    return (s.id, s.type, s.params, s.version, s.seed, s.priority, s.weight, s.owner, limits)


def _pack_error(e: TaskError | None) -> tuple[Any, ...] | None:
    if e is None:
        return None
    return (e.kind, e.type, e.message, e.traceback, e.worker, e.input, e.exit_code, e.signal, e.peak_memory, e.log)


def _pack_ended(r: Ended) -> tuple[Any, ...]:
    outputs = tuple(map(tuple, r.outputs))
    return (
        r.job,
        r.state.value,
        r.stage,
        r.value,
        _pack_error(r.error),
        r.reason,
        r.counters,
        outputs,
        r.elapsed,
        r.retries,
        r.rewinds,
    )


def _ended(f: Sequence[Any]) -> Ended:
    error = TaskError(*f[4]) if f[4] is not None else None
    return Ended(f[0], JobState(f[1]), f[2], f[3], error, f[5], f[6], tuple(map(_output, f[7])), *f[8:])


def _done(f: Sequence[Any]) -> Done:
    blobs = tuple(Blob(*blob) if blob is not None else None for blob in f[5])
    return Done(f[0], f[1], f[2], f[3], tuple(f[4]), blobs, tuple(map(tuple, f[6])), f[7])


_FORMS: dict[str, tuple[type, Callable[[Any], tuple[Any, ...]], Callable[[Sequence[Any]], Record]]] = {
    "mark": (Mark, lambda r: (r.fence, r.next_job), lambda f: Mark(*f)),
    "admitted": (
        Admitted,
        lambda r: (r.job, _pack_spec(r.spec), r.token, r.at),
        lambda f: Admitted(f[0], _spec(f[1]), f[2], f[3]),
    ),
    "planned": (
        Planned,
        lambda r: (r.job, r.stage, _pack_plan(r.plan), r.since, r.totals, r.rewinds),
        lambda f: Planned(f[0], f[1], _plan(f[2]), *f[3:]),
    ),
    "done": (Done, lambda r: (r.job, r.stage, r.kind, r.node, r.indexes, r.blobs, r.sizes, r.counters), _done),
    "lost": (
        Lost,
        lambda r: (r.job, r.stage, r.maps, r.reduces),
        lambda f: Lost(f[0], f[1], tuple(f[2]), tuple(f[3])),
    ),
    "charged": (Charged, lambda r: (r.job, r.stage, r.kind, r.index, r.worker, r.attempt), lambda f: Charged(*f)),
    "skipped": (
        Skipped,
        lambda r: (r.job, r.stage, r.index, _pack_error(r.error)),
        lambda f: Skipped(f[0], f[1], f[2], TaskError(*f[3])),
    ),
    "rewound": (Rewound, lambda r: (r.job, r.fence, r.rewinds), lambda f: Rewound(*f)),
    "ended": (Ended, _pack_ended, _ended),
    "lasted": (Lasted, lambda r: (r.job, r.seconds, r.at, r.clock), lambda f: Lasted(*f)),
    "trimmed": (Trimmed, lambda r: (r.job,), lambda f: Trimmed(*f)),
    "forgotten": (Forgotten, lambda r: (r.job,), lambda f: Forgotten(*f)),
}
_PACK = {form[0]: (tag, form[1]) for tag, form in _FORMS.items()}
VERSION = 1


def pack(record: Record) -> tuple[Any, ...]:
    """(tag, version, fields ...): plain values that msgpack carries."""
    tag, fields = _PACK[type(record)]
    return (tag, VERSION, *fields(record))


def unpack(packed: Sequence[Any]) -> Record:
    """The record again. Raises ValueError, naming what is wrong, for anything that `pack` did not make."""
    try:
        tag, version, *fields = packed
        form = _FORMS[tag]
    except (ValueError, TypeError, KeyError):
        raise ValueError(f"not a journal record: {packed!r:.80}; the store is damaged or of a newer release") from None
    if version != VERSION:
        raise ValueError(
            f"journal record {tag!r} has version {version!r}, this release reads {VERSION}: use the one that wrote it"
        )
    try:
        return form[2](fields)
    except (TypeError, ValueError, LookupError) as error:
        raise ValueError(f"journal record {tag!r} is damaged: {error}") from error
