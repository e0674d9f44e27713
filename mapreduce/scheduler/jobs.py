"""One job: where it is, what it has, and how it moves when something is done or lost.

A `Job` knows nothing of workers, time limits or messages; it is what the journal can rebuild. So the live scheduler
and the replay of a journal go through the same methods, and a restarted coordinator stands where the old one stood.

The job keeps the stage it works on (`stage`: plan, map and reduce phase) until the next one is planned, and beside it
the `control` phase: the one PLAN or FINISH task, while there is one. `settle` is the only place that decides what
comes next.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate

from .model import JobSpec, JobState, Kind, Output, Skip, StagePlan, TaskError
from .phase import Phase
from .table import ENDED, JobEvent, next_job_state

_NO_DIGITS = str.maketrans("", "", "0123456789")

Counts = dict[str, int]
Unit = tuple[int, int]


def add_counts(into: Counts, more: Counts) -> None:
    for name, n in more.items():
        into[name] = into.get(name, 0) + n


def alike(one: StagePlan, other: StagePlan) -> bool:
    """Whether tasks of both stages are likely to take as long: their names differ in numbers at most ("round 7 of 30"),
    and they have as many tasks."""
    sizes = (one.maps, one.reduces) == (other.maps, other.reduces)
    return one.name == other.name or (sizes and one.name.translate(_NO_DIGITS) == other.name.translate(_NO_DIGITS))


class Stage:
    """A planned stage: its plan, its two phases, its counters, and when outputs were last given up as lost, by node."""

    __slots__ = ("counters", "lost_at", "maps", "number", "offsets", "plan", "reduces", "reports", "since")

    def __init__(self, job: int, number: int, plan: StagePlan, fence: int, since: int) -> None:
        self.number, self.plan, self.since = number, plan, since
        self.maps = Phase(job, number, Kind.MAP, plan.maps, fence, since)
        self.reduces = Phase(job, number, Kind.REDUCE, plan.reduces, fence, since)
        self.counters: Counts = {}
        self.lost_at: dict[str, float] = {}
        self.reports: dict[str, int] = {}
        self.offsets: dict[int, array[int]] = {}

    def carry_over(self, old: Stage, fence: int) -> None:
        """The same stage was planned again, because only its splits were lost: what is done stays done."""
        self.maps, self.reduces, self.counters = old.maps, old.reduces, old.counters
        for phase in (self.maps, self.reduces):
            phase.renew(fence)

    def segments(self, partition: int) -> Iterator[tuple[int, Output, int, int]]:
        """What reduce task `partition` reads: (map index, output, byte offset, byte size) in map order, empty ones
        left out."""
        for index, output in enumerate(self.maps.outputs):
            if output is None or partition >= len(output.sizes) or not (size := output.sizes[partition]):
                continue
            offsets = self.offsets.get(index)
            if offsets is None:
                offsets = self.offsets[index] = array("Q", accumulate(output.sizes, initial=0))
            yield index, output, offsets[partition], size

    def everything(self) -> Iterator[Output]:
        """All blobs that the stage has made or reads."""
        yield self.plan.splits
        yield from self.plan.inputs
        for phase in (self.maps, self.reduces):
            yield from (output for output in phase.outputs if output is not None)


class Job:
    """See the essay above. `totals` are the counters of the stages before `stage`; `since` is the fence under which
    this run began."""

    def __init__(self, spec: JobSpec, token: str, at: float, now: float, fence: int, since: int | None = None) -> None:
        self.spec, self.token, self.at, self.began = spec, token, at, now
        self.id, self.key = spec.id, (spec.type, spec.version)
        self.state = JobState.PLANNING
        self.stage: Stage | None = None
        self.ahead: StagePlan | None = None  # the plan that said `last`
        self.kept: Stage | None = None  # the first stage, while it is planned again for its splits
        self.totals: Counts = {}
        self.extra: Counts = {}  # of the last PLAN and of FINISH
        self.set_aside: list[Skip] = []  # of the stages before `stage`
        self.diverged: dict[
            tuple[int, int, int], None
        ] = {}  # (stage, kind, index) that gave different bytes when run again
        self.fence, self.since = fence, fence if since is None else since
        self.retries = self.rewinds = 0
        self.blocked: dict[str, None] = {}  # nodes whose return the job waits for
        self.value, self.reason = b"", ""
        self.error: TaskError | None = None
        self.outputs: tuple[Output, ...] = ()
        self.units: dict[Unit, None] = {}  # where this run has left bytes: (stage, kind)
        self.elapsed: float | None = None
        self.ended_at: float | None = (
            None  # None too for one that ended before the last restart, until its age is known
        )
        self.losses: dict[tuple[int, int, int], int] = {}  # of tasks before the last rewind: (stage, kind, index)
        self.story: deque[str] = deque(maxlen=40)
        self.ticket, self.served = 0, 0.0  # the policy's
        self.stage_at_end = 0
        self.last_control: dict[
            Kind, int
        ] = {}  # the highest attempt number of PLAN and FINISH tasks that were dropped in this stage
        self.control: Phase | None = None
        self._control(Kind.PLAN, 0)

    def __repr__(self) -> str:
        return f"job {self.id} ({self.spec.type})"

    # ------------------------------------------------------------------------------------------------ questions

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def number(self) -> int:
        """The number of the stage that the job is at."""
        if self.control is not None:
            return self.control.stage
        return self.stage.number if self.stage is not None else self.stage_at_end

    @property
    def open(self) -> Phase | None:
        """The phase whose tasks may be handed out; None once the job has ended."""
        state = self.state
        if state is JobState.MAPPING:
            return self.stage.maps if self.stage is not None else None
        if state is JobState.REDUCING:
            return self.stage.reduces if self.stage is not None else None
        return self.control

    @property
    def ready(self) -> int:
        """Tasks that could be handed out at this moment."""
        phase = self.open
        return phase.ready if phase is not None and not self.blocked else 0

    @property
    def running(self) -> int:
        """Running tasks (a task and its backup are one)."""
        count = self.control.running if self.control is not None else 0
        if self.stage is not None:
            count += self.stage.maps.running + self.stage.reduces.running
        return count

    def phases(self) -> Iterator[Phase]:
        if self.control is not None:
            yield self.control
        if self.stage is not None:
            yield self.stage.maps
            yield self.stage.reduces

    def phase(self, stage: int, kind: int) -> Phase | None:
        """The live phase of that stage and kind; None where the job is past it or not yet there."""
        at, control = self.stage, self.control
        if at is not None and at.number == stage and kind in (Kind.MAP, Kind.REDUCE):
            return at.maps if kind == Kind.MAP else at.reduces
        if control is not None and control.stage == stage and control.kind == kind:
            return control
        return None

    def counters(self) -> Counts:
        """Counted so far, over accepted attempts only."""
        total = dict(self.totals)
        if self.stage is not None:
            add_counts(total, self.stage.counters)
        add_counts(total, self.extra)
        return total

    def skipped(self) -> tuple[Skip, ...]:
        """The map tasks that were set aside so far, in order."""
        at = self.stage
        here = sorted(at.maps.skipped.items()) if at is not None else ()
        return (*self.set_aside, *(Skip(at.number, index, error) for index, error in here if at is not None))

    def plan_of(self, stage: int) -> StagePlan | None:
        if self.stage is not None and self.stage.number == stage:
            return self.stage.plan
        if self.ahead is not None and self.control is not None and self.control.stage == stage:
            return self.ahead
        return None

    def outgrown(self) -> tuple[Unit, ...]:
        """The units that nothing refers to any more; they are counted out."""
        if self.ended:
            keep = {(output.stage, output.kind) for output in self.outputs if output.blob is not None}
        else:
            keep = {(self.number, Kind.PLAN)}
            for plan in (self.stage.plan if self.stage is not None else None, self.ahead):
                if plan is not None:
                    keep.update(
                        (output.stage, output.kind) for output in (plan.splits, *plan.inputs) if output.blob is not None
                    )
            if self.stage is not None:
                keep.update((self.stage.number, kind) for kind in (Kind.PLAN, Kind.MAP, Kind.REDUCE))
        gone = tuple(unit for unit in self.units if unit not in keep)
        for unit in gone:
            del self.units[unit]
        return gone

    # ----------------------------------------------------------------------------------------------- what happens to it

    def tell(self, line: str) -> None:
        self.story.append(line)

    def move(self, event: JobEvent) -> None:
        self.state = next_job_state(self.state, event, repr(self), self.story)
        self.tell(f"{event.value} -> {self.state.value}, stage {self.number}")

    def planned(self, plan: StagePlan, since: int) -> None:
        """PLAN answered. With `plan.last` the stage before stays, for FINISH to read; otherwise it goes."""
        number = self.number
        for output in (plan.splits, *plan.inputs):
            if output.blob is not None:
                self.units[output.stage, output.kind] = None
        self.units[number, Kind.PLAN] = None
        if plan.last:
            self.move(JobEvent.LAST_PLANNED)
            self.ahead, self.extra = plan, {}
            self._control(Kind.FINISH, number)
            return
        self.move(JobEvent.PLANNED)
        before, self.totals, self.set_aside = self.stage, self.counters(), list(self.skipped())
        self.stage, self.control, self.since = Stage(self.id, number, plan, self.fence, since), None, since
        self.last_control = {}
        self.units.update({(number, Kind.MAP): None, (number, Kind.REDUCE): None})
        if before is not None and alike(before.plan, plan):
            self.stage.maps.seconds, self.stage.reduces.seconds = before.maps.seconds, before.reduces.seconds
        kept, self.kept = self.kept, None
        if kept is not None and number == 0 and replace(plan, splits=kept.plan.splits) == kept.plan:
            self.stage.carry_over(kept, self.fence)
        self._recall(self.stage.maps)
        self._recall(self.stage.reduces)
        self.stage.maps.open()
        self.settle()

    def settle(self) -> None:
        """Go where the job belongs: on, when a phase is complete; back, when something finished was lost."""
        stage = self.stage
        while stage is not None:
            maps, reduces = stage.maps, stage.reduces
            if self.state is JobState.MAPPING and reduces.count and reduces.complete:
                self._reduced()
            elif self.state is JobState.MAPPING and maps.complete:
                self._reopen(JobEvent.MAPS_DONE, maps, reduces)
            elif self.state is JobState.REDUCING and reduces.complete:
                self._reduced()
            elif self.state is JobState.REDUCING and not maps.complete:
                self._reopen(JobEvent.MAPS_LOST, reduces, maps)
            elif self.state in (JobState.PLANNING, JobState.FINISHING) and not reduces.complete:
                self.move(JobEvent.REDUCES_LOST)
                self._drop_control()
                self.extra = {}
                reduces.open()
            else:
                return

    def lose(self, maps: list[int], reduces: list[int]) -> None:
        """These outputs of the current stage are gone. The caller has aborted the attempts of `control`, if reduces
        are among them."""
        assert self.stage is not None
        for phase, indexes in ((self.stage.maps, maps), (self.stage.reduces, reduces)):
            for index in indexes:
                phase.lose(index)
        for index in maps:
            self.stage.offsets.pop(index, None)
        self.tell(f"lost the outputs of {len(maps)} maps and {len(reduces)} reduces of stage {self.stage.number}")
        self.settle()

    def rewind(self, fence: int, why: str) -> None:
        """Start over. The caller has aborted all attempts. The first stage reads nothing but its splits: what it has
        done is good when it is planned again."""
        self.tell(f"rewind: {why}")
        self.move(JobEvent.REWOUND)
        for phase in self.phases():
            self._remember(phase)
        first = self.stage is not None and self.stage.number == 0
        self.kept = self.stage if first else None
        self.stage = self.ahead = None
        self.totals, self.extra, self.set_aside = {}, {}, []
        self.blocked, self.units = {}, {}
        self.fence = self.since = fence
        self.rewinds += 1
        self._control(Kind.PLAN, 0)

    def start_at(self, stage: int) -> None:
        """Replay only: what was before this stage is trimmed."""
        self.stage = None
        self._control(Kind.PLAN, stage)

    def end(self, event: JobEvent, now: float, number: int) -> None:
        """Done, failed or cancelled; the caller has aborted all attempts. Only what people ask of an ended job is
        kept."""
        self.move(event)
        self.totals, self.extra, self.set_aside = self.counters(), {}, list(self.skipped())
        if event is JobEvent.FINISHED and self.stage is not None:
            self.outputs = tuple(output for output in self.stage.reduces.outputs if output is not None)
        self.elapsed = now - self.began
        self.stage_at_end = number
        self.stage = self.control = self.ahead = self.kept = None
        self.blocked = {}

    def _remember(self, phase: Phase) -> None:
        """A task that takes its worker along, and with it outputs that the job stands on, must not start from nought
        each time."""
        for index, charge in phase.charges.items():
            if charge.losses:
                self.losses[phase.stage, phase.kind, index] = charge.losses

    def _recall(self, phase: Phase) -> None:
        for (stage, kind, index), losses in self.losses.items():
            if (stage, kind) == (phase.stage, phase.kind) and index < phase.count:
                phase.charge(index).losses = losses

    def _control(self, kind: Kind, stage: int) -> None:
        self._drop_control()
        self.control = Phase(self.id, stage, kind, 1, self.fence, self.since)
        self.control.attempts[0] = self.last_control.get(kind, 0)
        self._recall(self.control)
        self.control.open()

    def _drop_control(self) -> None:
        """Numbers go on rising where a PLAN or FINISH task is made anew."""
        control = self.control
        if control is not None:
            last = max(control.attempts[0], control.retired.get(0, 0))
            self.last_control[control.kind] = max(self.last_control.get(control.kind, 0), last)
            self._remember(control)
        self.control = None
        if self.state is not JobState.FINISHING:
            self.ahead = None

    def _reduced(self) -> None:
        assert self.stage is not None
        self.move(JobEvent.REDUCES_DONE)
        self.stage.maps.close()
        self.stage.reduces.close()
        self._control(Kind.PLAN, self.stage.number + 1)

    def _reopen(self, event: JobEvent, old: Phase, new: Phase) -> None:
        self.move(event)
        old.close()
        new.open()
