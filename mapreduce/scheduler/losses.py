"""What sets jobs back: failed attempts, workers that fall silent, nodes that take outputs with them.

Three things can be lost. An *attempt*, with its worker or on the way: the task goes back to the queue. An *output* of
the current stage, with its node: the task that made it runs again, because all it reads is still at hand. Something of
an *earlier* stage (the shared state that this stage reads, or its splits): nothing at hand can make it again, and the
job rewinds to its first stage.

A node is given up when it has had no worker for a grace period. Evidence is quicker: a task that could not read its
input names the nodes. A node without workers is then given up at once, unless that means a rewind: then the job waits
for the rest of the grace. A node with workers is believed once (the network has moods), and not twice; one whose bytes
are wrong is not believed at all (`blame.py`). What a task reports about a node is old news if it started before the
node was last given up.

Failures count against the task, up to the job's own limit; what happens then is the job's choice, too: it fails, or a
split is set aside (`Limits.skip_bad`). Losses count apart, up to a higher one, so a bad task cannot kill workers for
ever and a bad day of the cluster does not look like a bad task.
"""

from __future__ import annotations

from dataclasses import replace

from . import blame, progress
from .events import Abort, Expel, Heartbeat, Keep, SetAside, TaskFailed, WorkerDraining, WorkerJoined, WorkerLeft
from .jobs import Job
from .journal import Charged, Lost, Rewound, Skipped, Trimmed
from .model import JobState, Kind, TaskError, TaskId
from .phase import DONE, FENCE_SHIFT, RUNNING, Phase
from .state import State
from .table import JobEvent
from .workers import Batch, Worker

# ------------------------------------------------------------------------------------------------------------- workers


def joined(s: State, event: WorkerJoined) -> None:
    """A worker is here, perhaps with attempts from before: those that still count go on, it is told to drop the
    others."""
    worker = s.fleet.get(event.worker)
    if worker is None:
        worker = Worker(event.worker, event.node, event.slots, event.types, s.now)
        s.fleet.join(worker)
        s.out.append(Keep(worker.name))
        for job in s.live():
            if event.node in job.blocked:
                del job.blocked[event.node]
                s.policy.update(job)
    refused = [(task, attempt) for task, attempt in event.running if not adopt(s, worker, TaskId(*task), attempt)]
    if refused:
        s.out.append(Abort(worker.name, tuple(refused)))
    s.fleet.weigh(worker)
    s.fresh = True


def adopt(s: State, worker: Worker, task: TaskId, attempt: int) -> bool:
    """Whether the attempt that the worker says it holds is (again) the one that counts."""
    job = s.jobs.get(task.job)
    phase = job.phase(task.stage, task.kind) if job is not None else None
    if job is None or phase is None or not 0 <= task.index < phase.count:
        return False
    index = task.index
    if index in worker.held.get(phase, ()):
        return worker.attempt(phase, index) == attempt
    if phase is not job.control and job.state not in (JobState.MAPPING, JobState.REDUCING):
        return False
    if not phase.since < attempt < (s.fence + 1) << FENCE_SHIFT or phase.states[index] == DONE:
        return False
    if phase.states[index] == RUNNING:
        if attempt != phase.attempts[index]:
            return False
        for other in s.fleet:  # the same worker under its last name
            if index in other.held.get(phase, ()) and other.attempt(phase, index) == attempt:
                other.drop(phase, index)
                s.fleet.weigh(other)
                break
    elif attempt < phase.attempts[index] or attempt <= phase.retired.get(index, 0):
        return False
    elif index in phase.charges and attempt <= phase.charges[index].last:
        return False  # its failure is counted, although the worker does not know that yet
    else:
        phase.adopt(index, attempt)
        s.policy.update(job)
    worker.hold(phase, [index], Batch(s.now, 0.0))
    return True


def left(s: State, event: WorkerLeft) -> None:
    worker = s.fleet.get(event.worker)
    if worker is not None:
        gone(s, worker, event.reason or "left")


def draining(s: State, event: WorkerDraining) -> None:
    worker = s.fleet.get(event.worker)
    if worker is not None:
        s.fleet.drain(worker)


def expel(s: State, worker: Worker) -> None:
    reason = f"no word for {s.now - worker.heard:.1f} s"
    s.out.append(Expel(worker.name, reason))
    gone(s, worker, reason)


def gone(s: State, worker: Worker, reason: str) -> None:
    """Its attempts go back to the queue; its node's outputs stay for a grace."""
    s.fleet.leave(worker, s.now)
    lose_attempts(s, worker, [(phase, index) for phase, held in worker.held.items() for index in held], reason)


