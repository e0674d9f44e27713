"""What is kept of jobs that have ended, and for how long.

Three bounds, of which each makes the oldest go first: how many (`keep_ended`), for how many seconds since their end
(`keep_for`), and how many bytes their values and outputs take in all (`keep_bytes`); of the last two 0 means no bound.
Somebody may also ask that a job be forgotten. Then it is gone: from the journal, and its outputs from the nodes.

Seconds are of the caller's clock, which knows nothing of the time before a restart. The first tick that says what the
time of day is sets the ages of jobs that ended before; a clock that jumps later on does nothing.
"""

from __future__ import annotations

from .events import ForgetRequested, Release
from .jobs import Job
from .journal import Forgotten
from .state import State


def retire(s: State) -> None:
    """Forget what is over a bound."""
    settings = s.settings
    while len(s.ended) > settings.keep_ended:
        forget(s, oldest(s))
    if settings.keep_bytes:
        held = {number: size(s.jobs[number]) for number in s.ended}
        total = sum(held.values())
        while total > settings.keep_bytes and len(s.ended) > 1:  # who asked for the newest has not seen it yet
            job = oldest(s)
            total -= held[job.id]
            forget(s, job)
    while settings.keep_for and s.ended:
        job = oldest(s)
        if job.ended_at is None or s.now - job.ended_at < settings.keep_for:
            return
        forget(s, job)


def date(s: State, at: float) -> None:
    """The time of day is `at`: how old are the jobs that had ended before the restart?"""
    for number in s.ended:
        job = s.jobs[number]
        if job.ended_at is None:
            age = at - (job.at + (job.elapsed or 0.0))
            job.ended_at = s.now - min(max(age, 0.0), s.settings.keep_for)


def oldest(s: State) -> Job:
    return s.jobs[next(iter(s.ended))]


def size(job: Job) -> int:
    """Bytes that an ended job takes, here and on the nodes."""
    return len(job.value) + sum(output.blob.size for output in job.outputs if output.blob is not None)


def requested(s: State, event: ForgetRequested) -> None:
    job = s.jobs.get(event.job)
    if job is not None and job.ended:
        forget(s, job)


def forget(s: State, job: Job) -> None:
    """Drop an ended job, and what it still holds on the nodes."""
    del s.ended[job.id], s.jobs[job.id]
    s.tokens.pop(job.token, None)
    s.persist(Forgotten(job.id))
    s.mark()
    if job.outputs:
        s.out.append(Release(job.id))
