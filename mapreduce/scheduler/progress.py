"""What brings jobs forward: submissions, results, cancellations, and the end.

Each function takes one fact, changes the job, persists what a restart must know, and only then orders what others may
see. A result counts only if its worker holds the task under that very attempt number; any other is late. A late result
of a finished task is still good for something: tasks are deterministic, so if its bytes differ from those accepted,
the plugin is not (`Diverged`).
"""

from __future__ import annotations

from dataclasses import replace

from . import dispatch, retention
from .events import Accepted, CancelRequested, Diverged, FinishDone, PlanDone, Rejected, Release, Submitted, TasksDone
from .jobs import Job, Stage, add_counts
from .journal import Admitted, Done, Ended, Lost, Planned, Skipped, Trimmed
from .model import NOTHING, JobState, Kind, Output, Skip, StagePlan, TaskError
from .phase import Phase
from .state import State
from .table import JobEvent
from .workers import Batch, Worker

MOST_DIVERGED = 100
"""Tasks of a job that are remembered for having given different bytes."""


def submit(s: State, event: Submitted) -> None:
    """Admit a job, or say why not. A token that was seen before names the job it made."""
    spec = event.spec
    known = s.tokens.get(event.token) if event.token else None
    if known is not None:
        old = s.jobs[known].spec
        if (old.type, old.params, old.seed) == (spec.type, spec.params, spec.seed):
            s.out.append(Accepted(event.client, event.token, known))
        else:
            message = f"token {event.token!r} names job {known}, with other parameters; a new job needs a new token"
            s.out.append(Rejected(event.client, event.token, "bad-request", message))
        return
    wrong = check(spec.weight, spec.limits.attempts)
    if wrong:
        s.out.append(Rejected(event.client, event.token, "bad-request", wrong))
        return
    live = len(s.jobs) - len(s.ended)
    if live >= s.settings.max_jobs:
        message = f"{live} jobs are running or waiting, and no more are admitted; retry in {s.settings.retry_after:g} s"
        s.out.append(Rejected(event.client, event.token, "full", message, s.settings.retry_after))
        return
    held = sum(len(job.spec.params) for job in s.live())
    if held and held + len(spec.params) > s.settings.max_params:
        message = f"the parameters of live jobs take {held} bytes, and no more are admitted; "
        message += f"retry in {s.settings.retry_after:g} s"
        s.out.append(Rejected(event.client, event.token, "full", message, s.settings.retry_after))
        return
    job = Job(replace(spec, id=s.next_job), event.token, event.at, s.now, s.fence)
    s.next_job += 1
    s.jobs[job.id] = job
    if event.token:
        s.tokens[event.token] = job.id
    s.persist(Admitted(job.id, job.spec, event.token, event.at))
    s.out.append(Accepted(event.client, event.token, job.id))
    s.changed(job)
    s.policy.update(job)
    s.fresh = True


def check(weight: float, attempts: int) -> str:
    if not 0.0 < weight < float("inf"):
        return f"weight must be above 0 and finite, not {weight}"
    if attempts < 1:
        return f"limits.attempts must be 1 or more, not {attempts}"
    return ""


def cancel(s: State, event: CancelRequested) -> None:
    job = s.jobs.get(event.job)
    if job is not None and not job.ended:
        end(s, job, JobEvent.CANCELLED, reason=event.reason)


def fenced(s: State, worker: Worker, stage_kind: tuple[int, int, int], index: int, attempt: int) -> Phase | None:
    """The phase of an attempt that this worker holds; None: it does not hold it (any more), what it says of it is
    late."""
    phase = s.phase(*stage_kind)
    if phase is None:
        return None
    held = worker.held.get(phase)
    return phase if held is not None and index in held and worker.attempt(phase, index) == attempt else None


# ------------------------------------------------------------------------------------------------------------- results


