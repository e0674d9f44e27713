"""Messages to events. What a peer may say wrong although it decodes is refused here, by raising WireError or naming the
difference.

Tasks of one `Results` become plain tuples in one comprehension: this is the path that a million small tasks take.
"""

from __future__ import annotations

import math
import sys

from .. import __version__
from ..errors import WireError
from ..scheduler import events as ev
from ..scheduler.model import Blob, JobSpec, Kind, Limits, Output, StagePlan, TaskError, TaskId
from ..wire import messages as m

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
NOTHING = Output()
KINDS = (Kind.PLAN, Kind.MAP, Kind.REDUCE, Kind.FINISH)

MAX_SKIPPED = 1_000
"""Splits of one job that may be set aside: each is listed, with its error."""

MAX_PARAMS = 16 << 20
"""Bytes of one job's parameters."""

Running = tuple[tuple[TaskId, int], ...]


def difference(hello: m.Hello | m.ClientHello) -> str:
    """Why this peer does not fit, or "" when it does."""
    if hello.protocol != m.PROTOCOL:
        return f"it speaks protocol {hello.protocol}, this coordinator {m.PROTOCOL}: install daf {__version__} there"
    if hello.library != __version__:
        return (
            f"it is daf {hello.library}, this coordinator is daf {__version__}: install the same version in both places"
        )
    python = hello.python if isinstance(hello, m.Hello) else PYTHON
    if python != PYTHON and not python.startswith(f"{PYTHON}."):
        return f"it runs Python {python}, this coordinator {PYTHON}: results could differ, so all run the same version"
    return ""


def task(key: m.TaskKey) -> TaskId:
    return TaskId(key.job, key.stage, KINDS[key.kind], key.index)


def running(keys: tuple[m.TaskKey, ...]) -> Running:
    return tuple([(task(key), key.attempt) for key in keys])


def joined(hello: m.Hello, name: str) -> ev.WorkerJoined:
    return ev.WorkerJoined(name, hello.node.name, hello.slots, hello.plugins, running(hello.running))


def output(ref: m.Ref | None) -> Output:
    if ref is None:
        return NOTHING
    return Output(Blob(ref.hash, ref.size), ref.node, (), ref.stage, ref.kind)


def results(worker: str, node: str, message: m.Results) -> ev.TasksDone:
    """Raises WireError when the kind is not map or reduce, or a hash has another length than 16 bytes."""
    stage, kind = message.stage, message.kind
    if kind not in (Kind.MAP, Kind.REDUCE):
        raise WireError(f"worker {worker} sent results of kind {kind}; only maps (1) and reduces (2) have them")
    done = tuple(
        [
            (d.index, d.attempt, Output(Blob(d.hash, d.size), node, d.sizes, stage, kind) if d.hash else NOTHING)
            for d in message.done
        ]
    )
    if any(len(d.hash) not in (0, 16) for d in message.done):
        raise WireError(f"worker {worker} sent a hash that is not 16 bytes long")
    counters = tuple([d.counters for d in message.done])
    return ev.TasksDone(worker, message.job, stage, kind, done, counters if any(counters) else ())


def planned(worker: str, message: m.Planned) -> ev.PlanDone:
    plan = StagePlan(
        name=message.name,
        maps=message.maps,
        reduces=message.reduces,
        setup=message.setup,
        splits=output(message.splits),
        inputs=tuple(map(output, message.inputs)),
        last=message.last,
        share=message.share,
    )
    return ev.PlanDone(worker, task(message.task), message.task.attempt, plan, message.counters)


def finished(worker: str, message: m.Finished) -> ev.FinishDone:
    return ev.FinishDone(worker, task(message.task), message.task.attempt, message.value, message.counters)


def failed(worker: str, message: m.Failed) -> ev.TaskFailed:
    e = message.error
    error = TaskError(
        kind=e.kind,
        type=e.type,
        message=e.message,
        traceback=e.traceback,
        worker=e.worker or worker,
        input=e.input,
        exit_code=e.exit_code,
        signal=e.signal,
        peak_memory=e.peak_memory,
        log=e.log,
    )
    return ev.TaskFailed(worker, task(message.task), message.task.attempt, error, message.lost)


def unfit(message: m.Submit) -> str:
    """What is wrong with a submission, or ""."""
    if not message.token:
        return "a submission needs a token, a random name for the request"
    if not message.type:
        return "a submission names no job type"
    if not (math.isfinite(message.weight) and 0 < message.weight <= 1e6):
        return f"weight is above 0 and at most a million, not {message.weight}"
    if abs(message.priority) > 1_000_000:
        return f"priority is between -1000000 and 1000000, not {message.priority}"
    if not 1 <= message.attempts <= 1_000:
        return f"attempts is between 1 and 1000, not {message.attempts}"
    if len(message.params) > MAX_PARAMS:
        return (
            f"its parameters take {len(message.params)} bytes, more than {MAX_PARAMS}: write what is large to a file, "
            "and give its path"
        )
    if message.skip_bad > MAX_SKIPPED:
        return f"skip_bad is between 0 and {MAX_SKIPPED}, not {message.skip_bad}"
    if not (math.isfinite(message.task_seconds) and message.task_seconds >= 0):
        return f"task_seconds is 0 (no limit) or more, not {message.task_seconds}"
    return ""


def submitted(client: bytes, message: m.Submit, at: float) -> ev.Submitted:
    spec = JobSpec(
        id=0,
        type=message.type,
        params=message.params,
        version=message.version,
        seed=message.seed,
        priority=message.priority,
        weight=message.weight,
        owner=message.owner,
        limits=Limits(message.attempts, message.task_seconds, message.task_memory, message.skip_bad),
    )
    return ev.Submitted(client, message.token, spec, at)
