"""The nouns of the scheduler: what a job, a stage, a task and an output are to it.

The scheduler never sees user data. A job is a name and opaque bytes; a split is an integer; what a task made is an
`Output`: a reference (hash, size) and the node that holds the bytes. So a queued task costs a few bytes whatever its
split holds, and the coordinator needs no plugin to plan, retry or merge.

A job runs as a sequence of stages. Each stage is planned by a PLAN task (which runs the job's `next_stage` on a
worker), then has `maps` MAP tasks, then `reduces` REDUCE tasks; when PLAN answers that there is no further stage, one
FINISH task ends the job.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import NamedTuple


class Kind(IntEnum):
    """What a task does. The order is the order within a stage."""

    PLAN = 0
    MAP = 1
    REDUCE = 2
    FINISH = 3


class TaskId(NamedTuple):
    """Names one task of one job. PLAN of stage n decides what stage n is; FINISH has the number of stages as its
    stage."""

    job: int
    stage: int
    kind: Kind
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody asks a TaskId


class Blob(NamedTuple):
    """A reference to immutable bytes: 16-byte XXH3-128 of the content, and its size in bytes."""

    hash: bytes
    size: int


class Output(NamedTuple):
    """What a task left behind. `node` names the holder of `blob`; `sizes` are the byte sizes of a map output's
    partitions.

    (`stage`, `kind`) is the unit that the blob belongs to: a node keeps the blobs of one unit in one folder
    (`<job>/<stage>/<kind>/<hash>`) and a unit is released whole, so nobody counts references to single blobs.
    """

    blob: Blob | None = None
    node: str = ""
    sizes: tuple[int, ...] = ()
    stage: int = 0
    kind: int = 1


NOTHING = Output()
"""What a task without bytes leaves behind; also "no splits"."""


@dataclass(frozen=True, slots=True)
class StagePlan:
    """The answer of a PLAN task. `setup` is opaque to the scheduler: it travels to every worker that gets a task of
    the stage.

    `inputs` are the blobs of earlier stages (with their holders) that this stage's tasks read as shared state; they are
    kept while the stage runs, and losing one rewinds the job. `splits` holds all splits of the stage, and is kept
    likewise. maps == 0 and reduces == 0 with `last` set means: no further stage, run FINISH with `inputs` at hand.
    `share` is the part of the whole job that the stage is, (from, to), for people; (0, 0) when the job did not say.
    """

    name: str
    maps: int
    reduces: int
    setup: bytes
    splits: Output = NOTHING
    inputs: tuple[Output, ...] = ()
    last: bool = False
    share: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job may use. Seconds and bytes; 0 means no limit. `skip_bad` is how many splits may be set aside: a map
    task that failed all its attempts then counts as one that left nothing, and the job goes on without it."""

    attempts: int = 3
    task_seconds: float = 0.0
    task_memory: int = 0
    skip_bad: int = 0


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A submitted job. `params` is msgpack of the validated parameters, opaque here."""

    id: int
    type: str
    params: bytes
    version: str = ""
    seed: int = 0
    priority: int = 0
    weight: float = 1.0
    owner: str = ""
    limits: Limits = field(default_factory=Limits)


class JobState(StrEnum):
    """See `table.py` for the transitions."""

    PLANNING = "planning"
    MAPPING = "mapping"
    REDUCING = "reducing"
    FINISHING = "finishing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TaskState(IntEnum):
    """See `table.py` for the transitions. Stored as one byte a task."""

    WAITING = 0
    READY = 1
    RUNNING = 2
    DONE = 3


@dataclass(frozen=True, slots=True)
class TaskError:
    """A failed attempt, as plain data. `traceback` has the user's own frames first; `kind` is one of exception,
    bad-input (what the user brought cannot be used), crash, timeout, memory, cpu, processes, protocol, input-lost,
    input-wrong."""

    kind: str
    type: str
    message: str
    traceback: str = ""
    worker: str = ""
    input: str = ""
    exit_code: int | None = None
    signal: int | None = None
    peak_memory: int = 0
    log: str = ""


class Skip(NamedTuple):
    """A map task that was set aside, and the error of its last attempt."""

    stage: int
    index: int  # type: ignore[assignment]  # hides tuple.index
    error: TaskError
