"""The coordinator's loop: one thread, one ROUTER, and in a local engine a shorter way to the workers (near.py).

A turn receives what has come (bounded, so that one loud peer cannot keep the others waiting), lets the scheduler handle
it, appends what has to last to the journal, commits once, and only then sends what depends on it. So the cost of
durability is shared by all that happened in the turn, and the busier it is the more that is.

What leaves falls in two kinds. Answers that depend on nothing durable (Welcome, Reregister, Pong) go out at once. All
else waits for the commit (`promises.py`). What comes passes `admission.py`; `roster.py` deals with workers, `desk.py`
with clients, `post.py` sends.
"""

from __future__ import annotations

import logging
import os
import platform
import socket
import time
from math import ceil

import zmq

from ..errors import WireError
from ..keys import Keys
from ..scheduler import events as ev
from ..scheduler.core import Scheduler
from ..scheduler.model import Kind
from ..scheduler.settings import Settings
from ..scheduler.table import ENDED
from ..store import Store
from ..wire import messages as m
from ..wire import sockets
from ..wire.gate import Gate
from ..wire.typed import clip
from ..working.host import host_id
from . import outbound
from .admission import Admission
from .desk import Desk
from .failpoints import FailPoints
from .journal import Journal
from .near import Near
from .peers import Peers
from .post import Post
from .promises import Promises
from .roster import Roster
from .watchers import Watchers

log = logging.getLogger("daf.coordinator")

TICK = 0.25
"""Seconds between ticks of the scheduler, fewer where heartbeats are quicker."""


