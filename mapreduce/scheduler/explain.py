"""Straight answers to "why is this job where it is?"."""

from __future__ import annotations

from .jobs import Job
from .model import JobState
from .phase import Phase
from .state import State

_NAME = {0: "plan", 1: "map", 2: "reduce", 3: "finish"}


def explain(s: State, job: Job, now: float) -> list[str]:
    """Sentences, most important first; never empty."""
    if job.ended:
        return [ended(job)]
    phase = job.open
    assert phase is not None
    lines = [where(job)]
    if job.blocked:
        for node in job.blocked:
            lost = s.fleet.nodes.get(node)
            left = max(0.0, lost.gone + s.settings.node_grace - now) if lost is not None and lost.gone is not None else 0.0
            lines.append(f"waits {left:.0f} s more for node {node} to come back with what the job reads; then it starts over")
    elif phase.ready:
        lines.append(why_ready(s, job, phase, now))
    if job.state is JobState.REDUCING or job.state is JobState.MAPPING:
        assert job.stage is not None
        maps = job.stage.maps
        if not maps.complete and job.stage.plan.reduces:
            lines.append(f"reduce waits for {maps.count - maps.done} of {maps.count} maps")
    lines.extend(running(s, job, now))
    lines.extend(troubles(job))
    return lines


def ended(job: Job) -> str:
    if job.state is JobState.DONE:
        return f"{job!r} is done"
    if job.error is not None:
        return f"{job!r} failed: {job.error.type}: {job.error.message}"
    return f"{job!r} is {job.state.value}" + (f": {job.reason}" if job.reason else "")


def where(job: Job) -> str:
    phase = job.open
    assert phase is not None
    if phase is job.control:
        return f"{job!r} is {job.state.value}, stage {job.number}: one {_NAME[phase.kind]} task, {'running' if phase.running else 'not running'}"
    name = job.stage.plan.name if job.stage is not None else ""
    return f"{job!r} is {job.state.value}, stage {job.number} ({name}): {phase.done} of {phase.count} {_NAME[phase.kind]} tasks done, {phase.running} running"


def why_ready(s: State, job: Job, phase: Phase, now: float) -> str:
    """Why tasks that could run do not."""
    spec = job.spec
    what = f"{phase.ready} {_NAME[phase.kind]} task{'s' if phase.ready > 1 else ''} ready"
    if not len(s.fleet):
        return f"{what}, but no worker is connected: start one with daf-worker"
    capable = list(s.fleet.capable(spec.type, spec.version))
    if not capable:
        others = [worker for worker in s.fleet if spec.type in worker.types]
        if any(worker.knows(spec.type, spec.version) for worker in others):
            return f"{what}, but all workers that know job type {spec.type} are draining"
        if others:
            has = ", ".join(sorted({worker.types[spec.type] for worker in others}))
            return f"{what}, waiting for a worker with version {spec.version} of job type {spec.type}; those here have {has}"
        return f"{what}, waiting for a worker that knows job type {spec.type}; none of the {len(s.fleet)} connected does"
    free = [worker for worker in capable if worker.in_flight < worker.slots]
    if free:
        for index, charge in phase.charges.items():
            if charge.workers and now - charge.at <= s.settings.patience:
                return f"{what}; {_NAME[phase.kind]} {index} failed on {charge.workers[-1]} and waits for another worker to be free"
        return f"{what}, on their way to {len(free)} workers with free slots"
    slots = sum(worker.slots for worker in capable)
    share: dict[int, int] = {}
    for worker in capable:
        for other, held in worker.held.items():
            share[other.job] = share.get(other.job, 0) + len(held)
    mine = share.pop(job.id, 0)
    if not share:
        return f"{what}, waiting for a slot: all {slots} slots are busy with this job"
    most = max(share, key=lambda number: share[number])
    rank = s.jobs[most].spec.priority - spec.priority
    relation = "of higher priority" if rank > 0 else "of lower priority, until a task of it ends" if rank < 0 else "of the same priority"
    busy = f"job {most} {relation}" if len(share) == 1 else f"{len(share)} other jobs, most with job {most} {relation}"
    return f"{what}, waiting for a slot: all {slots} slots are busy with {busy}" + (f"; {mine} tasks of this job are with workers" if mine else "")


def running(s: State, job: Job, now: float) -> list[str]:
    """The oldest running attempt of each phase."""
    lines = []
    for phase in job.phases():
        if not phase.running:
            continue
        held = [
            (batch.at, index, worker.attempt(phase, index), worker.name)
            for worker in s.fleet
            for index, batch in worker.held.get(phase, {}).items()
        ]
        at, index, attempt, worker = min(held)
        backup = ", with a backup attempt" if index in phase.backups else ""
        number = attempt & 0xFFFF
        lines.append(
            f"{phase.running} {_NAME[phase.kind]} tasks run; oldest: {_NAME[phase.kind]} {index}, for {now - at:.0f} s on worker {worker}, attempt {number}{backup}"
        )
    return lines


def troubles(job: Job) -> list[str]:
    lines = []
    for phase in job.phases():
        bad = [(charge.failures, charge.losses, index) for index, charge in phase.charges.items() if charge.failures or charge.losses]
        if bad:
            failures, losses, index = max(bad)
            told = f"{_NAME[phase.kind]} {index} failed {failures} of {job.spec.limits.attempts} times and was lost {losses} times"
            lines.append(told + (f"; {len(bad)} tasks had trouble" if len(bad) > 1 else ""))
    if job.rewinds:
        lines.append(f"started over {job.rewinds} times because nodes were lost with what it reads")
    return lines