def heartbeat(s: State, worker: Worker, event: Heartbeat) -> None:
    """Tasks that two heartbeats in a row did not name are lost on the way; those that it should not have, it is told
    to drop."""
    named: dict[tuple[int, int, Kind], dict[int, int]] = {}
    for task, attempt in event.running:
        named.setdefault(task[:3], {})[task[3]] = attempt
    missing: set[tuple[Phase, int, int]] = set()
    lost: list[tuple[Phase, int]] = []
    for phase, held in worker.held.items():
        names = named.get((phase.job, phase.stage, phase.kind), {})
        for index, batch in held.items():
            attempt = batch.backup or phase.attempts[index]
            if names.get(index) == attempt:
                del names[index]
            elif s.now - batch.at > s.settings.assign_grace:
                key = (phase, index, attempt)
                if key in worker.missing:
                    lost.append((phase, index))
                else:
                    missing.add(key)
    worker.missing = missing
    foreign = [(TaskId(*key, index), attempt) for key, names in named.items() for index, attempt in names.items()]
    foreign.extend((phase.id(index), worker.attempt(phase, index)) for phase, index in lost)
    if foreign:
        s.out.append(Abort(worker.name, tuple(foreign)))
    if lost:
        lose_attempts(s, worker, lost, "not among the tasks that the worker says it has")


def lose_attempts(s: State, worker: Worker, attempts: list[tuple[Phase, int]], reason: str) -> None:
    """Attempts that ended without a word: not the task's fault, unless it happens to it again and again. A worker runs
    what it was sent in that order, so what waited behind its slots is not charged."""
    over: dict[int, Phase] = {}
    attempts.sort(key=lambda lost: worker.held[lost[0]][lost[1]].at)
    for nth, (phase, index) in enumerate(attempts):
        job = s.jobs[phase.job]
        job.retries += 1
        s.return_attempt(worker, phase, index)
        if nth < worker.slots:
            charge = phase.charge(index)
            charge.losses += 1
            if charge.losses > s.settings.max_losses:
                over[job.id] = phase
    for phase in dict.fromkeys(phase for phase, _ in attempts):
        s.jobs[phase.job].tell(f"{worker!r}: attempts of {phase!r} lost: {reason}")
        s.policy.update(s.jobs[phase.job])
    for number, phase in over.items():
        often = f"a {phase.kind.name} task was lost more than {s.settings.max_losses} times"
        message = f"{often} with the worker that ran it; last: {reason}"
        progress.end(
            s, s.jobs[number], JobEvent.FAILED, error=TaskError("crash", "WorkerLost", message, worker=worker.name)
        )
    s.fresh = True


# ------------------------------------------------------------------------------------------------------------- failures


def failed(s: State, worker: Worker, event: TaskFailed) -> None:
    """An attempt ended with an error."""
    index = event.task.index
    phase = progress.fenced(s, worker, event.task[:3], index, event.attempt)
    if phase is None:
        return
    job = s.jobs[phase.job]
    charge = phase.charge(index)
    charge.last = event.attempt
    job.retries += 1
    what = f"{event.error.kind} {event.error.type}"
    job.tell(f"attempt {event.attempt} of {phase.kind.name} {index} failed on {worker.name}: {what}")
    if event.error.kind in ("input-lost", "input-wrong"):
        charge.input_losses += 1
        since = worker.held[phase][index].at
        s.return_attempt(worker, phase, index)
        if charge.input_losses > s.settings.max_losses:
            progress.end(s, job, JobEvent.FAILED, error=replace(event.error, worker=worker.name))
            return
        input_lost(s, job, event.lost, since, wrong=event.error.kind == "input-wrong")
        for node in event.lost if event.error.kind == "input-wrong" else ():
            job.tell(f"{phase.kind.name} {index} found wrong bytes on node {node}")
            blame.blame(s, node)
    else:
        charge.failures += 1
        charge.at = s.now
        charge.workers.append(worker.name)
        s.persist(Charged(job.id, phase.stage, phase.kind, index, worker.name, event.attempt))
        s.return_attempt(worker, phase, index)
        if charge.failures >= job.spec.limits.attempts:
            give_up(s, job, phase, index, replace(event.error, worker=worker.name))
            return
    s.policy.update(job)
    s.fresh = True


