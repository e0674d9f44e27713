"""What the coordinator asks while it writes messages and answers people. Nothing here changes anything."""

from __future__ import annotations

from dataclasses import dataclass, field

from . import explain as _explain
from .jobs import Job
from .model import JobSpec, JobState, Output, Skip, StagePlan, TaskError
from .state import State

NO_STAGE = 1 << 40
"""Beyond all stages."""


@dataclass(frozen=True, slots=True)
class Previous:
    """What the last committed stage left for PLAN and FINISH: reduce outputs in partition order, its inputs, setup and
    counters."""

    outputs: tuple[Output, ...] = ()
    inputs: tuple[Output, ...] = ()
    setup: bytes = b""
    counters: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobView:
    """One job for people. `submitted` is the wall clock of its `Submitted`; `elapsed` counts seconds since then, or
    since the coordinator's restart, up to its end. `running` are attempts, `retries` attempts and outputs that had to
    be made again."""

    job: int
    spec: JobSpec
    state: JobState
    stage: int
    stage_name: str
    share: tuple[float, float]
    maps: int
    maps_done: int
    reduces: int
    reduces_done: int
    running: int
    ready: int
    retries: int
    rewinds: int
    counters: dict[str, int]
    submitted: float
    elapsed: float
    value: bytes
    error: TaskError | None
    reason: str
    outputs: tuple[Output, ...]
    skipped: tuple[Skip, ...] = ()
    diverged: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker for people. `since` and `heard` are times of the scheduler's clock."""

    worker: str
    node: str
    slots: int
    running: int
    draining: bool
    since: float
    heard: float
    aside: bool
    types: dict[str, str]


class UnknownJob(LookupError):
    """The scheduler does not know this job, or not at this stage (any more)."""


class Queries:
    """The read-only half of `Scheduler`."""

    state: State

    def _job(self, job: int) -> Job:
        try:
            return self.state.jobs[job]
        except KeyError:
            raise UnknownJob(f"there is no job {job}: it never was, or it ended long ago and was forgotten") from None

    def spec(self, job: int) -> JobSpec:
        """The job as it was submitted, with its number."""
        return self._job(job).spec

    def stage(self, job: int, stage: int) -> StagePlan:
        """The plan of the stage that the job works on, or (for FINISH) the plan that said `last`."""
        plan = self._job(job).plan_of(stage)
        if plan is None:
            raise UnknownJob(f"job {job} has no plan of stage {stage} at hand; it is at stage {self._job(job).number}")
        return plan

    def reduce_inputs(self, job: int, stage: int, partition: int) -> tuple[tuple[int, Output, int, int], ...]:
        """(map index, output, byte offset, byte size) of each segment of a partition, in map order; empty ones are
        left out."""
        at = self._job(job).stage
        if at is None or at.number != stage:
            raise UnknownJob(f"job {job} is not at stage {stage}")
        return tuple(at.segments(partition))

    def previous(self, job: int, stage: int) -> Previous:
        """What PLAN or FINISH of `stage` reads: all that stage - 1 left. Empty for stage 0."""
        found = self._job(job)
        if stage == 0:
            return Previous()
        at = found.stage
        if at is None or at.number != stage - 1:
            raise UnknownJob(f"job {job} does not have stage {stage - 1} at hand")
        outputs = tuple(output if output is not None else Output() for output in at.reduces.outputs)
        return Previous(outputs, at.plan.inputs, at.plan.setup, dict(at.counters))

    def living(self) -> tuple[int, tuple[tuple[int, int, tuple[tuple[int, int], ...]], ...]]:
        """What nodes must keep: (next job's number, (job, stage, units) of each job that has or may have bytes). Of a
        job below that number all may go, but for these units, and whatever is of this stage or a later one."""
        found = []
        for job in self.state.jobs.values():
            if job.ended:
                units = {(output.stage, output.kind): None for output in job.outputs if output.blob is not None}
                if units:
                    found.append((job.id, NO_STAGE, tuple(units)))
            else:
                stage = job.stage.number if job.stage is not None else job.number
                found.append((job.id, stage, tuple(job.units)))
        return self.state.next_job, tuple(found)

    def snapshot(self, job: int) -> JobView:
        """Where the job is, for those who watch it."""
        return view(self._job(job), self.state.now)

    def jobs(self) -> tuple[JobView, ...]:
        """All jobs that are remembered, by number."""
        return tuple(view(self.state.jobs[number], self.state.now) for number in sorted(self.state.jobs))

    def workers(self) -> tuple[WorkerView, ...]:
        """All workers, in the order in which they joined."""
        found = sorted(self.state.fleet, key=lambda worker: (worker.joined, worker.name))
        return tuple(
            WorkerView(w.name, w.node, w.slots, w.in_flight, w.draining, w.joined, w.heard, w.aside, dict(w.types))
            for w in found
        )

    def explain(self, job: int, now: float) -> list[str]:
        """Why the job is where it is, most important first; never empty."""
        return _explain.explain(self.state, self._job(job), now)


def view(job: Job, now: float) -> JobView:
    stage = job.stage
    plan = stage.plan if stage is not None else None
    return JobView(
        job=job.id,
        spec=job.spec,
        state=job.state,
        stage=job.number,
        stage_name=plan.name if plan is not None else "",
        share=plan.share if plan is not None else (0.0, 0.0),
        maps=plan.maps if plan is not None else 0,
        maps_done=stage.maps.done if stage is not None else 0,
        reduces=plan.reduces if plan is not None else 0,
        reduces_done=stage.reduces.done if stage is not None else 0,
        running=job.running,
        ready=job.ready,
        retries=job.retries,
        rewinds=job.rewinds,
        counters=job.counters(),
        submitted=job.at,
        elapsed=job.elapsed if job.elapsed is not None else max(0.0, now - job.began),
        value=job.value,
        error=job.error,
        reason=job.reason,
        outputs=job.outputs,
        skipped=job.skipped(),
        diverged=tuple(job.diverged),
    )
