"""Every message of the protocol, as typed structs that msgspec encodes to msgpack and checks field by field on
arrival.

A message is one msgpack array whose first item is the tag below; unknown tags, missing fields and wrong types are
refused by the decoder before any of our code sees them. `PROTOCOL` is raised whenever a field changes meaning; hello
compares it.

A message is one frame. What the coordinator has for a worker at one time travels as one bundle of such frames.

Three conversations use them: worker <-> coordinator, client <-> coordinator, and (fetching blobs) anyone <-> a
node's blob server.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

PROTOCOL = 1

Name = Annotated[str, msgspec.Meta(max_length=255)]
Text = Annotated[str, msgspec.Meta(max_length=262_144)]
Hash = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**48)]


class Message(msgspec.Struct, array_like=True, frozen=True, tag_field="tag"):
    """Base of all messages: encoded as an array after its tag, so names cost nothing on the wire."""


class Part(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Base of what messages are made of: an array without a tag, since its place says what it is."""


# --------------------------------------------------------------------------------------------------------- shared parts


class Ref(Part):
    """A blob, the node that holds it, and the unit (stage, kind) whose folder it lies in; see
    scheduler.model.Output."""

    hash: Hash
    size: Count
    node: Name
    stage: Count
    kind: int


class TaskKey(Part):
    """(job, stage, kind, index) and the attempt number that fences it."""

    job: Count
    stage: Count
    kind: Annotated[int, msgspec.Meta(ge=0, le=3)]
    index: Count
    attempt: Count


class Node(Part):
    """Where a node's blobs are: `host` + `directory` to map files when on the same host, `address` to fetch from
    otherwise, from the owner of the public `key` (empty: it has none)."""

    name: Name
    host: Name
    directory: Annotated[str, msgspec.Meta(max_length=4096)]
    address: Name
    key: Annotated[str, msgspec.Meta(max_length=40)] = ""


class Error(Part):
    """A failed attempt as plain data; the fields of scheduler.model.TaskError."""

    kind: Name
    type: Name
    message: Text
    traceback: Text = ""
    worker: Name = ""
    input: Text = ""
    exit_code: int | None = None
    signal: int | None = None
    peak_memory: int = 0
    log: Text = ""


# ------------------------------------------------------------------------------------------------ worker -> coordinator


class Hello(Message, tag="hello"):
    """The first message of a worker's incarnation. `plugins` maps the job types it can run to their versions;
    `running` are attempts it still holds from before (after the coordinator restarted or asked it to register
    again)."""

    protocol: int
    library: Name
    python: Name
    worker: Name
    node: Node
    slots: Annotated[int, msgspec.Meta(ge=1, le=1024)]
    plugins: dict[str, str]
    pid: int
    running: tuple[TaskKey, ...] = ()


class Done(Part):
    """One finished attempt inside a `Results`. No blob: the output is empty."""

    index: Count
    attempt: Count
    hash: bytes = b""
    size: Count = 0
    sizes: tuple[Count, ...] = ()
    counters: dict[str, int] | None = None


class Results(Message, tag="results"):
    """Finished map or reduce attempts of one (job, stage, kind)."""

    job: Count
    stage: Count
    kind: int
    done: tuple[Done, ...]


class Planned(Message, tag="planned"):
    """What PLAN answered; the fields of scheduler.model.StagePlan. `state` shown to people: the stage's name and
    sizes only."""

    task: TaskKey
    name: Name
    maps: Count
    reduces: Count
    setup: bytes
    splits: Ref | None
    inputs: tuple[Ref, ...]
    last: bool
    counters: dict[str, int] | None = None
    share: tuple[float, float] = (0.0, 0.0)


class Finished(Message, tag="finished"):
    """What FINISH answered: msgpack of the job's value (see wire.codec)."""

    task: TaskKey
    value: bytes
    counters: dict[str, int] | None = None


class Failed(Message, tag="failed"):
    """One failed attempt. `lost` names nodes whose blobs could not be read."""

    task: TaskKey
    error: Error
    lost: tuple[str, ...] = ()


class Progress(Part):
    """How far a running task says it is."""

    task: TaskKey
    done: float
    total: float
    note: Name = ""


