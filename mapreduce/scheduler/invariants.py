"""What must hold after every event. Slow and obvious: it recounts everything; tests and the simulator call it, the
coordinator does not.

Each check names the promise that would be broken if it failed.
"""

from __future__ import annotations

from collections import Counter

from .jobs import Job
from .model import JobState, Kind
from .phase import DONE, FENCE_SHIFT, READY, RUNNING, WAITING, Phase
from .state import State
from .workers import Worker


class Broken(AssertionError):
    """An invariant does not hold."""


def check(s: State) -> None:
    """Raise Broken, saying what does not hold, if the state is not sound."""
    holders: dict[Phase, Counter[int]] = {}
    for worker in s.fleet:
        check_worker(s, worker)
        for phase, held in worker.held.items():
            holders.setdefault(phase, Counter()).update(held.keys())
    live: set[Phase] = set()
    for job in s.jobs.values():
        check_job(s, job)
        for phase in job.phases():
            live.add(phase)
            check_phase(phase, holders.get(phase, Counter()), s)
    dead = [phase for phase in holders if phase not in live]
    require(not dead, "no task of an ended job or a past stage is with a worker", dead)
    check_fleet(s)
    check_policy(s)
    check_work_conserving(s)


def require(holds: bool, promise: str, *what: object) -> None:
    if not holds:
        raise Broken(f"broken: {promise} ({', '.join(map(repr, what))})")


def check_worker(s: State, worker: Worker) -> None:
    held = sum(map(len, worker.held.values()))
    require(worker.in_flight == held, "a worker's load is what it holds", worker, worker.in_flight, held)
    require(all(worker.held.values()), "a worker keeps no empty books", worker)
    most = worker.slots * (s.settings.prefetch + 1)
    ahead = sum(1 for h in worker.held.values() for batch in h.values() if batch.depth)
    require(ahead <= most, "no worker is sent more than its credit", worker, ahead, most)
    for phase, tasks in worker.held.items():
        spec = s.jobs[phase.job].spec if phase.job in s.jobs else None
        require(spec is not None, "workers hold tasks of known jobs", worker, phase)
        for index, batch in tasks.items():
            known = not batch.backup or batch.backup in (phase.backups.get(index), phase.attempts[index])
            require(known, "a held attempt is a current one", worker, phase.id(index), batch.backup)


def check_phase(phase: Phase, held: Counter[int], s: State) -> None:
    states = Counter(phase.states)
    require(len(phase.states) == phase.count, "every task has a state", phase)
    require(phase.done == states[DONE], "done counts the finished tasks", phase, phase.done, states)
    require(phase.running == states[RUNNING], "running counts the running tasks", phase, phase.running, states)
    ready = states[READY]
    require(phase.ready == ready, "ready counts the ready tasks", phase, phase.ready, states)
    require(
        not ready if not phase.is_open else not states[WAITING], "tasks wait exactly while their phase is closed", phase
    )
    running = {index for index, state in enumerate(phase.states) if state == RUNNING}
    require(running == set(held), "a task runs if and only if a worker holds it", phase, running ^ set(held))
    for index, holders in held.items():
        most = 2 if index in phase.backups else 1
        require(holders == most, "a running task has one holder, or two with a backup", phase.id(index), holders)
    require(set(phase.backups) <= running, "backups belong to running tasks", phase)
    for index, output in enumerate(phase.outputs):
        done = phase.states[index] == DONE
        require(done == (output is not None), "a task has an output if and only if it is done", phase.id(index))
    queued = set(phase.requeued)
    lost = [
        i for i, state in enumerate(phase.states) if state in (READY, WAITING) and i < phase.cursor and i not in queued
    ]
    require(not lost, "every task that can run is found", phase, lost)
    top = (s.fence + 1) << FENCE_SHIFT
    require(all(attempt < top for attempt in phase.attempts), "attempt numbers lie under the fence", phase)


def check_job(s: State, job: Job) -> None:
    if job.ended:
        require(not list(job.phases()), "an ended job has no tasks", job)
        require(job.id in s.ended, "ended jobs are listed", job)
        return
    require(job.id not in s.ended, "live jobs are not listed as ended", job)
    phase = job.open
    require(phase is not None and phase.is_open, "a live job has an open phase", job, job.state)
    for other in job.phases():
        require(other is phase or not other.is_open, "only one phase of a job is open", job, other)
    if phase is not None:
        require(not phase.complete, "a job does not stay where nothing is left to do", job, phase)
    if job.state is JobState.REDUCING and job.stage is not None:
        require(job.stage.maps.complete, "reduces start when all maps are done", job)
    if job.state in (JobState.PLANNING, JobState.FINISHING) and job.stage is not None:
        require(job.stage.reduces.complete, "planning goes on from a complete stage", job)
        require(not job.stage.maps.running, "no map runs when its stage is over", job)
    kinds = {JobState.PLANNING: Kind.PLAN, JobState.FINISHING: Kind.FINISH}
    control = job.control.kind if job.control is not None else None
    require(
        control == kinds.get(job.state),
        "PLAN and FINISH tasks exist while planning and finishing",
        job,
        job.state,
        control,
    )


def check_fleet(s: State) -> None:
    fleet = s.fleet
    slots = sum(worker.slots for worker in fleet if not worker.resting)
    require(fleet.slots == slots, "slots are counted", fleet.slots, slots)
    hungry = {worker.name for worker in fleet if not worker.resting and worker.in_flight < worker.slots}
    require(set(fleet.hungry) == hungry, "hungry workers are listed", set(fleet.hungry) ^ hungry)
    for worker in fleet:
        require(
            worker.aside == bool(fleet.nodes[worker.node].aside), "workers of a node are set aside together", worker
        )
    for name, node in fleet.nodes.items():
        there = {worker.name for worker in fleet if worker.node == name}
        require(set(node.workers) == there, "nodes know their workers", name)
        require((node.gone is None) == bool(there), "a node without workers is going", name)
    heard = [worker.heard for worker in fleet]
    require(heard == sorted(heard), "workers are ordered by when they were last heard")
    for job in s.live():
        if job.stage is not None:
            for phase in (job.stage.maps, job.stage.reduces) if job.stage.plan.reduces else ():
                for output in phase.outputs:
                    known = output is None or output.blob is None or output.node in fleet.nodes
                    require(known, "outputs of the current stage lie on nodes that may live", job, output)
            for output in job.stage.plan.inputs:
                require(
                    output.blob is None or output.node in fleet.nodes, "inputs lie on nodes that may live", job, output
                )


def check_policy(s: State) -> None:
    active = {job.id for jobs in s.policy.active.values() for job in jobs.values()}
    ready = {job.id for job in s.jobs.values() if job.ready}
    require(active == ready, "jobs with ready tasks are in the queue", active ^ ready)
    for key, jobs in s.policy.active.items():
        current = {entry[3] for entry in s.policy.heaps[key] if entry[4] == entry[5].ticket}
        require(set(jobs) <= current, "queued jobs are found", key)


def check_work_conserving(s: State) -> None:
    """No worker has a free slot while there is something that it may run."""
    for worker in s.fleet.hungry.values():
        job = s.policy.best(worker)
        if job is None:
            continue
        phase = job.open
        assert phase is not None
        for index in phase.requeued:
            if phase.states[index] == READY and index in phase.charges and worker.name in phase.charges[index].workers:
                return  # it waits for another worker, or has waited long enough, which the next tick will notice
        require(False, "a free slot does not wait while a task is ready", worker, job, phase.ready)
