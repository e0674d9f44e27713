"""From the journal back to a scheduler that stands where the old one stood.

The records go through the same methods of `Job` as the events did that wrote them; nothing is emitted. All numbers
that are given out from now on lie under a new fence. Workers are not in the journal: they come back by themselves,
with what they hold; the nodes on which outputs lie have the usual grace to do so, counted from now.
"""

from __future__ import annotations

from collections.abc import Iterable

from .jobs import Job, add_counts
from .journal import (
    Admitted,
    Charged,
    Done,
    Ended,
    Forgotten,
    Lasted,
    Lost,
    Mark,
    Planned,
    Record,
    Rewound,
    Skipped,
    Trimmed,
)
from .model import NOTHING, JobState, Kind, Output, Skip
from .state import State
from .table import JobEvent

_END = {
    JobState.DONE: JobEvent.FINISHED,
    JobState.FAILED: JobEvent.FAILED,
    JobState.CANCELLED: JobEvent.CANCELLED,
}


def replay(s: State, records: Iterable[Record], now: float) -> None:
    """Fill an empty state."""
    if s.jobs or s.marked:
        raise RuntimeError("restore comes first: this scheduler has already handled events")
    records = list(records)
    marks = [record for record in records if type(record) is Mark]
    fences = [mark.fence for mark in marks] + [r.fence for r in records if type(r) is Rewound]
    s.fence = max(fences) + 1 if fences else 0
    s.next_job = max([mark.next_job for mark in marks] + [r.job + 1 for r in records if type(r) is Admitted], default=1)
    s.now = now
    for record in records:
        apply(s, record, now)
    for job in s.jobs.values():
        if job.ended:
            continue
        for output in at_hand(job):
            if output.blob is not None:
                s.fleet.expect(output.node, now)
        s.policy.update(job)


def at_hand(job: Job) -> Iterable[Output]:
    """All outputs that a live job needs."""
    if job.stage is not None:
        yield from job.stage.everything()
    if job.ahead is not None:
        yield from job.ahead.inputs


def apply(s: State, record: Record, now: float) -> None:
    """Take in one record."""
    if isinstance(record, Mark):
        return
    if isinstance(record, Admitted):
        job = s.jobs[record.job] = Job(record.spec, record.token, record.at, now, s.fence, 0)
        if record.token:
            s.tokens[record.token] = job.id
        return
    found = s.jobs.get(record.job)
    if found is None:
        if isinstance(record, Trimmed | Forgotten):
            return
        raise ValueError(f"the journal has {record!r:.120} of a job that it never admitted; the store is damaged")
    job = found
    if isinstance(record, Trimmed):
        s.jobs[job.id] = Job(job.spec, job.token, job.at, job.began, s.fence, 0)
    elif isinstance(record, Lasted):
        job.began = now - record.seconds
    elif isinstance(record, Forgotten):
        del s.jobs[job.id]
        s.ended.pop(job.id, None)
        s.tokens.pop(job.token, None)
    elif isinstance(record, Planned):
        if record.stage != job.number:
            job.start_at(record.stage)
        job.rewinds = record.rewinds
        job.planned(record.plan, record.since)
        if record.plan.last:
            job.extra = dict(record.totals)
        else:
            job.totals = dict(record.totals)
    elif isinstance(record, Skipped) and (job.stage is None or job.stage.number != record.stage):
        job.set_aside.append(Skip(record.stage, record.index, record.error))
    elif isinstance(record, Rewound):
        job.since, job.rewinds = record.fence, record.rewinds
        job.start_at(0)
    elif isinstance(record, Ended):
        job.error, job.reason, job.value = record.error, record.reason, record.value
        job.retries, job.rewinds = record.retries, record.rewinds
        if record.state is JobState.DONE:
            job.state = JobState.FINISHING
        job.end(_END[record.state], now, record.stage)
        job.totals, job.outputs, job.elapsed = record.counters, record.outputs, record.elapsed
        s.ended[job.id] = None
    else:
        apply_task(job, record)


def apply_task(job: Job, record: Done | Lost | Charged | Skipped) -> None:
    """Something happened to tasks of the current stage."""
    if isinstance(record, Charged):
        phase = job.phase(record.stage, record.kind)
        if phase is not None:
            charge = phase.charge(record.index)
            charge.failures += 1
            charge.workers.append(record.worker)
            charge.last = record.attempt
            job.retries += 1
        return
    stage = job.stage
    if stage is None or stage.number != record.stage:
        raise ValueError(f"the journal has {record!r:.120}, but {job!r} is not at that stage; the store is damaged")
    if isinstance(record, Skipped):
        stage.maps.skip(record.index, record.error)
        if stage.maps.complete:
            job.settle()
        return
    if isinstance(record, Lost):
        job.lose(list(record.maps), list(record.reduces))
        return
    phase = stage.maps if record.kind == Kind.MAP else stage.reduces
    for nth, index in enumerate(record.indexes):
        blob = record.blobs[nth] if record.blobs else None
        phase.restore(
            index,
            Output(blob, record.node, record.sizes[nth], record.stage, record.kind) if blob is not None else NOTHING,
        )
    add_counts(stage.counters, record.counters)
    if phase.complete:
        job.settle()
