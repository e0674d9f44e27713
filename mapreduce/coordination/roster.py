"""The workers' side: who joins, what each says, who leaves, and who is awaited after a restart.

A worker is known by its routing id from Hello to its end, which shows in one of four ways: it says Bye; its lease runs
out; it does not read; or its connection broke (see post.py), which tells of a killed worker within moments rather than
at the end of its lease.

A coordinator that starts on a store that names workers hands nothing out before they are back, for `REJOIN` seconds at
most: they hold tasks and results of which it knows nothing yet, and those would be computed again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..errors import WireError
from ..scheduler import events as ev
from ..scheduler.core import Scheduler
from ..wire import messages as m
from ..wire.typed import clip
from . import inbound
from .journal import Journal
from .peers import Peers, WorkerPeer
from .post import Post
from .watchers import Watchers

log = logging.getLogger("daf.coordinator")

REJOIN = 3.0
"""Seconds that a restarted coordinator hands nothing out while workers it knew are not back."""
REFUSALS = 20
"""Refused workers that are remembered, for explanations."""


class Roster:
    """Deals with workers. `handle` lets the scheduler handle an event.

    Attributes:
        refusals: workers that were turned away, each with a sentence that says why.
        beats: those whose Beat came in this turn; each is due an Ack at its end.
    """

    def __init__(
        self,
        name: str,
        scheduler: Scheduler,
        journal: Journal,
        peers: Peers,
        post: Post,
        watchers: Watchers,
        handle: Callable[[ev.Event, float], None],
        now: float,
    ):
        self.refusals: dict[str, str] = {}
        self.beats: dict[bytes, WorkerPeer] = {}
        self._name = name
        self._scheduler = scheduler
        self._journal = journal
        self._peers = peers
        self._post = post
        self._watchers = watchers
        self._handle = handle
        self._awaited = set(journal.workers)
        self._rejoin_until = now + REJOIN
        if self._awaited:
            scheduler.wait_for_workers(self._rejoin_until)

    def take(self, worker: WorkerPeer, message: m.Message, now: float) -> None:
        """Deal with one message. Raises WireError for one that only clients send, or whose content makes no sense."""
        name = worker.name
        worker.suspect = 0.0
        match message:
            case m.Results():
                worker.results += 1
                self._handle(inbound.results(name, worker.hello.node.name, message), now)
                self._watchers.progressed(message.job)
            case m.Beat():
                worker.memory, worker.progress = message.memory, message.progress
                self.beats[worker.id] = worker
                self._handle(ev.Heartbeat(name, inbound.running(message.running)), now)
                for said in message.progress:
                    self._watchers.progressed(said.task.job)
            case m.Planned():
                worker.results += 1
                self._handle(inbound.planned(name, message), now)
            case m.Finished():
                worker.results += 1
                self._handle(inbound.finished(name, message), now)
            case m.Failed():
                worker.results += 1
                self._handle(inbound.failed(name, message), now)
            case m.Draining():
                self._handle(ev.WorkerDraining(name), now)
            case m.Bye():
                self.lose(worker, message.reason or "said goodbye", now)
            case m.Hello():
                self.join(worker.id, message, now)
            case _:
                raise WireError(f"worker {name} sent a {type(message).__name__}, which only clients send")

    def join(self, peer: bytes, hello: m.Hello, now: float) -> None:
        """A worker, perhaps one that was here before under another routing id: then what it still holds moves over to
        its new name before the old one leaves."""
        wrong = inbound.difference(hello)
        self.refusals.pop(hello.worker, None)
        if wrong:
            self._refuse(peer, hello, wrong, now)
            return
        settings = self._scheduler.settings
        before = [w for w in self._peers.workers.values() if w.id == peer or w.same_process(hello)]
        worker = WorkerPeer(peer, hello, self._peers.fresh_name(hello.worker))
        self._peers.add_worker(worker)
        self._journal.remember_node(hello.node)
        self._journal.remember_types(hello.plugins)
        self._journal.expect_worker(hello.worker)
        self._post.say(peer, m.Welcome(settings.heartbeat, settings.lease, self._name), now)
        log.info("worker %s joined with %d slots, node %s", worker.name, hello.slots, hello.node.name)
        self._handle(inbound.joined(hello, worker.name), now)
        for old in before:
            self.lose(old, "registered anew", now)
        if before:
            self._journal.expect_worker(hello.worker)
        if self._awaited:
            self._awaited.discard(hello.worker)
            if not self._awaited:
                self._scheduler.wait_for_workers(0.0)
                self._handle(ev.Tick(), now)

    def _refuse(self, peer: bytes, hello: m.Hello, wrong: str, now: float) -> None:
        while len(self.refusals) >= REFUSALS:
            del self.refusals[next(iter(self.refusals))]
        self.refusals[hello.worker] = f"worker {hello.worker} on {hello.node.host} was refused: {wrong}"
        log.warning("%s", self.refusals[hello.worker])
        self._post.say(peer, m.Refused(clip(wrong)), now)

    def lose(self, worker: WorkerPeer, reason: str, now: float) -> None:
        """It left, or cannot be reached any more."""
        self._gone(worker)
        log.info("worker %s left: %s", worker.name, reason)
        self._handle(ev.WorkerLeft(worker.name, reason), now)

    def expelled(self, name: str, reason: str) -> None:
        """The scheduler has given the worker up; should it still listen, it is told to register anew."""
        worker = self._peers.by_name.get(name)
        if worker is not None:
            log.warning("worker %s is given up: %s", name, reason)
            self._gone(worker)
            self._post.later(worker.id, m.Reregister())

    def _gone(self, worker: WorkerPeer) -> None:
        self._peers.drop_worker(worker)
        if self.beats.get(worker.id) is worker:
            del self.beats[worker.id]
        self._journal.forget_worker(worker.hello.worker)

    def tick(self, now: float) -> None:
        """The time to come back may be over."""
        if self._awaited and now >= self._rejoin_until:
            for name in self._awaited:
                log.warning("worker %s did not come back after the restart", name)
                self._journal.forget_worker(name)
            self._awaited.clear()

    def acknowledge(self, safe: bool, now: float) -> None:
        """Tell those who beat in this turn how many of their results are `safe`."""
        for worker in self.beats.values():
            if safe:
                worker.acked = worker.results
            self._post.say(worker.id, m.Ack(worker.acked), now)
        self.beats.clear()
