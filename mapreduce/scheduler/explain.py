"""Straight answers to "why is this job where it is?".

Every wait has a reason that can be said in a sentence. `explain` says where the job is, then what it waits for, then
what runs, then what went wrong so far."""

from __future__ import annotations

from .jobs import Job
from .model import JobState, Kind
from .phase import Charge, Phase
from .state import State

_NAME = {Kind.PLAN: "plan", Kind.MAP: "map", Kind.REDUCE: "reduce", Kind.FINISH: "finish"}
_ATTEMPT = 0xFFFF
SHOWN = 5
"""Splits that were set aside which are named."""


def explain(s: State, job: Job, now: float) -> list[str]:
    """Sentences, most important first; never empty."""
    phase = job.open
    if job.ended or phase is None:
        return [_ended(job), *_skipped(job), *_diverged(job)]
    lines = [_where(job, phase)]
    lines.extend(_blocked(s, job, now))
    if phase.ready and not job.blocked:
        lines.append(f"{_count(phase.ready, phase)} ready, " + _why_ready(s, job, phase, now))
    stage = job.stage
    if stage is not None and stage.reduces.count and not stage.maps.complete and phase is not job.control:
        lines.append(f"reduce waits for {stage.maps.count - stage.maps.done} of {stage.maps.count} maps")
    for running in job.phases():
        if running.running:
            lines.append(_running(s, running, now))
    lines.extend(_troubles(job))
    return lines


def _count(n: int, phase: Phase) -> str:
    return f"{n} {_NAME[phase.kind]} task{'' if n == 1 else 's'}"


def _ended(job: Job) -> str:
    if job.state is JobState.DONE:
        return f"{job!r} is done"
    if job.error is not None:
        return f"{job!r} failed: {job.error.type}: {job.error.message}"
    return f"{job!r} is {job.state.value}" + (f": {job.reason}" if job.reason else "")


def _where(job: Job, phase: Phase) -> str:
    if phase is job.control or job.stage is None:
        running = "running" if phase.running else "not running"
        return f"{job!r} is {job.state.value}, stage {job.number}: one {_NAME[phase.kind]} task, {running}"
    done = f"{phase.done} of {_count(phase.count, phase)} done, {phase.running} running"
    return f"{job!r} is {job.state.value}, stage {job.number} ({job.stage.plan.name}): {done}"


def _blocked(s: State, job: Job, now: float) -> list[str]:
    lines = []
    for name in job.blocked:
        node = s.fleet.nodes.get(name)
        left = node.gone + s.settings.node_grace - now if node is not None and node.gone is not None else 0.0
        wait = f"waits {max(0.0, left):.0f} s more for node {name} to come back with what the job reads"
        lines.append(f"{wait}; then it starts over")
    return lines


def _why_ready(s: State, job: Job, phase: Phase, now: float) -> str:
    """Why tasks that could run do not."""
    type, version = job.key
    if not len(s.fleet):
        return "but no worker is connected: start one with daf-worker"
    capable = list(s.fleet.capable(type, version))
    if not capable:
        knowing = [worker for worker in s.fleet if type in worker.types]
        if any(worker.knows(type, version) for worker in knowing):
            aside = [worker for worker in knowing if worker.aside and worker.knows(type, version)]
            if aside:
                return (
                    f"but worker {aside[0].name} gets nothing for a while, because wrong bytes were found on node "
                    f"{aside[0].node}: look at its disk, and start another worker with daf-worker"
                )
            return f"but all workers that know job type {type} are draining: start one with daf-worker"
        if knowing:
            have = ", ".join(sorted({worker.types[type] for worker in knowing}))
            return f"waiting for a worker with version {version} of job type {type}; those connected have {have}"
        return f"waiting for a worker that knows job type {type}; none of the {len(s.fleet)} connected does"
    free = [worker for worker in capable if worker.in_flight < worker.slots]
    if not free:
        return "waiting for a slot: " + _busy(s, job, sum(worker.slots for worker in capable))
    for index, charge in phase.charges.items():
        if charge.workers and now - charge.at <= s.settings.patience:
            task = f"{_NAME[phase.kind]} {index}"
            return f"but {task} failed on {charge.workers[-1]} and waits for another worker to be free"
    return f"and {len(free)} workers with free slots get them next"


