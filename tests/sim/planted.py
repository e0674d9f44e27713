"""Planted bugs: each breaks one thing in the scheduler, and the simulator must notice within a number of schedules.

A simulator that finds nothing may be blind. Every bug here is one that a scheduler of this kind has had somewhere: a
dropped fence, a commit that was skipped, an output that is not made again. `python -m tests.sim --planted 400` plants
them one by one and says in which schedule, and by which promise, each was caught. One that is not caught is a hole in
the simulator.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from mapreduce.scheduler import dispatch, journal, losses, progress, replay
from mapreduce.scheduler.jobs import Job, Stage
from mapreduce.scheduler.model import JobState, Kind
from mapreduce.scheduler.phase import Phase
from mapreduce.scheduler.policy import Policy
from mapreduce.scheduler.queries import Queries
from mapreduce.scheduler.state import State
from mapreduce.scheduler.table import TaskEvent
from mapreduce.scheduler.workers import Fleet, Worker

from .schedule import simulate

Plant = Callable[[], Any]
BUGS: dict[str, Plant] = {}


def bug(function: Callable[[], Any]) -> Callable[[], Any]:
    """Register a bug; its docstring says what is broken."""
    BUGS[function.__name__] = function
    return function


def swap(owner: Any, name: str, make: Callable[[Any], Any]) -> Any:
    """A patch that replaces an attribute by what `make` builds from the original."""
    return patch.object(owner, name, make(owner.__dict__[name]))


def without(*kinds: type) -> Any:
    """The journal misses records of these kinds."""

    def make(persist: Any) -> Any:
        def wrapped(self: State, record: Any) -> None:
            if not isinstance(record, kinds):
                persist(self, record)

        return wrapped

    return swap(State, "persist", make)


def nothing(*_: Any, **__: Any) -> None:
    return None


# ---------------------------------------------------------------------------------------------------------- the fence


@bug
def fence_dropped() -> Any:
    """A result counts whatever attempt it is of, if somebody runs the task."""

    def make(done: Any) -> Any:
        def wrapped(s: State, worker: Worker, event: Any) -> None:
            phase = s.phase(event.job, event.stage, event.kind)
            if phase is not None:
                for index, attempt, _ in event.done:
                    for other in s.fleet:
                        if other is not worker and index in other.held.get(phase, ()) and index not in phase.backups:
                            other.drop(phase, index)
                            s.fleet.weigh(other)
                            batch = dispatch.Batch(s.now, 0.0, attempt)
                            worker.hold(phase, [index], batch)
            done(s, worker, event)

        return wrapped

    return swap(progress, "tasks_done", make)


@bug
def fence_ignores_the_number() -> Any:
    """A worker's own older attempt counts for its newer one."""

    def make(done: Any) -> Any:
        def wrapped(s: State, worker: Worker, event: Any) -> None:
            phase = s.phase(event.job, event.stage, event.kind)
            held = worker.held.get(phase, {}) if phase is not None else {}
            told = tuple((i, worker.attempt(phase, i) if i in held else a, o) for i, a, o in event.done)  # type: ignore[arg-type]
            done(s, worker, type(event)(event.worker, event.job, event.stage, event.kind, told, event.counters))

        return wrapped

    return swap(progress, "tasks_done", make)


@bug
def plan_not_fenced() -> Any:
    """PLAN and FINISH results count from whoever holds the task, whatever the attempt."""

    def make(fenced: Any) -> Any:
        def wrapped(s: State, worker: Worker, where: Any, index: int, attempt: int) -> Any:
            phase = s.phase(*where)
            if phase is not None and index in worker.held.get(phase, ()):
                attempt = worker.attempt(phase, index)
            return fenced(s, worker, where, index, attempt)

        return wrapped

    return swap(progress, "fenced", make)


@bug
def restart_keeps_the_fence() -> Any:
    """Attempts after a restart are numbered as before it."""

    def make(original: Any) -> Any:
        def wrapped(s: State, records: Any, now: float) -> None:
            records = list(records)
            lowered = [journal.Mark(r.fence - 1, r.next_job) if isinstance(r, journal.Mark) else r for r in records]
            original(s, [type(r)(r.job, 0, r.rewinds) if isinstance(r, journal.Rewound) else r for r in lowered], now)

        return wrapped

    return swap(replay, "replay", make)