class Beat(Message, tag="beat"):
    """The worker lives; `running` are the attempts it holds, `progress` what some of them say, `memory` its resident
    bytes."""

    running: tuple[TaskKey, ...]
    progress: tuple[Progress, ...] = ()
    memory: Count = 0


class Draining(Message, tag="draining"):
    """No new tasks, please; the worker will say Bye when those it holds are done."""


class Bye(Message, tag="bye"):
    reason: Name = ""


# ------------------------------------------------------------------------------------------------ coordinator -> worker


class Welcome(Message, tag="welcome"):
    """Answer to Hello: beat every `heartbeat` seconds; the lease ends after `lease` seconds of silence."""

    heartbeat: float
    lease: float
    coordinator: Name


class Ack(Message, tag="ack"):
    """Sent in answer to every Beat (so that its absence tells the worker of a dead coordinator), once the store has
    committed: `results` counts the Results, Planned, Finished and Failed messages that this incarnation of the
    worker sent and the coordinator has handled for good. The worker keeps what is not acknowledged, and sends it
    again after it had to register anew."""

    results: Count


class Refused(Message, tag="refused"):
    """Answer to a Hello (or a client's first message) that does not fit; `message` says the difference."""

    message: Text


class Reregister(Message, tag="reregister"):
    """The coordinator does not know this peer: say Hello again, with the attempts still held."""


class StageInfo(Message, tag="stage"):
    """Sent once to a worker before its first task of a stage: everything the tasks share. `splits` holds the stage's
    splits, `inputs` the blobs its shared state is made of; `nodes` are the holders that these refs name. For PLAN
    and FINISH only the job's fields count."""

    job: Count
    stage: Count
    type: Name
    params: bytes
    seed: int
    name: Name
    setup: bytes
    maps: Count
    reduces: Count
    splits: Ref | None
    inputs: tuple[Ref, ...]
    nodes: tuple[Node, ...]
    task_seconds: float = 0.0
    task_memory: Count = 0


class ReduceInput(Part):
    """The segments of one partition: (map index, ref, byte offset, byte size), in map order, empty segments left
    out."""

    index: Count
    segments: tuple[tuple[Count, Ref, Count, Count], ...]


class Assign(Message, tag="assign"):
    """Attempts to run: (index, attempt) each. REDUCE brings `inputs`, one a task; PLAN and FINISH bring what the
    last committed stage left: its reduce outputs in partition order (None: that partition is empty), its setup with
    the inputs that it named, its counters."""

    job: Count
    stage: Count
    kind: int
    tasks: tuple[tuple[Count, Count], ...]
    inputs: tuple[ReduceInput, ...] = ()
    previous: tuple[Ref | None, ...] = ()
    previous_inputs: tuple[Ref, ...] = ()
    previous_setup: bytes = b""
    previous_counters: dict[str, int] = {}
    nodes: tuple[Node, ...] = ()


class Abort(Message, tag="abort"):
    """Drop these attempts; kill them if they run."""

    tasks: tuple[TaskKey, ...]


class Release(Message, tag="release"):
    """Delete these units, (stage, kind) each. No units: delete all that the job left on this node."""

    job: Count
    units: tuple[tuple[Count, int], ...] = ()


class Kept(Part):
    """Of this job these units stay, and what is of `stage` or a later one."""

    job: Count
    stage: Count
    units: tuple[tuple[Count, int], ...]


class Keep(Message, tag="keep"):
    """Sent once after Welcome: delete what your node has of all jobs below `below`, but for what is named."""

    below: Count
    jobs: tuple[Kept, ...]


class Drain(Message, tag="drain"):
    """Finish what is held, then say Bye."""


# ------------------------------------------------------------------------------------------------ client -> coordinator


class ClientHello(Message, tag="client"):
    """A client's first message: versions are compared; answered by Ready or Refused."""

    protocol: int
    library: Name


class Submit(Message, tag="submit"):
    """Run a job. `token` is the client's own random name for this request: a repeat finds the job that the first one
    made."""

    token: Name
    type: Name
    params: bytes
    seed: int = 0
    priority: int = 0
    weight: float = 1.0
    owner: Name = ""
    version: Name = ""
    attempts: int = 3
    task_seconds: float = 0.0
    task_memory: Count = 0
    skip_bad: Count = 0


class Cancel(Message, tag="cancel"):
    job: Count
    reason: Name = ""


