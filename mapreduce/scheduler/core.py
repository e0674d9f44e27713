"""The scheduler: events in, actions out, and nothing else.

`handle(event, now)` is all that ever changes it. It opens no socket, reads no clock, draws no random number and writes
no file, so the simulator can drive it through hours of disasters in seconds, and a failing seed replays exactly. The
process around it turns messages into events, carries out the actions in order, commits what is to be persisted, and
asks the questions of `queries.py` while it writes messages: right after the `handle` that returned the `Assign`,
because the next event may move the job on. An exception out of `handle` is a bug of ours, never somebody's wrong
message; what is committed is sound, so the process should end and start again from its journal.

Where things are: `table.py` the states; `phase.py` the tasks of a phase; `jobs.py` how a job moves; `workers.py` who
holds what; `policy.py` whose turn it is; `dispatch.py` how much is handed out; `progress.py` what brings jobs
forward; `losses.py` what sets them back; `blame.py` nodes whose bytes are wrong; `journal.py` and `replay.py` what
survives a restart; `explain.py` why a job is where it is; `invariants.py` what must hold after every event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from . import blame, dispatch, losses, progress, replay, retention
from .events import (
    Action,
    CancelRequested,
    Event,
    Expel,
    FinishDone,
    ForgetRequested,
    Heartbeat,
    PlanDone,
    Submitted,
    TaskFailed,
    TasksDone,
    Tick,
    WorkerDraining,
    WorkerJoined,
    WorkerLeft,
)
from .journal import Record
from .queries import Queries
from .settings import Settings
from .state import State

INSTANT = 1e-6
"""Seconds from one event to the next while the clock is behind."""


class Scheduler(Queries):
    """One coordinator's mind. `restore` may be called once, before the first `handle`."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.state = State(settings or Settings())

    @property
    def settings(self) -> Settings:
        return self.state.settings

    def restore(self, records: Iterable[Record], now: float) -> None:
        """Stand where the scheduler stood whose committed records these are, in order. Emits nothing."""
        replay.replay(self.state, records, now)

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take in one event at `now` (seconds of any clock that never goes back; if it does, time all but stands still
        here: what comes later is still seen to be later)."""
        s = self.state
        pause = now - s.now
        if pause > 0:
            if pause > s.settings.heartbeat and s.fleet.since:
                s.trust = now + min(pause, s.settings.lease)
            s.now = now
        elif pause < 0:
            s.now += INSTANT
        s.out = []
        if not s.marked:
            s.mark()
        kind = type(event)
        from_worker = _FROM_WORKER.get(kind)
        if from_worker is not None:
            worker = s.fleet.get(event.worker)  # type: ignore[union-attr]
            if worker is None:
                s.out.append(Expel(event.worker, "not registered"))  # type: ignore[union-attr]
                return s.out
            s.fleet.heard(worker, s.now)
            from_worker(s, worker, event)
            if not s.fresh:
                dispatch.fill(s, worker)
                if s.fleet.ahead and worker.name in s.fleet.hungry:
                    dispatch.relieve(s, worker)
        else:
            _OTHERS[kind](s, event)
        if s.fresh:
            dispatch.offer(s)
        return s.out

    def wait_for_workers(self, until: float) -> None:
        """Hand nothing out before `until`. After a restart workers come back one by one with tasks in their hands, and
        what the second holds must not be given to the first meanwhile. `until` in the past ends the wait at once."""
        self.state.quiet = until
        self.state.fresh = True

    def next_deadline(self) -> float | None:
        """When something happens if nothing else does: a lease or a node's grace ends. A Tick by then is soon
        enough."""
        s = self.state
        ends = [node.gone + s.settings.node_grace for node in s.fleet.nodes.values() if node.gone is not None]
        first = next(iter(s.fleet), None)
        if first is not None:
            ends.append(max(first.heard + s.settings.lease, s.trust))
        return min(ends, default=None)


def tick(s: State, event: Tick) -> None:
    """Leases and graces end; work that is stuck behind a slow task is spread."""
    while (worker := next(iter(s.fleet), None)) is not None:
        if s.now <= max(worker.heard + s.settings.lease, s.trust):
            break
        losses.expel(s, worker)
    over = [n.name for n in s.fleet.nodes.values() if n.gone is not None and s.now >= n.gone + s.settings.node_grace]
    for node in over:
        losses.node_lost(s, node)
    if event.at:
        retention.date(s, event.at)
    retention.retire(s)
    blame.forgive(s)
    dispatch.reclaim(s)
    dispatch.offer(s)
    dispatch.speculate(s)


def _joined(s: State, event: WorkerJoined) -> None:
    losses.joined(s, event)
    worker = s.fleet.get(event.worker)
    if worker is not None:
        s.fleet.heard(worker, s.now)


_FROM_WORKER: dict[type, Callable[[State, Any, Any], None]] = {
    Heartbeat: lambda s, w, e: losses.heartbeat(s, w, e),
    TasksDone: lambda s, w, e: progress.tasks_done(s, w, e),
    PlanDone: lambda s, w, e: progress.plan_done(s, w, e),
    FinishDone: lambda s, w, e: progress.finish_done(s, w, e),
    TaskFailed: lambda s, w, e: losses.failed(s, w, e),
}
_OTHERS: dict[type, Callable[[State, Any], None]] = {
    Submitted: lambda s, e: progress.submit(s, e),
    CancelRequested: lambda s, e: progress.cancel(s, e),
    ForgetRequested: lambda s, e: retention.requested(s, e),
    WorkerJoined: _joined,
    WorkerLeft: lambda s, e: losses.left(s, e),
    WorkerDraining: lambda s, e: losses.draining(s, e),
    Tick: lambda s, e: tick(s, e),
}