@bug
def rewind_keeps_the_fence() -> Any:
    """Attempts after a rewind are numbered as before it."""

    def make(original: Any) -> Any:
        def wrapped(self: Job, fence: int, why: str) -> None:
            original(self, self.fence, why)

        return wrapped

    return swap(Job, "rewind", make)


@bug
def control_numbers_start_again() -> Any:
    """A PLAN task that is made anew gets the numbers of the old one."""

    def make(original: Any) -> Any:
        def wrapped(self: Job) -> None:
            original(self)
            self.last_control = {}

        return wrapped

    return swap(Job, "_drop_control", make)


@bug
def adopts_anything() -> Any:
    """A worker that comes back keeps attempts from before a rewind."""

    def make(original: Any) -> Any:
        def wrapped(s: State, worker: Worker, task: Any, attempt: int) -> bool:
            phase = s.phase(task.job, task.stage, task.kind)
            if phase is None:
                return bool(original(s, worker, task, attempt))
            since, phase.since = phase.since, 0
            attempts = phase.attempts[task.index] if 0 <= task.index < phase.count else 0
            try:
                if 0 <= task.index < phase.count and phase.states[task.index] == 1:
                    phase.attempts[task.index] = 0
                return bool(original(s, worker, task, attempt))
            finally:
                phase.since = since
                if 0 <= task.index < phase.count and not phase.attempts[task.index]:
                    phase.attempts[task.index] = attempts

        return wrapped

    return swap(losses, "adopt", make)


@bug
def failures_count_twice() -> Any:
    """A failure told again after a lost connection is charged again."""

    def make(original: Any) -> Any:
        def wrapped(s: State, worker: Worker, task: Any, attempt: int) -> bool:
            phase = s.phase(task.job, task.stage, task.kind)
            charge = phase.charges.get(task.index) if phase is not None else None
            if charge is not None:
                charge.last = 0
            return bool(original(s, worker, task, attempt))

        return wrapped

    return swap(losses, "adopt", make)


# ---------------------------------------------------------------------------------------------------------- the journal


@bug
def results_not_committed() -> Any:
    """Done is not persisted."""
    return without(journal.Done)


@bug
def plans_not_committed() -> Any:
    """Planned is not persisted."""
    return without(journal.Planned)


@bug
def losses_not_committed() -> Any:
    """Lost is not persisted: after a restart the job believes in outputs that are gone."""
    return without(journal.Lost)


@bug
def rewinds_not_committed() -> Any:
    """Rewound is not persisted."""
    return without(journal.Rewound)


@bug
def charges_not_committed() -> Any:
    """Failures are forgotten by a restart."""
    return without(journal.Charged)


@bug
def ends_not_committed() -> Any:
    """A job that ended starts again after a restart."""
    return without(journal.Ended)


@bug
def mark_not_committed() -> Any:
    """The fence is not persisted."""
    return without(journal.Mark)


@bug
def kept_results_not_committed_again() -> Any:
    """What the first stage had done survives the loss of its splits, but not a restart after it."""
    return patch.object(progress, "commit_again", nothing)


@bug
def kept_outputs_believed() -> Any:
    """A first stage that is planned again counts on outputs that were lost in the meantime."""
    return patch.object(progress, "drop_lost", nothing)


@bug
def tokens_forgotten() -> Any:
    """A submission that is repeated makes another job."""

    def make(original: Any) -> Any:
        def wrapped(s: State, event: Any) -> None:
            s.tokens.clear()
            original(s, event)

        return wrapped

    return swap(progress, "submit", make)


@bug
def trimmed_too_much() -> Any:
    """The last plan trims the stage that FINISH still reads."""

    def make(persist: Any) -> Any:
        def wrapped(self: State, record: Any) -> None:
            if isinstance(record, journal.Planned) and record.plan.last:
                persist(self, journal.Trimmed(record.job))
            persist(self, record)

        return wrapped

    return swap(State, "persist", make)


# ---------------------------------------------------------------------------------------------------- order and content


@bug
def reduce_unordered() -> Any:
    """A reduce gets its segments in the order in which the maps were done, not by number."""

    def make(original: Any) -> Any:
        def wrapped(self: Stage, partition: int) -> Iterator[Any]:
            yield from sorted(original(self, partition), key=lambda segment: segment[1].blob.hash)

        return wrapped

    return swap(Stage, "segments", make)


@bug
def reduce_misses_the_last_map() -> Any:
    """Off by one."""

    def make(original: Any) -> Any:
        def wrapped(self: Stage, partition: int) -> Iterator[Any]:
            yield from (segment for segment in original(self, partition) if segment[0] < self.maps.count - 1)

        return wrapped

    return swap(Stage, "segments", make)


