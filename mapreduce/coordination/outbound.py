"""Actions to messages. The scheduler speaks of tasks by number; what they read is asked of it here, when the message is
written.

A worker is told what a stage's tasks share once (`StageInfo`), before the first of them and again only when the plan is
another one: after a rewind, or with inputs that were made anew elsewhere. A REDUCE task brings the segments of its
partition; since these are one for each map, a batch of reduces is cut into messages of at most `SEGMENTS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..scheduler import events as ev
from ..scheduler.model import JobSpec, Kind, Output, StagePlan, TaskError, TaskId
from ..wire import messages as m
from ..wire.typed import MAX_NAME, clip
from .peers import WorkerPeer

SEGMENTS = 20_000
"""Segments of one Assign, about a megabyte."""


def ref(output: Output) -> m.Ref | None:
    """None for an output without bytes."""
    blob = output.blob
    return m.Ref(blob.hash, blob.size, output.node, output.stage, output.kind) if blob is not None else None


def some(outputs: Iterable[Output]) -> tuple[m.Ref, ...]:
    """Refs of those that have bytes."""
    return tuple([r for r in map(ref, outputs) if r is not None])


def holders(refs: Iterable[m.Ref | None], nodes: Mapping[str, m.Node]) -> tuple[m.Node, ...]:
    """Where these blobs are, each node once."""
    names = dict.fromkeys([r.node for r in refs if r is not None])
    return tuple([nodes[name] for name in names if name in nodes])


def key(task: TaskId, attempt: int) -> m.TaskKey:
    return m.TaskKey(task.job, task.stage, task.kind, task.index, attempt)


def error(e: TaskError) -> m.Error:
    return m.Error(
        kind=clip(e.kind, MAX_NAME),
        type=clip(e.type, MAX_NAME),
        message=clip(e.message),
        traceback=clip(e.traceback),
        worker=clip(e.worker, MAX_NAME),
        input=clip(e.input),
        exit_code=e.exit_code,
        signal=e.signal,
        peak_memory=e.peak_memory,
        log=clip(e.log),
    )


def stage_info(spec: JobSpec, stage: int, plan: StagePlan | None, nodes: Mapping[str, m.Node]) -> m.StageInfo:
    """What the tasks of a stage share; without a plan (PLAN, FINISH) only the job's fields."""
    splits = ref(plan.splits) if plan is not None else None
    inputs = some(plan.inputs) if plan is not None else ()
    return m.StageInfo(
        job=spec.id,
        stage=stage,
        type=spec.type,
        params=spec.params,
        seed=spec.seed,
        name=plan.name if plan is not None else "",
        setup=plan.setup if plan is not None else b"",
        maps=plan.maps if plan is not None else 0,
        reduces=plan.reduces if plan is not None else 0,
        splits=splits,
        inputs=inputs,
        nodes=holders((splits, *inputs), nodes),
        task_seconds=spec.limits.task_seconds,
        task_memory=spec.limits.task_memory,
    )


def keep(scheduler: Any) -> m.Keep:
    """What a node that was away must keep."""
    below, jobs = scheduler.living()
    return m.Keep(below, tuple([m.Kept(*job) for job in jobs]))


def assign(action: ev.Assign, peer: WorkerPeer, scheduler: Any, nodes: Mapping[str, m.Node]) -> Iterator[m.Message]:
    """The messages that carry one Assign to `peer`."""
    job, stage, kind = action.job, action.stage, action.kind
    plan = scheduler.stage(job, stage) if kind in (Kind.MAP, Kind.REDUCE) else None
    told = peer.told.get(job)
    if told is None or told[0] != stage or (told[1] is not plan and plan is not None):
        peer.told[job] = (stage, plan)
        yield stage_info(scheduler.spec(job), stage, plan, nodes)
    if kind == Kind.MAP:
        yield m.Assign(job, stage, kind, action.tasks)
    elif kind == Kind.REDUCE:
        yield from _reduces(action, scheduler, nodes)
    else:
        yield _control(action, scheduler, nodes)


def _reduces(action: ev.Assign, scheduler: Any, nodes: Mapping[str, m.Node]) -> Iterator[m.Assign]:
    tasks: list[tuple[int, int]] = []
    inputs: list[m.ReduceInput] = []
    holding: dict[str, None] = {}
    count = 0
    for index, attempt in action.tasks:
        segments = []
        for number, output, offset, size in scheduler.reduce_inputs(action.job, action.stage, index):
            blob = output.blob
            segments.append((number, m.Ref(blob.hash, blob.size, output.node, output.stage, output.kind), offset, size))
            holding[output.node] = None
        if tasks and count + len(segments) > SEGMENTS:
            yield _batch(action, tasks, inputs, holding, nodes)
            tasks, inputs, count = [], [], 0
        tasks.append((index, attempt))
        inputs.append(m.ReduceInput(index, tuple(segments)))
        count += len(segments)
    yield _batch(action, tasks, inputs, holding, nodes)


def _batch(
    action: ev.Assign,
    tasks: list[tuple[int, int]],
    inputs: list[m.ReduceInput],
    holding: Iterable[str],
    nodes: Mapping[str, m.Node],
) -> m.Assign:
    known = tuple([nodes[name] for name in holding if name in nodes])
    return m.Assign(action.job, action.stage, action.kind, tuple(tasks), tuple(inputs), nodes=known)


def _control(action: ev.Assign, scheduler: Any, nodes: Mapping[str, m.Node]) -> m.Assign:
    """PLAN and FINISH: what the stage before left, and the counters of the whole job so far."""
    if action.stage == 0:
        return m.Assign(action.job, action.stage, action.kind, action.tasks)
    before = scheduler.previous(action.job, action.stage)
    outputs = tuple(map(ref, before.outputs))
    inputs = some(before.inputs)
    return m.Assign(
        action.job,
        action.stage,
        action.kind,
        action.tasks,
        previous=outputs,
        previous_inputs=inputs,
        previous_setup=before.setup,
        previous_counters=scheduler.snapshot(action.job).counters,
        nodes=holders((*outputs, *inputs), nodes),
    )
