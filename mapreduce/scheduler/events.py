"""Everything that can happen to the scheduler, and everything it can ask for.

`Scheduler.handle(event, now) -> list[Action]` is the whole interface. Events are facts (a message came, time passed);
actions are orders that the coordinator carries out *in order*. An action that leaves the process may depend on a
`Persist` before it, so the coordinator commits the store between the two: once a loop turn, before anything is sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .model import JobSpec, JobState, Output, StagePlan, TaskError, TaskId

# --------------------------------------------------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Submitted:
    """A client asks for a job. Answered by Accepted (after it is persisted) or Rejected. `token` makes a repeat
    harmless; the id in `spec` is ignored: the scheduler numbers jobs. `at` is the wall clock, kept with the job and
    never looked at."""

    client: bytes
    token: str
    spec: JobSpec
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """A client asks to cancel a job."""

    job: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class WorkerJoined:
    """A worker's hello was accepted. `worker` is fresh for every incarnation; `node` names where its outputs live.

    `types` maps the job types it can run to their versions. `running` are (task, attempt) that it still holds from
    before a lost connection or a restarted coordinator."""

    worker: str
    node: str
    slots: int
    types: dict[str, str]
    running: tuple[tuple[TaskId, int], ...] = ()


@dataclass(frozen=True, slots=True)
class WorkerLeft:
    """The worker said goodbye (drained), or its connection is known to be dead."""

    worker: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class WorkerDraining:
    """The worker takes no new tasks and leaves when those it holds are done."""

    worker: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The worker lives and holds these tasks: (task, attempt). Tasks assigned to it and not named are lost once the
    lease ends."""

    worker: str
    running: tuple[tuple[TaskId, int], ...] = ()


@dataclass(frozen=True, slots=True)
class TasksDone:
    """Finished attempts of one (job, stage, kind), batched. `done` has (index, attempt, output); counters are summed
    by the worker over the tasks of this message, one dict a task so that only accepted attempts count (None: no
    counters)."""

    worker: str
    job: int
    stage: int
    kind: int
    done: tuple[tuple[int, int, Output], ...]
    counters: tuple[dict[str, int] | None, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanDone:
    """The PLAN task answered."""

    worker: str
    task: TaskId
    attempt: int
    plan: StagePlan
    counters: dict[str, int] | None = None


@dataclass(frozen=True, slots=True)
class FinishDone:
    """The FINISH task answered: `value` is the msgpack of the job's result, opaque here."""

    worker: str
    task: TaskId
    attempt: int
    value: bytes
    counters: dict[str, int] | None = None


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """An attempt failed. `lost` names the nodes whose blobs could not be read, when that is the reason (kind
    input-lost)."""

    worker: str
    task: TaskId
    attempt: int
    error: TaskError
    lost: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ForgetRequested:
    """A client asks that nothing be kept of an ended job; one that has not ended stays."""

    job: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed; leases are checked. Sent a few times a second. `at` is the wall clock (0: not said), which tells how
    old jobs are that ended before a restart."""

    at: float = 0.0


Event = (
    Submitted
    | CancelRequested
    | ForgetRequested
    | WorkerJoined
    | WorkerLeft
    | WorkerDraining
    | Heartbeat
    | TasksDone
    | PlanDone
    | FinishDone
    | TaskFailed
    | Tick
)

# -------------------------------------------------------------------------------------------------------------- actions


@dataclass(frozen=True, slots=True)
class Accepted:
    client: bytes
    token: str
    job: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """`code` is full or bad-request; `retry_after` in seconds, 0 when a retry makes no sense."""

    client: bytes
    token: str
    code: str
    message: str
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Assign:
    """Send tasks of one (job, stage, kind) to a worker: (index, attempt) each. What the tasks read (the stage's setup,
    a partition's segments in map order, the last stage's outputs) the coordinator asks of the scheduler when it writes
    the message."""

    worker: str
    job: int
    stage: int
    kind: int
    tasks: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Abort:
    """Tell a worker to drop these attempts (cancelled, failed job, or fenced)."""

    worker: str
    tasks: tuple[tuple[TaskId, int], ...]


@dataclass(frozen=True, slots=True)
class Expel:
    """A worker's lease ended: forget its connection; should it speak again, it is told to register anew."""

    worker: str
    reason: str


@dataclass(frozen=True, slots=True)
class Release:
    """Nothing refers to these units, (stage, kind) each, any more: all nodes may delete them. No units: all that the
    job left.

    The map outputs of a stage go when the next stage is planned (until then they may be needed to make a lost reduce
    output again); its reduce outputs (and what its PLAN stored) go when a later stage has been planned whose `inputs`
    and `splits` name none of them; the last stage's reduce outputs stay while the job is retained."""

    job: int
    units: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Keep:
    """Tell a worker that joined what its node must keep (`Queries.living`): of what it missed while it was away, the
    deletions are made up for."""

    worker: str


@dataclass(frozen=True, slots=True)
class Persist:
    """Append to the durable journal. `record` is one of the record classes in `journal.py`."""

    record: object


@dataclass(frozen=True, slots=True)
class JobChanged:
    """A job entered another state or stage: watchers are told. For ended jobs `value` or `error` is set."""

    job: int
    state: JobState
    stage: int = 0
    value: bytes = b""
    error: TaskError | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Diverged:
    """Two attempts of one task gave different bytes: the plugin is not deterministic. Logged and counted."""

    task: TaskId
    first: Output
    second: Output


@dataclass(frozen=True, slots=True)
class SetAside:
    """A map task failed all its attempts, and its job goes on without its split. Logged; watchers are told."""

    task: TaskId
    error: TaskError


@dataclass(frozen=True, slots=True)
class Counters:
    """A snapshot for watchers: progress of one job. Not emitted by the scheduler, which answers `snapshot(job)` when
    asked."""

    job: int
    values: dict[str, int] = field(default_factory=dict)


Action = (
    Accepted
    | Rejected
    | Assign
    | Abort
    | Expel
    | Release
    | Keep
    | Persist
    | JobChanged
    | Diverged
    | SetAside
    | Counters
)