@bug
def offsets_outlive_their_output() -> Any:
    """Every segment is read from the start of the map's output."""

    def make(original: Any) -> Any:
        def wrapped(self: Stage, partition: int) -> Iterator[Any]:
            yield from ((number, output, 0, size) for number, output, _, size in original(self, partition))

        return wrapped

    return swap(Stage, "segments", make)


@bug
def reduces_start_early() -> Any:
    """The last map is not waited for."""
    return patch.object(
        Phase, "complete", property(lambda self: self.done >= self.count - (self.kind == Kind.MAP and self.count > 1))
    )


@bug
def counters_of_redone_tasks_count_again() -> Any:
    """Counters of a map that runs again are added again."""

    def make(original: Any) -> Any:
        def wrapped(self: Phase, index: int) -> None:
            original(self, index)
            self.redone.pop(index, None)

        return wrapped

    return swap(Phase, "lose", make)


@bug
def counters_of_all_attempts() -> Any:
    """Late results bring their counters."""

    def make(original: Any) -> Any:
        def wrapped(s: State, phase: Phase, index: int, output: Any) -> None:
            original(s, phase, index, output)
            job = s.jobs[phase.job]
            if job.stage is not None and phase.kind is Kind.MAP:
                job.stage.counters["records"] = job.stage.counters.get("records", 0) + 1

        return wrapped

    return swap(progress, "late", make)


# ---------------------------------------------------------------------------------------------------------- losses


@bug
def lost_maps_not_run_again() -> Any:
    """Map outputs that are gone with their node are believed to be there."""

    def make(original: Any) -> Any:
        def wrapped(self: Phase, node: str) -> list[int]:
            return [] if self.kind is Kind.MAP else list(original(self, node))

        return wrapped

    return swap(Phase, "held_at", make)


@bug
def lost_reduces_not_run_again() -> Any:
    """Reduce outputs that are gone with their node are believed to be there."""

    def make(original: Any) -> Any:
        def wrapped(self: Phase, node: str) -> list[int]:
            return [] if self.kind is Kind.REDUCE else list(original(self, node))

        return wrapped

    return swap(Phase, "held_at", make)


@bug
def lost_inputs_do_not_rewind() -> Any:
    """A job whose shared state is gone goes on."""
    return patch.object(losses, "needs_rewind", lambda s, job, node: False)


@bug
def nodes_are_never_given_up() -> Any:
    """The grace of a node never ends, and reports about it change nothing."""

    @contextmanager
    def both() -> Iterator[None]:
        with patch.object(losses, "node_lost", nothing), patch.object(losses, "lose_outputs", nothing):
            yield

    return both()


@bug
def leases_never_end() -> Any:
    """Silent workers keep their tasks."""
    return patch.object(losses, "expel", lambda s, worker: s.fleet.heard(worker, s.now))


@bug
def lost_assignments_go_unnoticed() -> Any:
    """Heartbeats that do not name a task change nothing."""

    def make(original: Any) -> Any:
        def wrapped(s: State, worker: Worker, event: Any) -> None:
            original(s, worker, event)
            worker.missing = set()

        return wrapped

    return swap(losses, "heartbeat", make)


@bug
def attempts_of_the_dead_are_not_requeued() -> Any:
    """A worker that is gone takes its tasks along."""
    return patch.object(losses, "lose_attempts", nothing)


@bug
def requeued_tasks_are_not_found() -> Any:
    """A task that came back behind the cursor is forgotten."""

    def make(original: Any) -> Any:
        def wrapped(self: Phase, index: int) -> None:
            original(self, index)
            self.requeued = [i for i in self.requeued if i != index]

        return wrapped

    return swap(Phase, "give_back", make)


@bug
def failures_are_free() -> Any:
    """A task may fail for ever."""

    def make(original: Any) -> Any:
        def wrapped(s: State, worker: Worker, event: Any) -> None:
            phase = s.phase(*event.task[:3])
            if phase is not None:
                phase.charges.pop(event.task.index, None)
            original(s, worker, event)

        return wrapped

    return swap(losses, "failed", make)


@bug
def losses_are_free() -> Any:
    """A task may take workers along for ever."""

    def make(original: Any) -> Any:
        def wrapped(s: State, worker: Worker, attempts: Any, reason: str) -> None:
            for phase, index in attempts:
                phase.charge(index).losses = -1
            original(s, worker, attempts, reason)

        return wrapped

    return swap(losses, "lose_attempts", make)


