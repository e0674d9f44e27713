"""Who gets how many tasks, and when.

A worker is given work by credit: its free slots, and beyond them only as much as it turns around in `lookahead`
seconds. How long a task takes is learned from how fast the tasks of its phase come back: the time since a batch was
assigned, by how deep that batch made the queue of a slot. As long as nothing came back nothing is sent ahead. So the
first tasks of a phase go one a slot, and the credit of tiny ones grows to hundreds within a few messages, while a task
of seconds is never queued behind another. When few tasks are left, each worker gets only its share of them, so the
tail spreads. Refills wait until half of the credit is used up: fewer, larger messages.

The job whose turn it is by the policy is never passed over for another because its tasks are too long to be sent
ahead: the worker then drains until a slot is free. Otherwise tiny tasks would keep all slots busy for ever.

What was sent ahead and turns out to wait behind a long task is called back when others have nothing to do (`reclaim`,
and at once for a worker that has just become idle: `relieve`);
a task that takes several times longer than its like gets a backup attempt on a worker with nothing else to do
(`speculate`).
"""

from __future__ import annotations

from functools import partial
from itertools import islice
from math import ceil

from .events import Abort, Assign
from .jobs import Job
from .model import JobState
from .phase import Phase
from .state import State
from .workers import Batch, Worker

NEXT = 0.001
"""Seconds that a task must take to be sent as the next one: about as long as one takes to be asked for. Of shorter ones
more are sent ahead."""
WORTH = 0.005
"""Seconds that a task must take to be called back from one worker for another that is idle."""
LOOKS = 8
"""Workers with something to give that are looked at for that."""


def measure(phase: Phase, batch: Batch, results: int, now: float) -> None:
    """Learn from `results` tasks that came back together how long a task takes; slower is believed faster than
    quicker."""
    if not batch.depth:
        return
    seen = max((now - batch.at) / batch.depth, 1e-6)
    if not phase.seconds:
        phase.seconds = seen
    elif seen > phase.seconds:
        phase.seconds += (seen - phase.seconds) * 0.5
    else:
        phase.seconds += (seen - phase.seconds) * (1 - 0.8**results)