def _busy(s: State, job: Job, slots: int) -> str:
    """Whom the slots serve that this job waits for."""
    share: dict[int, int] = {}
    for worker in s.fleet.capable(*job.key):
        for phase, held in worker.held.items():
            share[phase.job] = share.get(phase.job, 0) + len(held)
    all_slots = f"all {slots} slots" if slots > 1 else "the one slot"
    others = {number: tasks for number, tasks in share.items() if number != job.id}
    if not others:
        return f"{all_slots} busy with this job"
    most = max(others, key=lambda number: others[number])
    rank = s.jobs[most].spec.priority - job.spec.priority
    relation = (
        "of higher priority"
        if rank > 0
        else "of the same priority"
        if rank == 0
        else "of lower priority, whose tasks end first"
    )
    also = f" and {len(others) - 1} more" if len(others) > 1 else ""
    mine = f", {share[job.id]} tasks of this job among them" if job.id in share else ""
    return f"{all_slots} busy with job {most} {relation}{also}{mine}"


def _running(s: State, phase: Phase, now: float) -> str:
    """The oldest running attempt of a phase."""
    held = [
        (batch.at, index, worker.attempt(phase, index), worker.name)
        for worker in s.fleet
        for index, batch in worker.held.get(phase, {}).items()
    ]
    at, index, attempt, worker_name = min(held)
    backup = ", with a backup attempt" if index in phase.backups else ""
    return (
        f"{_count(phase.running, phase)} with workers; oldest: {_NAME[phase.kind]} {index}, "
        f"{now - at:.0f} s on worker {worker_name}, attempt {attempt & _ATTEMPT}{backup}"
    )


def _skipped(job: Job) -> list[str]:
    """The splits that were set aside, a few of them by name."""
    skips = job.skipped()
    lines = [f"{len(skips)} of {job.spec.limits.skip_bad} splits that may be set aside are"] if skips else []
    for stage, index, error in skips[:SHOWN]:
        what = error.input or f"map {index}"
        lines.append(f"set aside in stage {stage}: {what}: {error.type}: {error.message}"[:400])
    return lines + ([f"... and {len(skips) - SHOWN} more"] if len(skips) > SHOWN else [])


def _diverged(job: Job) -> list[str]:
    if not job.diverged:
        return []
    names = ", ".join(
        f"{_NAME[Kind(kind)]} {index} of stage {stage}" for stage, kind, index in list(job.diverged)[:SHOWN]
    )
    return [f"not deterministic: {len(job.diverged)} tasks gave other bytes when they were run again ({names})"]


def _troubles(job: Job) -> list[str]:
    lines = []
    for phase in job.phases():
        charged: list[tuple[int, Charge]] = [
            (i, c) for i, c in phase.charges.items() if c.failures or c.losses or c.input_losses
        ]
        if not charged:
            continue
        index, worst = max(charged, key=lambda item: (item[1].failures, item[1].losses, item[1].input_losses))
        what = [f"failed {worst.failures} of {job.spec.limits.attempts} times"] if worst.failures else []
        what += [f"was lost {worst.losses} times with its worker"] if worst.losses else []
        what += [f"could not read its input {worst.input_losses} times"] if worst.input_losses else []
        others = f"; {len(charged) - 1} more had trouble" if len(charged) > 1 else ""
        lines.append(f"{_NAME[phase.kind]} {index} " + " and ".join(what) + others)
    lines.extend(_skipped(job))
    lines.extend(_diverged(job))
    if job.rewinds:
        lines.append(f"started over {job.rewinds} times because nodes were lost with what it reads")
    return lines