# ------------------------------------------------------------------------------------------------------- ends and leaks


@bug
def cancel_does_not_abort() -> Any:
    """The running attempts of a job that ends go on."""

    def make(original: Any) -> Any:
        def wrapped(self: State, phase: Phase) -> None:
            before = len(self.out)
            original(self, phase)
            del self.out[before:]

        return wrapped

    @contextmanager
    def both() -> Iterator[None]:
        def deaf(heartbeat: Any) -> Any:
            def wrapped(s: State, worker: Worker, event: Any) -> None:
                before = len(s.out)
                heartbeat(s, worker, event)
                s.out[before:] = [action for action in s.out[before:] if type(action).__name__ != "Abort"]

            return wrapped

        with swap(State, "stop", make), swap(losses, "heartbeat", deaf):
            yield

    return both()


@bug
def rivals_run_on() -> Any:
    """The loser of two attempts keeps its place."""

    def make(original: Any) -> Any:
        def wrapped(self: State, phase: Phase, index: int) -> None:
            phase.backups.pop(index)

        return wrapped

    return swap(State, "drop_rival", make)


@bug
def released_too_early() -> Any:
    """The last stage's outputs are deleted before FINISH has read them."""

    def make(original: Any) -> Any:
        def wrapped(self: Job) -> Any:
            gone = original(self)
            return (
                (*gone, (self.stage.number, Kind.REDUCE)) if self.ahead is not None and self.stage is not None else gone
            )

        return wrapped

    return swap(Job, "outgrown", make)


@bug
def shared_state_released() -> Any:
    """What the new stage reads of the old one is deleted."""

    def make(original: Any) -> Any:
        def wrapped(self: Job) -> Any:
            plan = self.stage.plan if self.stage is not None else None
            inputs = {(o.stage, o.kind) for o in plan.inputs if o.blob is not None} if plan is not None else set()
            return (*original(self), *inputs)

        return wrapped

    return swap(Job, "outgrown", make)


@bug
def never_released() -> Any:
    """Outputs that nobody needs stay."""
    return patch.object(Job, "outgrown", lambda self: ())


# -------------------------------------------------------------------------------------------------------- who gets what


@bug
def any_worker_will_do() -> Any:
    """Job types are not looked at."""

    def make(original: Any) -> Any:
        def wrapped(self: Policy, worker: Worker, skip: Any = frozenset()) -> Any:
            worker.keys = list(self.heaps)
            return original(self, worker, skip)

        return wrapped

    return swap(Policy, "best", make)


@bug
def low_priority_first() -> Any:
    """Upside down."""
    entry = Policy._entry
    return patch.object(Policy, "_entry", staticmethod(lambda job: (job.spec.priority, *entry(job)[1:])))


@bug
def draining_workers_get_more() -> Any:
    """Draining is heard and forgotten."""
    return patch.object(Fleet, "drain", nothing)


@bug
def credit_without_end() -> Any:
    """A worker is sent all there is."""
    return patch.object(dispatch, "room", lambda s, worker, phase: phase.ready)


@bug
def freed_slots_stay_empty() -> Any:
    """Work that becomes ready waits for the next result."""
    return patch.object(dispatch, "offer", lambda s: setattr(s, "fresh", False))


@bug
def closed_phases_hand_out() -> Any:
    """Tasks of a closed phase go back as ready."""

    def make(original: Any) -> Any:
        def wrapped(self: Phase, index: int) -> None:
            closed = not self.is_open
            original(self, index)
            if closed:
                self.move(index, TaskEvent.OPENED)

        return wrapped

    return swap(Phase, "give_back", make)


@bug
def settles_for_less() -> Any:
    """A job whose reduce outputs were lost while planning does not go back."""

    def make(original: Any) -> Any:
        def wrapped(self: Job) -> None:
            if self.state not in (JobState.PLANNING, JobState.FINISHING):
                original(self)

        return wrapped

    return swap(Job, "settle", make)


@bug
def wrong_bytes_are_believed() -> Any:
    """A node that holds wrong bytes keeps what it has: its outputs are read again and again."""
    original = losses.input_lost
    return patch.object(
        losses, "input_lost", lambda s, job, nodes, since, wrong=False: wrong or original(s, job, nodes, since)
    )