class Coordinator:
    """Serves on `bind` with the state in `store`. `run` returns after `stop`, which any thread may call; then `close`.
    With `keys`, only peers whose keys it knows get in, and each may say what its key's scopes allow. `passing` are a
    test's fail points. Workers may also come over the stream socket `near`, a path (see near.py).

    Raises:
        Insecure: `bind` can be reached from other hosts, and there are no keys.
        StoreError: the store holds what this version cannot read.
        OSError: the address cannot be bound.
    """

    def __init__(
        self,
        bind: str,
        store: Store,
        settings: Settings | None = None,
        *,
        name: str = "",
        keys: Keys | None = None,
        passing: FailPoints | None = None,
        near: str = "",
    ):
        store.passing = passing
        self.settings = settings or Settings()
        self.name = name or f"{platform.node()[:200]}-{os.getpid()}"
        self.scheduler = Scheduler(self.settings)
        self.journal = Journal(store, self._lasted)
        self.peers = Peers()
        self._store = store
        self._stopping = False
        self._tick_at = 0.0
        now = time.monotonic()
        self.scheduler.restore(self.journal.read(), now)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.gate = Gate(self._context, keys, lambda key: key.role in ("worker", "client")) if keys else None
        try:
            self._socket, self.endpoint = sockets.router(self._context, bind, curve=keys.listen() if keys else None)
        except BaseException:
            if self.gate is not None:
                self.gate.close()
            self._context.term()
            raise
        self._near = Near(near) if near else None
        self.post = Post(self._socket, self.peers, host_id(), self.settings.lease, passing, self._near)
        self.admission = Admission(self._socket, self.gate, self.peers, self.post, self._owner, self._near)
        parts = (self.name, self.scheduler, self.journal, self.peers, self.post)
        watchers = Watchers()
        self.roster = Roster(*parts, watchers, self.handle, now)
        self.desk = Desk(*parts, watchers, self.handle, self.roster.refusals)
        self.promises = Promises(*parts[1:], self.roster, self.desk, self.handle)
        self._hangups = sockets.Hangups(self._socket)
        self._wake, self._woken = socket.socketpair()
        for end in (self._wake, self._woken):
            end.setblocking(False)
        self._poller = zmq.Poller()
        for thing in (self._socket, self._hangups.socket, self._woken):
            self._poller.register(thing, zmq.POLLIN)
        if self.gate is not None:
            self._poller.register(self.gate.socket, zmq.POLLIN)
        if self._near is not None:
            self._poller.register(self._near.fileno(), zmq.POLLIN)

    # ------------------------------------------------------------------------------------------------------ the loop

    def run(self) -> None:
        """Serve until `stop`."""
        while not self._stopping:
            self.turn(self._patience())

    def stop(self) -> None:
        """End `run` soon. May be called from another thread or a signal handler."""
        self._stopping = True
        try:
            self._wake.send(b"x")
        except OSError:  # the pipe is full: the loop is awake, or closed
            return

    def close(self) -> None:
        """Commit what there is, close the socket and the store."""
        try:
            if self.journal.dirty:
                self.promises.commit(time.monotonic())
        finally:
            self._hangups.close()
            self._socket.close(200)
            if self._near is not None:
                self._near.close()
            if self.gate is not None:
                self.gate.close()
            self._context.term()
            self._wake.close()
            self._woken.close()
            self._store.close()

    def turn(self, seconds: float) -> None:
        """Wait up to `seconds` for something to happen, and deal with all that has."""
        ready = dict(self._poller.poll(max(0, ceil(seconds * 1000))))
        now = time.monotonic()
        if self._woken.fileno() in ready:
            self._woken.recv(4096)
        if self.gate is not None and self.gate.socket in ready:
            self.gate.serve()
        if self._near is not None and self._near.fileno() in ready:
            self._near.serve()
        for peer, message in self.admission.arrivals(now):
            try:
                self._take(peer, message, now)
            except WireError as error:
                self.admission.nonsense(peer, error, now)
        if self._hangups.socket in ready:
            self._hangups.happened()
            self.post.probe(now)
        elif self.post.probe_at and now >= self.post.probe_at:
            self.post.probe(now)
        if now >= self._tick_at:
            self._tick(now)
        self._bury(now)
        self.promises.keep(now)

    def _patience(self) -> float:
        """How long to wait for something to happen. Who was found lost while sending is dealt with in the next turn, at
        once."""
        if self.post.lost or self.post.gone or (self._near is not None and (self._near.waiting or self._near.gone)):
            return 0.0
        tick = self._tick_at
        until = min(
            tick, self.desk.watchers.deadline() or tick, self.post.probe_at or tick, self.promises.wake_at or tick
        )
        return until - time.monotonic()

    def _lasted(self, job: int) -> float | None:
        """Seconds since the job was admitted; None where it has ended."""
        found = self.scheduler.state.jobs.get(job)
        return None if found is None or found.ended else time.monotonic() - found.began

    def _owner(self, job: int) -> str | None:
        """Who submitted a job."""
        return self.scheduler.state.jobs[job].spec.owner if job in self.scheduler.state.jobs else None

    def _tick(self, now: float) -> None:
        self.roster.tick(now)
        self._tick_at = now + min(TICK, self.settings.heartbeat / 3)
        self.handle(ev.Tick(time.time()), now)
        self.post.retry(now)
        self.post.gone.extend(self.peers.silent_clients(now))

    def _bury(self, now: float) -> None:
        """Peers that cannot be reached any more."""
        if self._near is not None and self._near.gone and not self._near.waiting:
            for peer in self._near.gone:
                if peer in self.peers.workers:
                    self.post.lost.append((self.peers.workers[peer], "its connection broke"))
            self._near.gone.clear()
        lost, self.post.lost = self.post.lost, []
        for worker, reason in lost:
            if self.peers.workers.get(worker.id) is worker:
                self.roster.lose(worker, reason, now)
        gone, self.post.gone = self.post.gone, []
        for client in gone:
            self.desk.forget(client)

    def _take(self, peer: bytes, message: m.Message, now: float) -> None:
        """Deal with one message."""
        worker = self.peers.workers.get(peer)
        if worker is not None:
            self.roster.take(worker, message, now)
            return
        client = self.peers.clients.get(peer)
        if client is not None:
            self.peers.heard(client, now)
            self.desk.take(client, message, now)
        elif isinstance(message, m.Hello):
            self.roster.join(peer, message, now)
        elif isinstance(message, m.ClientHello):
            self.desk.welcome(peer, message, now)
        elif not isinstance(message, m.Bye):
            self.post.say(peer, m.Reregister(), now)

    # ------------------------------------------------------------------------------------------------------- actions

    def handle(self, event: ev.Event, now: float) -> None:
        """Let the scheduler handle an event; carry out what it asks for, in order."""
        for action in self.scheduler.handle(event, now):
            if type(action) is ev.Persist:
                self.journal.append(action.record)  # type: ignore[arg-type]
                continue
            self.journal.depends(action)
            if type(action) is ev.Assign:
                self._assign(action)
            else:
                self._carry_out(action, now)

    def _assign(self, action: ev.Assign) -> None:
        peer = self.peers.by_name.get(action.worker)
        if peer is not None:
            bound = action.kind != Kind.MAP or self.journal.bound
            for message in outbound.assign(action, peer, self.scheduler, self.journal.nodes):
                self.post.later(peer.id, message, bound=bound)

    def _carry_out(self, action: ev.Action, now: float) -> None:
        match action:
            case ev.JobChanged(job, state):
                tell = self.desk.watchers.changed if state in ENDED else self.desk.watchers.progressed
                tell(job)
            case ev.Accepted():
                self.promises.accept(action)
            case ev.Rejected(client, token, code, text, retry_after):
                answer = m.Rejected(token, "full" if code == "full" else "bad-request", clip(text), retry_after)
                self.post.say(client, answer, now)
            case ev.Abort(worker, tasks):
                if worker in self.peers.by_name:
                    keys = tuple([outbound.key(task, attempt) for task, attempt in tasks])
                    self.post.later(self.peers.by_name[worker].id, m.Abort(keys))
            case ev.Expel(worker, reason):
                self.roster.expelled(worker, reason)
            case ev.Release() | ev.Keep():
                self.promises.release(action, now)
            case ev.SetAside(task, error):
                log.warning("map %d of job %d is set aside: %s: %s", task.index, task.job, error.type, error.message)
            case ev.Diverged(task, first, second):
                log.error(
                    "two attempts of %s gave different bytes (%s on %s, %s on %s): the job type is not deterministic",
                    task, first.blob, first.node, second.blob, second.node,
                )  # fmt: skip