def room(s: State, worker: Worker, phase: Phase) -> int:
    """How many tasks of this phase the worker may be sent now."""
    free = worker.slots - worker.in_flight
    if not phase.seconds or worker.stuck:
        return free
    depth = worker.slots * min(int(s.settings.lookahead / phase.seconds), s.settings.prefetch)
    ahead = int((s.settings.lookahead * worker.slots - worker.load()) / phase.seconds)
    held = len(worker.held.get(phase, ()))
    share = ceil((phase.ready + held) * worker.slots / (2 * s.fleet.slots)) - held
    return max(
        free,
        min(ahead, depth - worker.in_flight, share),
        min(next_ones(s, worker, phase), (phase.ready + phase.running) * worker.slots // s.fleet.slots - held),
    )


def next_ones(s: State, worker: Worker, phase: Phase) -> int:
    """How many tasks the worker lacks to have, beside each that runs, the next one."""
    brief = NEXT <= phase.seconds <= s.settings.brief and s.settings.prefetch
    return 2 * worker.slots - worker.in_flight if brief else 0


def fill(s: State, worker: Worker, limit: int = 0) -> None:
    """Send the worker what is due to it, at most `limit` tasks (0: no limit)."""
    if worker.resting or not s.policy.active or worker.in_flight > worker.enough or s.now < s.quiet:
        return
    skip: set[int] = set()
    given: dict[Phase, list[tuple[int, int]]] = {}
    left = limit or worker.slots * (s.settings.prefetch + 1)
    before = worker.in_flight
    batch = Batch(s.now, 1.0)
    while left > 0 and (job := s.policy.best(worker, skip)) is not None:
        phase = job.open
        assert phase is not None
        n = min(room(s, worker, phase), left)
        if n <= 0:
            break
        turn = s.policy.turn(worker, job, skip)
        if turn:
            n = min(n, max(turn, n // 4))
        tasks = phase.take(n, partial(avoid, s, worker, job, phase))
        if not tasks:
            skip.add(job.id)
            continue
        worker.hold(phase, [index for index, _ in tasks], batch)
        given.setdefault(phase, []).extend(tasks)
        left -= len(tasks)
        s.policy.served(job, len(tasks), phase.seconds)
    if not given:
        return
    if not before:
        worker.turned = s.now
    batch.depth = max(1.0, worker.in_flight / worker.slots)
    worker.enough = max(worker.slots - 1, worker.in_flight // 2)
    s.fleet.weigh(worker)
    for phase, sent in given.items():
        s.out.append(Assign(worker.name, phase.job, phase.stage, phase.kind, tuple(sent)))


def avoid(s: State, worker: Worker, job: Job, phase: Phase, index: int) -> bool:
    """Whether a failed task should wait for another worker than this one: for a while, if there is one that has not
    failed it yet."""
    charge = phase.charges[index]
    if worker.name not in charge.workers or s.now - charge.at > s.settings.patience:
        return False
    return any(other.name not in charge.workers for other in s.fleet.capable(job.spec.type, job.spec.version))


def offer(s: State) -> None:
    """Work became ready: give it to the workers with free slots, those with least to do first, an equal share to
    each."""
    s.fresh = s.now < s.quiet
    if s.fresh or not s.policy.active or not s.fleet.hungry:
        return
    hungry = sorted(s.fleet.hungry.values(), key=lambda worker: worker.in_flight / worker.slots)
    ready = sum(job.ready for jobs in s.policy.active.values() for job in jobs.values())
    for nth, worker in enumerate(hungry):
        if not s.policy.active:
            return
        before = worker.in_flight
        fill(s, worker, max(1, ceil(ready / (len(hungry) - nth))))
        ready -= worker.in_flight - before
    if s.policy.active:
        for worker in list(s.fleet.hungry.values()):
            fill(s, worker)


def idle(s: State) -> list[Worker]:
    """Workers with a free slot for which nothing is ready."""
    return [worker for worker in s.fleet.hungry.values() if s.policy.best(worker) is None]


def relieve(s: State, worker: Worker) -> None:
    """A worker has just become idle and nothing is ready: it gets one of the tasks that wait behind another's slots, if
    they take long enough to be worth it."""
    for other in islice(s.fleet.ahead.values(), LOOKS):
        phase = next(reversed(other.held))
        job = s.jobs[phase.job]
        if phase.seconds < WORTH or phase is not job.open or not worker.knows(job.spec.type, job.spec.version):
            continue
        if s.policy.best(worker) is not None:
            return
        index = next(reversed(other.held[phase]))
        call_back(s, other, [(phase, index, other.attempt(phase, index))])
        return


def reclaim(s: State) -> None:
    """Call back what waits behind the slots of workers that have turned nothing around for a while, if others have
    nothing to do."""
    waiting = idle(s)
    if not waiting:
        return
    for worker in s.fleet:
        spare = worker.in_flight - worker.slots
        if spare <= 0 or s.now - worker.turned < s.settings.hoard:
            continue
        back: list[tuple[Phase, int, int]] = []
        for phase, held in reversed(worker.held.items()):
            job = s.jobs[phase.job]
            if any(other.knows(job.spec.type, job.spec.version) for other in waiting):
                newest = list(held)[::-1][: spare - len(back)]
                back.extend((phase, index, worker.attempt(phase, index)) for index in newest)
        if back:
            call_back(s, worker, back)


def call_back(s: State, worker: Worker, back: list[tuple[Phase, int, int]]) -> None:
    """These attempts (phase, index, attempt) of a worker are ready for others again."""
    s.out.append(Abort(worker.name, tuple((phase.id(index), attempt) for phase, index, attempt in back)))
    for phase, index, _ in back:
        s.return_attempt(worker, phase, index)
    for phase, _, _ in back:
        s.policy.update(s.jobs[phase.job])
    worker.stuck = True
    s.fresh = True


def speculate(s: State) -> None:
    """Start backup attempts of stragglers on workers that have nothing else to do. The first accepted result wins."""
    if not s.settings.speculate or s.now < s.quiet:
        return
    waiting = idle(s)
    for worker in s.fleet if waiting else ():
        for phase, held in list(worker.held.items()):
            job = s.jobs[phase.job]
            if job.state not in (JobState.MAPPING, JobState.REDUCING) or job.blocked or phase.ready:
                continue
            if phase is not job.open:
                continue  # a reduce that outlived the loss of a map: another one could not read everything
            if not phase.seconds or phase.done < s.settings.straggler_after * phase.count:
                continue
            late = max(s.settings.straggler * phase.seconds, s.settings.straggler_floor)
            for index, batch in list(held.items()):
                if s.now - batch.at < late or index in phase.backups:
                    continue
                other = next((w for w in waiting if w is not worker and w.knows(job.spec.type, job.spec.version)), None)
                if other is None:
                    break
                attempt = phase.next_attempt(index)
                phase.backups[index] = attempt
                other.hold(phase, [index], Batch(s.now, 0.0, attempt))
                s.fleet.weigh(other)
                if other.in_flight >= other.slots:
                    waiting.remove(other)
                s.out.append(Assign(other.name, phase.job, phase.stage, phase.kind, ((index, attempt),)))
                job.tell(f"backup attempt of {phase.kind.name} {index} on {other.name}")
