"""Sending: what may go at once, what waits for the commit, and who cannot be reached.

What one turn has to say to a worker travels as one bundle (the frames of one message), so that both sides wake once.
Sends never block. A worker that does not read as fast as we write has a backlog, in order and bounded; one that has no
route has a moment to be back, because connections heal, and then it is lost. Both end up in `lost`, which the loop
empties: nothing is handled in the middle of sending.

libzmq does not say whose connection broke, only that one did. Then every worker is sent an Ack that says nothing new,
and those that have no route show.
"""

from __future__ import annotations

import zmq

from ..wire import messages as m
from ..wire import sockets
from ..wire.sockets import Sent
from ..wire.typed import encode
from . import rates
from .failpoints import FailPoints
from .near import Near
from .peers import ClientPeer, Peers, WorkerPeer

RECONNECT = 1.5
"""Seconds that a worker without a route has to be back."""
RECONNECT_HERE = 0.1
"""The same for a worker on this host, whose connection hardly ever breaks but with the worker."""
PROBE = 0.05
"""Seconds between two looks at who has no route."""
BACKLOG = 4_096
"""Bundles kept for a worker that does not read; beyond that it is given up."""


class Post:
    """All that leaves the coordinator's socket. `outbox` waits for the end of the turn, and for the commit
    if anything in it is `bound` to that; `lost` and `gone` are peers that cannot
    be reached any more; `probe_at` is when to look again at those that had no route (0: there is none).

    Args:
        socket: the bound ROUTER.
        peers: who is connected.
        host: id of this host, as workers give it.
        lease: seconds after which a worker that does not read is given up.
        passing: the fail points, where a test set some.
        near: the other way to workers of this host, where there is one.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        peers: Peers,
        host: str,
        lease: float,
        passing: FailPoints | None = None,
        near: Near | None = None,
    ):
        self._socket = socket
        self._peers = peers
        self._host = host
        self._lease = lease
        self._passing = passing
        self._near = near
        self.bound = False
        self.outbox: list[tuple[bytes, bytes]] = []
        self.lost: list[tuple[WorkerPeer, str]] = []
        self.gone: list[ClientPeer] = []
        self.probe_at = self._probed = 0.0

    def later(self, peer: bytes, message: m.Message, *, bound: bool = True) -> None:
        """Send with the next `flush`, after the commit; not `bound`: before it, if nothing else has to wait."""
        self.bound = self.bound or bound
        self.outbox.append((peer, encode(message)))

    def flush(self, now: float) -> None:
        """The commit is done, or nothing waits for it: send."""
        outbox, self.outbox, self.bound = self.outbox, [], False
        bundles: dict[bytes, list[bytes]] = {}
        for peer, frame in outbox:
            if peer in self._peers.workers:
                bundles.setdefault(peer, []).append(frame)
            else:
                self.send(peer, (frame,), now)
        for peer, frames in bundles.items():
            for start in range(0, len(frames), sockets.BUNDLE):
                self.send(peer, tuple(frames[start : start + sockets.BUNDLE]), now)

    def say(self, peer: bytes, message: m.Message, now: float) -> None:
        """Send at once what depends on nothing durable."""
        self.send(peer, (encode(message),), now)

    def send(self, peer: bytes, frames: tuple[bytes, ...], now: float) -> None:
        """Send messages at once as one bundle, or put them behind what waits for that peer."""
        worker = self._peers.workers.get(peer)
        if worker is not None and worker.backlog:
            worker.backlog.append(frames)
            return
        if worker is None and (size := sum(map(len, frames))) >= rates.LARGE:
            client = self._peers.clients.get(peer)
            if client is not None and not client.told.take(now, size):
                wait = client.told.wait()
                text = f"this client asked for more bytes than it gets at once; retry in {wait:.1f} s"
                frames = (encode(m.Rejected("", "busy", text, wait)),)
        outcome = self._hand_over(peer, frames)
        if outcome is Sent.YES:
            return
        if worker is not None:
            worker.stuck = now
            worker.backlog.append(frames)
            if outcome is Sent.GONE:
                self._suspect(worker, now)
        elif outcome is Sent.GONE and peer in self._peers.clients:
            self.gone.append(self._peers.clients[peer])

    def _hand_over(self, peer: bytes, frames: tuple[bytes, ...]) -> Sent:
        if self._passing is None:
            return self._send_to(peer, frames)
        self._passing("send", frames)
        outcome = self._send_to(peer, frames)
        self._passing("sent", frames)
        return outcome

    def _send_to(self, peer: bytes, frames: tuple[bytes, ...]) -> Sent:
        if self._near is not None and peer in self._near:
            return self._near.send_to(peer, *frames)
        return sockets.send_to(self._socket, peer, *frames)

    def retry(self, now: float) -> None:
        """Try again what workers could not take. Call it a few times a second."""
        for worker in self._peers.workers.values():
            while worker.backlog and self._hand_over(worker.id, worker.backlog[0]) is Sent.YES:
                worker.backlog.popleft()
                worker.stuck, worker.suspect = now, 0.0
            if len(worker.backlog) > BACKLOG or (worker.backlog and now - worker.stuck > self._lease):
                self.lost.append((worker, "it does not read what it is sent"))

    def probe(self, now: float) -> None:
        """Find out which workers have no route, a few times a second at most: strangers that come and go must not make
        us write to all workers each time."""
        if now < self._probed + PROBE:
            self.probe_at = self._probed + PROBE
            return
        self.probe_at, self._probed = 0.0, now
        for worker in self._peers.workers.values():
            outcome = self._hand_over(worker.id, (encode(m.Ack(worker.acked)),))
            if outcome is Sent.GONE:
                self._suspect(worker, now)
            elif outcome is Sent.YES:
                worker.suspect = 0.0

    def _suspect(self, worker: WorkerPeer, now: float) -> None:
        worker.suspect = worker.suspect or now
        until = worker.suspect + (RECONNECT_HERE if worker.hello.node.host == self._host else RECONNECT)
        if now >= until:
            self.lost.append((worker, "its connection broke"))
        else:
            self.probe_at = min(self.probe_at or until, until)