@bug
def those_set_aside_get_more() -> Any:
    """A node whose bytes were wrong is set aside, and given work all the same."""
    return patch.object(Worker, "resting", property(lambda self: self.draining))


# ------------------------------------------------------------------------------------------------------ what is kept


@bug
def who_comes_back_keeps_all() -> Any:
    """A worker that was away while something was released is never told."""
    return patch.object(Queries, "living", lambda self: (0, ()))


@bug
def who_comes_back_keeps_nothing_of_ended_jobs() -> Any:
    """Outputs of a job that ended while its worker was away are deleted when it is back."""

    def make(original: Any) -> Any:
        def wrapped(self: Queries) -> Any:
            below, jobs = original(self)
            return below, tuple(job for job in jobs if not self.state.jobs[job[0]].ended)

        return wrapped

    return swap(Queries, "living", make)


@bug
def who_comes_back_keeps_less_than_its_jobs_need() -> Any:
    """What a job's earlier stages left, and its stage at hand reads, is deleted on a node that comes back."""

    def make(original: Any) -> Any:
        def wrapped(self: Queries) -> Any:
            below, jobs = original(self)
            return below, tuple((job, stage, ()) for job, stage, _ in jobs)

        return wrapped

    return swap(Queries, "living", make)


# ------------------------------------------------------------------------------------------------- what is set aside


@bug
def skips_are_not_journaled() -> Any:
    """A split that was set aside is forgotten by a restart."""
    return without(journal.Skipped)


@bug
def skips_of_earlier_stages_are_trimmed() -> Any:
    """What was set aside goes with the journal of its stage."""

    def make(original: Any) -> Any:
        return lambda s, job, skips: original(s, job, [])

    return swap(progress, "trim", make)


@bug
def skips_without_bound() -> Any:
    """As many splits are set aside as fail."""

    def make(original: Any) -> Any:
        def wrapped(s: State, job: Job, phase: Phase, index: int, error: Any) -> None:
            before, job.spec = job.spec, replace(job.spec, limits=replace(job.spec.limits, skip_bad=99))
            original(s, job, phase, index, error)
            job.spec = before

        return wrapped

    return swap(losses, "give_up", make)


@bug
def skips_are_counted_by_stage() -> Any:
    """Each stage may set aside as many splits as the job may in all."""

    def make(original: Any) -> Any:
        def wrapped(s: State, job: Job, phase: Phase, index: int, error: Any) -> None:
            before, job.set_aside = job.set_aside, []
            original(s, job, phase, index, error)
            job.set_aside = before

        return wrapped

    return swap(losses, "give_up", make)


@bug
def skips_at_the_first_failure() -> Any:
    """A split is set aside although its task might still work."""

    def make(original: Any) -> Any:
        def wrapped(s: State, worker: Worker, event: Any) -> None:
            phase = progress.fenced(s, worker, event.task[:3], event.task.index, event.attempt)
            if phase is not None and phase.kind is Kind.MAP and s.jobs[phase.job].spec.limits.skip_bad:
                phase.charge(event.task.index).failures = 5
            original(s, worker, event)

        return wrapped

    return swap(losses, "failed", make)


@bug
def a_rewind_keeps_the_skips() -> Any:
    """A job that starts over still lists what it set aside in its last run."""

    def make(original: Any) -> Any:
        def wrapped(self: Job, fence: int, why: str) -> None:
            before = list(self.skipped())
            original(self, fence, why)
            self.set_aside = before

        return wrapped

    return swap(Job, "rewind", make)


# ---------------------------------------------------------------------------------------------------------- hunting


def hunt(name: str, seeds: int) -> tuple[str, int, str]:
    """(name, the schedule that caught it, how); -1 where none did."""
    with BUGS[name]():
        for seed in range(seeds):
            try:
                simulate(seed)
            except Exception as error:
                return name, seed, f"{type(error).__name__}: {str(error).splitlines()[0][:110]}"
    return name, -1, "not caught"


def _hunt(job: tuple[str, int]) -> tuple[str, int, str]:
    return hunt(*job)


def report(seeds: int, processes: int = 2) -> int:
    """Plant them all; a line each. Returns the number that got away."""
    away = 0
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for name, seed, how in pool.imap(_hunt, [(name, seeds) for name in BUGS]):
            away += seed < 0
            print(f"{'NOT CAUGHT' if seed < 0 else f'seed {seed}':>10}  {name}: {how}", flush=True)
    print(f"{len(BUGS)} planted, {len(BUGS) - away} caught within {seeds} schedules")
    return away