def tasks_done(s: State, worker: Worker, event: TasksDone) -> None:
    """Results of map or reduce tasks."""
    job = s.jobs.get(event.job)
    phase = job.phase(event.stage, event.kind) if job is not None else None
    if job is None or phase is None or phase.kind not in (Kind.MAP, Kind.REDUCE):
        return
    held, attempts = worker.held.get(phase, {}), phase.attempts
    accepted: list[tuple[int, Output]] = []
    counters: dict[str, int] = {}
    batch: Batch | None = None
    for nth, (index, attempt, output) in enumerate(event.done):
        mine = held.get(index)
        if mine is None or attempt != (mine.backup or attempts[index]):
            late(s, phase, index, output)
            continue
        batch = mine
        del held[index]
        phase.accept(index, output)
        accepted.append((index, output))
        if event.counters and event.counters[nth] and index not in phase.redone:
            add_counts(counters, event.counters[nth] or {})
        if phase.redone and (before := phase.redone.get(index, NOTHING)).blob is not None:
            compare(s, phase, index, before, output)
        if phase.backups and index in phase.backups:
            s.drop_rival(phase, index)
    if batch is None:
        return
    if not held:
        del worker.held[phase]
    worker.in_flight -= len(accepted)
    worker.turned, worker.stuck = s.now, False
    s.fleet.weigh(worker)
    dispatch.measure(phase, batch, len(accepted), s.now)
    commit(s, job, phase, accepted, counters, worker.node)
    if phase.complete:
        settle(s, job)
    else:
        s.policy.update(job)


def late(s: State, phase: Phase, index: int, output: Output) -> None:
    """A result that does not count: if the task is done, both must be the same bytes."""
    first = phase.outputs[index] if 0 <= index < phase.count and index not in phase.skipped else None
    if first is not None:
        compare(s, phase, index, first, output)


def compare(s: State, phase: Phase, index: int, first: Output, second: Output) -> None:
    """Two attempts of one task gave these: the same bytes, or the job type is not deterministic."""
    if first.blob == second.blob and (first.blob is None or first.sizes == second.sizes):
        return
    task = phase.id(index)
    diverged = s.jobs[phase.job].diverged
    if len(diverged) < MOST_DIVERGED:
        diverged[task[1:]] = None
    s.out.append(Diverged(task, first, second))


def commit(
    s: State, job: Job, phase: Phase, accepted: list[tuple[int, Output]], counters: dict[str, int], home: str
) -> None:
    """Count and persist accepted results: one record for each node that they lie on, nearly always one."""
    assert job.stage is not None
    add_counts(job.stage.counters, counters)
    nodes = dict.fromkeys(output.node if output.blob is not None else home for _, output in accepted)
    for node in nodes:
        here = (
            accepted
            if len(nodes) == 1
            else [a for a in accepted if (a[1].node if a[1].blob is not None else home) == node]
        )
        indexes = tuple([index for index, _ in here])
        if any(output.blob is not None for _, output in here):
            s.fleet.expect(node, s.now)
            blobs = tuple([output.blob for _, output in here])
            s.persist(
                Done(job.id, phase.stage, phase.kind, node, indexes, blobs, tuple([o.sizes for _, o in here]), counters)
            )
        else:
            s.persist(Done(job.id, phase.stage, phase.kind, node, indexes, counters=counters))
        counters = {}


def plan_done(s: State, worker: Worker, event: PlanDone) -> None:
    """The next stage is known, or that there is none."""
    task = event.task
    phase = fenced(s, worker, task[:3], task.index, event.attempt)
    if phase is None or phase.kind is not Kind.PLAN:
        return
    job, plan = s.jobs[task.job], event.plan
    take_result(s, worker, phase)
    wrong = check_plan(plan, s.settings.max_tasks)
    if wrong:
        end(s, job, JobEvent.FAILED, error=TaskError("protocol", "BadPlan", wrong, worker=worker.name))
        return
    for output in (plan.splits, *plan.inputs):
        if output.blob is not None:
            s.fleet.expect(output.node, s.now)
    kept = job.kept
    if kept is not None:
        drop_lost(s, kept)
    job.planned(plan, job.fence)
    add_counts(job.extra if plan.last else job.totals, event.counters or {})
    if not plan.last:
        trim(s, job, job.set_aside)
    s.persist(Planned(job.id, task.stage, plan, job.fence, dict(job.extra if plan.last else job.totals), job.rewinds))
    if kept is not None and job.stage is not None and job.stage.maps is kept.maps:
        commit_again(s, job, kept)
    units = job.outgrown()
    if units:
        s.out.append(Release(job.id, units))
    moved(s, job)


def drop_lost(s: State, stage: Stage) -> None:
    """Of a stage that is planned again, the outputs whose nodes went away in the meantime."""
    for phase in (stage.maps, stage.reduces) if stage.plan.reduces else ():
        for node in dict.fromkeys(output.node for output in phase.outputs if output is not None):
            if node and node not in s.fleet.nodes:
                for index in phase.held_at(node):
                    phase.lose(index)


