"""Who watches which job, and what they are told.

The end of a job is told at once, so that waiting for one costs nothing; a new stage or mere progress at most every
`INTERVAL` seconds: a job of many short rounds is not held up by telling of each. An Update is made and encoded once for
all watchers of a job.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from ..scheduler.queries import JobView
from ..scheduler.table import ENDED
from ..wire import messages as m
from ..wire.typed import MAX_NAME, clip
from . import outbound
from .peers import ClientPeer, Peers

INTERVAL = 0.1


class Watchers:
    """`changed` and `progressed` note that there is something to tell, `due` says to whom to tell what."""

    def __init__(self) -> None:
        self._watchers: dict[int, dict[bytes, ClientPeer]] = {}
        self._dirty: dict[int, None] = {}
        self._next: dict[int, float] = {}

    def add(self, job: int, client: ClientPeer) -> None:
        self._watchers.setdefault(job, {})[client.id] = client
        client.watching.add(job)

    def remove(self, job: int, client: ClientPeer) -> None:
        client.watching.discard(job)
        watchers = self._watchers.get(job)
        if watchers is not None:
            watchers.pop(client.id, None)
            if not watchers:
                self._forget(job)

    def drop(self, client: ClientPeer) -> None:
        """The client is gone."""
        for job in list(client.watching):
            self.remove(job, client)

    def _forget(self, job: int) -> None:
        self._watchers.pop(job, None)
        self._dirty.pop(job, None)
        self._next.pop(job, None)

    def changed(self, job: int) -> None:
        """The job ended, or somebody began to watch it."""
        if job in self._watchers:
            self._dirty[job] = None
            self._next.pop(job, None)

    def progressed(self, job: int) -> None:
        """The job entered another stage, or some of its tasks are done, or further."""
        if job in self._watchers:
            self._dirty[job] = None

    def due(self, now: float) -> Iterator[tuple[int, list[ClientPeer]]]:
        """The jobs that there is something to tell of, each with its watchers."""
        for job in list(self._dirty):
            if now >= self._next.get(job, 0.0):
                del self._dirty[job]
                self._next[job] = now + INTERVAL
                yield job, list(self._watchers[job].values())

    def ended(self, job: int) -> None:
        """The last Update of the job has been sent."""
        for client in list(self._watchers.get(job, {}).values()):
            self.remove(job, client)

    def deadline(self) -> float | None:
        """When `due` has something to say again, if nothing else happens."""
        return min((self._next.get(job, 0.0) for job in self._dirty), default=None)


def update(view: JobView, peers: Peers, nodes: Mapping[str, m.Node]) -> m.Update:
    """A job as its watchers see it. `progress` is the share of its stage's tasks that is done, with what running tasks
    say."""
    outputs = tuple(map(outbound.ref, view.outputs))
    ended = view.state in ENDED
    share, note = _progress(view, peers) if not ended else (1.0, "")
    return m.Update(
        job=view.job,
        type=view.spec.type,
        state=view.state.value,
        stage=view.stage,
        stage_name=clip(view.stage_name, MAX_NAME),
        maps=view.maps,
        maps_done=view.maps_done,
        reduces=view.reduces,
        reduces_done=view.reduces_done,
        running=view.running,
        retries=view.retries,
        counters=view.counters,
        submitted=view.submitted,
        elapsed=view.elapsed,
        note=clip(view.reason or note),
        value=view.value,
        error=outbound.error(view.error) if view.error is not None else None,
        outputs=outputs,
        nodes=outbound.holders(outputs, nodes),
        progress=share,
        whole=view.share[0] + share * (view.share[1] - view.share[0]),
        owner=view.spec.owner,
        priority=view.spec.priority,
        bad=len(view.skipped),
        diverged=view.diverged,
        skipped=tuple([m.Skipped(s.stage, s.index, outbound.error(s.error)) for s in view.skipped]) if ended else (),
    )


def brief(view: JobView, peers: Peers) -> m.Update:
    """The same for lists: without the job's value, outputs and skipped splits, which can be large."""
    whole = update(dataclasses.replace(view, value=b"", outputs=()), peers, {})
    return msgspec.structs.replace(whole, skipped=())


def _progress(view: JobView, peers: Peers) -> tuple[float, str]:
    total = view.maps + view.reduces
    done = float(view.maps_done + view.reduces_done)
    note = ""
    for said in _said(view, peers.workers.values()):
        if said.total > 0:
            done += min(max(said.done / said.total, 0.0), 1.0)
        note = said.note or note
    return (min(done / total, 1.0) if total else 0.0), note


def _said(view: JobView, workers: Iterable[Any]) -> Iterator[m.Progress]:
    """What running tasks of the job's stage said in their workers' last heartbeats."""
    for worker in workers:
        for said in worker.progress:
            if said.task.job == view.job and said.task.stage == view.stage:
                yield said