def give_up(s: State, job: Job, phase: Phase, index: int, error: TaskError) -> None:
    """A task failed all its attempts: set it aside, where the job lets so many splits go, or end the job."""
    allowed, already = job.spec.limits.skip_bad, len(job.skipped())
    if phase.kind is not Kind.MAP or already >= allowed:
        if already:
            splits = f"{already} split{'s' if already > 1 else ''}"
            error = replace(error, message=f"{error.message} ({splits} had been set aside before, {allowed} may be)")
        progress.end(s, job, JobEvent.FAILED, error=error)
        return
    for worker in s.fleet:
        if index in worker.held.get(phase, ()):  # a backup attempt, which cannot fare better
            s.out.append(Abort(worker.name, ((phase.id(index), worker.attempt(phase, index)),)))
            s.return_attempt(worker, phase, index)
    short = replace(
        error,
        message=error.message[:2000],
        traceback=error.traceback[:4000],
        input=error.input[:1000],
        log=error.log[-1000:],
    )
    phase.skip(index, short)
    job.tell(f"map {index} of stage {phase.stage} is set aside: {error.type}")
    s.persist(Skipped(job.id, phase.stage, index, short))
    s.out.append(SetAside(phase.id(index), short))
    s.fresh = True
    if phase.complete:
        progress.settle(s, job)
    else:
        s.changed(job)
        s.policy.update(job)


def input_lost(s: State, job: Job, nodes: tuple[str, ...], since: float, wrong: bool = False) -> None:
    """A task that started at `since` could not read what lies on these nodes, or read that it is `wrong`."""
    for node in nodes:
        stage = job.stage
        if job.ended or stage is None or since <= stage.lost_at.get(node, -1.0):
            continue
        if wrong:
            lose_outputs(s, job, node)
        elif s.fleet.lives(node):
            stage.reports[node] = stage.reports.get(node, 0) + 1
            if stage.reports[node] >= 2:
                lose_outputs(s, job, node)
        elif node in s.fleet.nodes and needs_rewind(s, job, node):
            job.blocked[node] = None
            job.tell(f"waits for node {node} to come back")
        else:
            lose_outputs(s, job, node)


# ------------------------------------------------------------------------------------------------------------- outputs


def node_lost(s: State, node: str) -> None:
    """The grace is over: what the node held is gone for all jobs."""
    del s.fleet.nodes[node]
    for job in list(s.live()):
        lose_outputs(s, job, node)


def needs_rewind(s: State, job: Job, node: str) -> bool:
    """Whether the job, as it stands, reads something of an earlier stage from this node."""
    for plan in (job.stage.plan if job.stage is not None else None, job.ahead):
        if plan is not None and any(output.node == node and output.blob is not None for output in plan.inputs):
            return True
    if job.stage is None or job.stage.maps.complete:
        return False
    splits = job.stage.plan.splits
    return splits.node == node and splits.blob is not None


def lose_outputs(s: State, job: Job, node: str) -> None:
    """What this node held for the job is gone: run again what is needed."""
    stage = job.stage
    if stage is None:
        return
    job.blocked.pop(node, None)
    if needs_rewind(s, job, node):
        rewind(s, job, f"node {node} is lost, with inputs or splits of stage {stage.number}")
        forsake(job, node)
        return
    reduces = stage.reduces.held_at(node)
    maps = stage.maps.held_at(node) if stage.plan.reduces else []
    stage.lost_at[node] = s.now
    stage.reports.pop(node, None)
    if maps or reduces:
        if reduces and job.control is not None:
            s.stop(job.control)
        s.persist(Lost(job.id, stage.number, tuple(maps), tuple(reduces)))
        job.retries += len(maps) + len(reduces)
        before = job.state
        job.lose(maps, reduces)
        splits = stage.plan.splits
        if job.state is JobState.MAPPING and splits.blob is not None and splits.node not in s.fleet.nodes:
            rewind(
                s,
                job,
                f"maps of stage {stage.number} have to run again, and its splits are lost with node {splits.node}",
            )
            return
        if job.state is not before:
            progress.moved(s, job)
    s.policy.update(job)
    s.fresh = True


def forsake(job: Job, node: str) -> None:
    """Of the first stage, which is kept over a rewind, what lay on the lost node is not believed any more: the node may
    live on without it, and the job would come to the same end again and again."""
    if job.kept is not None:
        for phase in (job.kept.maps, job.kept.reduces) if job.kept.plan.reduces else ():
            for index in phase.held_at(node):
                phase.lose(index)


def rewind(s: State, job: Job, why: str) -> None:
    """Back to the first stage, under a new fence."""
    if job.rewinds >= s.settings.max_rewinds:
        message = f"the job started over {job.rewinds} times because nodes were lost, and is given up; last: {why}"
        progress.end(s, job, JobEvent.FAILED, error=TaskError("input-lost", "NodesLost", message))
        return
    for phase in list(job.phases()):
        s.stop(phase)
    s.fence += 1
    s.mark()
    job.rewind(s.fence, why)
    s.persist(Trimmed(job.id))
    s.persist(Rewound(job.id, s.fence, job.rewinds))
    s.changed(job)
    s.policy.update(job)
    s.fresh = True