def commit_again(s: State, job: Job, stage: Stage) -> None:
    """The journal was trimmed with the plan: say again what is done. Tasks that were done and lost are said to be
    both, because their counters are in."""
    counters = stage.counters
    for index, error in stage.maps.skipped.items():  # first: once all reduces are said to be done, no map is open
        s.persist(Skipped(job.id, stage.number, index, error))
    lost: list[tuple[int, ...]] = []
    for phase in (stage.maps, stage.reduces):
        again = sorted(index for index in phase.redone if phase.outputs[index] is None)
        lost.append(tuple(again))
        nodes: dict[str, list[int]] = {"": again} if again else {}
        for index, output in enumerate(phase.outputs):
            if output is not None and index not in phase.skipped:
                nodes.setdefault(output.node if output.blob is not None else "", []).append(index)
        for node, indexes in nodes.items():
            outputs = [phase.outputs[index] or NOTHING for index in indexes] if node else []
            blobs, sizes = tuple(output.blob for output in outputs), tuple(output.sizes for output in outputs)
            s.persist(Done(job.id, phase.stage, phase.kind, node, tuple(indexes), blobs, sizes, dict(counters)))
            counters = {}
    if any(lost):
        s.persist(Lost(job.id, stage.number, lost[0], lost[1]))


def check_plan(plan: StagePlan, most: int) -> str:
    """What is wrong with a plan; empty: nothing."""
    if plan.maps < 0 or plan.reduces < 0:
        return f"stage {plan.name!r} has {plan.maps} maps and {plan.reduces} reduces; neither can be negative"
    if plan.last and (plan.maps or plan.reduces):
        return f"stage {plan.name!r} is the last and has {plan.maps} maps and {plan.reduces} reduces; the last has none"
    if plan.maps + plan.reduces > most:
        return f"stage {plan.name!r} has {plan.maps + plan.reduces} tasks, allowed are {most}; make the splits larger"
    return ""


def finish_done(s: State, worker: Worker, event: FinishDone) -> None:
    """The job's value is here."""
    task = event.task
    phase = fenced(s, worker, task[:3], task.index, event.attempt)
    if phase is None or phase.kind is not Kind.FINISH:
        return
    job = s.jobs[task.job]
    take_result(s, worker, phase)
    job.value = event.value
    add_counts(job.extra, event.counters or {})
    end(s, job, JobEvent.FINISHED)


def take_result(s: State, worker: Worker, phase: Phase) -> None:
    """Accept the result of a PLAN or FINISH task."""
    worker.drop(phase, 0)
    worker.turned = s.now
    s.fleet.weigh(worker)
    phase.accept(0, NOTHING)
    if phase.backups:
        s.drop_rival(phase, 0)


# ---------------------------------------------------------------------------------------------------- moving and ending


def settle(s: State, job: Job) -> None:
    """Let the job go where it belongs, and tell whom it concerns."""
    job.settle()
    moved(s, job)


def moved(s: State, job: Job) -> None:
    """The job has (perhaps) entered another state or stage."""
    if job.state in (JobState.PLANNING, JobState.FINISHING) and job.stage is not None:
        s.stop(job.stage.maps)
    s.changed(job)
    s.policy.update(job)
    s.fresh = True


def end(s: State, job: Job, event: JobEvent, error: TaskError | None = None, reason: str = "") -> None:
    """The job is done, failed or cancelled: stop what runs, remember what people will ask for, forget the rest."""
    number = job.number
    for phase in list(job.phases()):
        s.stop(phase)
    job.error, job.reason = error, reason
    job.end(event, s.now, number)
    trim(s, job, job.set_aside)
    elapsed = job.elapsed or 0.0
    told = (job.value, error, reason, job.totals, job.outputs, elapsed, job.retries, job.rewinds)
    s.persist(Ended(job.id, job.state, number, *told))
    units = job.outgrown()
    if units or not job.outputs:
        s.out.append(Release(job.id, units if job.outputs else ()))
    s.changed(job)
    s.policy.update(job)
    s.ended[job.id] = None
    s.fresh = True
    job.ended_at = s.now
    retention.retire(s)


def trim(s: State, job: Job, skips: list[Skip]) -> None:
    """The journal may forget what the job's stages did, but for what was set aside."""
    s.persist(Trimmed(job.id))
    for skip in skips:
        s.persist(Skipped(job.id, *skip))
