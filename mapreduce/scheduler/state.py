"""All that the scheduler knows, and the list of orders that the event at hand has led to so far."""

from __future__ import annotations

from collections.abc import Iterator

from .events import Abort, Action, JobChanged, Persist
from .jobs import Job
from .journal import Mark, Record
from .model import TaskId
from .phase import Phase
from .policy import Policy
from .settings import Settings
from .workers import Fleet, Worker


class State:
    """`jobs` holds the live and the ended ones that are still remembered; `ended` the latter in the order in which
    they ended."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.now = 0.0
        self.fence = 0
        self.next_job = 1
        self.jobs: dict[int, Job] = {}
        self.ended: dict[int, None] = {}
        self.tokens: dict[str, int] = {}
        self.fleet = Fleet()
        self.policy = Policy()
        self.trust = 0.0  # no lease ends before: this process itself was away
        self.quiet = 0.0  # nothing is handed out before: workers are on their way back with what they hold
        self.fresh = False  # there may be work for workers other than the one that spoke
        self.marked = False  # the fence in use is in the journal
        self.out: list[Action] = []

    def live(self) -> Iterator[Job]:
        return (job for job in self.jobs.values() if not job.ended)

    def phase(self, job: int, stage: int, kind: int) -> Phase | None:
        found = self.jobs.get(job)
        return found.phase(stage, kind) if found is not None else None

    def persist(self, record: Record) -> None:
        self.out.append(Persist(record))

    def mark(self) -> None:
        self.persist(Mark(self.fence, self.next_job))
        self.marked = True

    def changed(self, job: Job) -> None:
        self.out.append(JobChanged(job.id, job.state, job.number, job.value, job.error, job.reason))

    # ------------------------------------------------------------------------------------------------ attempts

    def return_attempt(self, worker: Worker, phase: Phase, index: int) -> None:
        """The attempt that this worker holds ended without a result. Where another one runs, the task goes on."""
        attempt = worker.attempt(phase, index)
        worker.drop(phase, index)
        self.fleet.weigh(worker)
        if index not in phase.backups:
            phase.give_back(index)
        elif phase.backups[index] == attempt:
            del phase.backups[index]
            phase.retired[index] = attempt
        else:
            phase.attempts[index] = phase.backups.pop(index)

    def stop(self, phase: Phase) -> None:
        """Abort all running attempts of a phase, uncharged."""
        if not phase.running:
            return
        for worker in self.fleet:
            held = worker.held.get(phase)
            if held:
                tasks = tuple((phase.id(index), worker.attempt(phase, index)) for index in held)
                self.out.append(Abort(worker.name, tasks))
                for task, _ in tasks:
                    self.return_attempt(worker, phase, task.index)
        self.fresh = True

    def drop_rival(self, phase: Phase, index: int) -> None:
        """One of two attempts was accepted: abort the other. The caller has taken the accepted one from its worker."""
        for worker in self.fleet:
            held = worker.held.get(phase)
            if held and index in held:
                task: TaskId = phase.id(index)
                self.out.append(Abort(worker.name, ((task, worker.attempt(phase, index)),)))
                worker.drop(phase, index)
                self.fleet.weigh(worker)
        phase.attempts[index] = max(phase.attempts[index], phase.backups.pop(index))
        self.fresh = True