class Forget(Message, tag="forget"):
    """Keep nothing of an ended job. Answered by Forgotten."""

    job: Count


class Watch(Message, tag="watch"):
    """Send an Update now and whenever the job changes (at most a few times a second) until it ends."""

    job: Count


class Unwatch(Message, tag="unwatch"):
    job: Count


class ListJobs(Message, tag="jobs"):
    limit: Count = 100


class ListWorkers(Message, tag="workers"):
    pass


class Explain(Message, tag="explain"):
    """Why is this job where it is? Answered by Explanation."""

    job: Count


class Ping(Message, tag="ping"):
    pass


# ------------------------------------------------------------------------------------------------ coordinator -> client


class Ready(Message, tag="ready"):
    coordinator: Name
    library: Name


class Accepted(Message, tag="accepted"):
    token: Name
    job: Count


class Rejected(Message, tag="rejected"):
    """A request that was not carried out. `code`: full (no more jobs), busy (of this client), bad-request, unknown-job,
    unknown-type, forbidden (not to this key); `token` of the Submit, if any. `retry_after`: in so many seconds it may
    be (0: a retry makes no sense)."""

    token: Name
    code: Literal["full", "busy", "bad-request", "unknown-job", "unknown-type", "forbidden"]
    message: Text
    retry_after: float = 0.0


class Skipped(Part):
    """A split that was set aside: map task `index` of a stage, and the error of its last attempt."""

    stage: Count
    index: Count
    error: Error


class Update(Message, tag="update"):
    """Where a job is. `outputs` (once it is done): the last stage's reduce outputs in partition order (None: empty),
    and the nodes that hold them. `bad` counts the splits that were set aside so far; once the job has ended, `skipped`
    names them. `diverged` are tasks (stage, kind, index) that gave other bytes when they were run again."""

    job: Count
    type: Name
    state: Name
    stage: Count
    stage_name: Name
    maps: Count
    maps_done: Count
    reduces: Count
    reduces_done: Count
    running: Count
    retries: Count
    counters: dict[str, int]
    submitted: float
    elapsed: float
    note: Text = ""
    value: bytes = b""
    error: Error | None = None
    outputs: tuple[Ref | None, ...] = ()
    nodes: tuple[Node, ...] = ()
    progress: float = 0.0
    whole: float = 0.0
    owner: Name = ""
    priority: int = 0
    bad: Count = 0
    skipped: tuple[Skipped, ...] = ()
    diverged: tuple[tuple[Count, int, Count], ...] = ()


class Forgotten(Message, tag="forgotten"):
    job: Count


class Jobs(Message, tag="joblist"):
    jobs: tuple[Update, ...]


class WorkerInfo(Part):
    worker: Name
    host: Name
    slots: Count
    running: Count
    memory: Count
    state: Name
    since: float
    plugins: dict[str, str]


class Workers(Message, tag="workerlist"):
    workers: tuple[WorkerInfo, ...]


class Explanation(Message, tag="explanation"):
    """Sentences, most important first."""

    job: Count
    lines: tuple[Text, ...]


class Pong(Message, tag="pong"):
    coordinator: Name
    uptime: float
    jobs: Count
    workers: Count
    memory: Count


# -------------------------------------------------------------------------------------- anyone <-> a node's blob server


class Fetch(Message, tag="fetch"):
    """Send bytes [offset, offset + size) of a blob. Chunks are asked for one by one, so a fetch resumes where it
    stopped."""

    job: Count
    stage: Count
    kind: int
    hash: Hash
    offset: Count
    size: Count


class Chunk(Message, tag="chunk"):
    """The answer: the bytes follow as a raw frame. `total` is the blob's size; size 0 with total 0: this node has no
    such blob."""

    hash: Hash
    offset: Count
    total: Count


FromWorker = Hello | Results | Planned | Finished | Failed | Beat | Draining | Bye
ToWorker = Welcome | Ack | Refused | Reregister | StageInfo | Assign | Abort | Release | Keep | Drain
FromClient = ClientHello | Submit | Cancel | Forget | Watch | Unwatch | ListJobs | ListWorkers | Explain | Ping
ToClient = Ready | Refused | Accepted | Rejected | Update | Forgotten | Jobs | Workers | Explanation | Pong
