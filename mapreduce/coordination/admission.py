"""Who is heard: what has come is received, decoded and judged here, before anyone deals with it.

Without keys whoever reaches the socket is heard. With keys a message has the key that its connection was let in with,
and what each key may say depends on it: a worker's key speaks as a worker and nothing else, a client's never does, and
what a client may do depends on its scopes (see keys.py). The owner of a job is then the name of the key that submitted
it, whatever the submission says; that key may watch, explain and cancel it without the scope to do so with others'
jobs.

What is not a message, or may not be said, is answered here and counted; none of it reaches the scheduler.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import zmq

from .. import __version__
from ..errors import WireError
from ..keys import Key
from ..wire import messages as m
from ..wire import sockets
from ..wire.gate import Gate
from ..wire.typed import at_coordinator, clip
from . import rates
from .near import Near
from .peers import Peers
from .post import Post
from .rates import Bucket

log = logging.getLogger("daf.coordinator")

BATCH = 512
"""Messages that one turn takes in at most..."""
BUDGET = 0.02
"""...and seconds, so that an answer never waits long for others' messages."""

_FROM_WORKERS = m.FromWorker.__args__


class Admission:
    """Receives from the coordinator's `socket`. `owner` tells whose a job is (None: there is no such job).

    Attributes:
        refused: messages that their senders' keys did not cover.
        malformed: what was no message, or made no sense.
        unheard: messages of those who said too much.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        gate: Gate | None,
        peers: Peers,
        post: Post,
        owner: Callable[[int], str | None],
        near: Near | None = None,
    ):
        self.refused = self.malformed = self.unheard = 0
        self._socket = socket
        self._gate = gate
        self._peers = peers
        self._post = post
        self._owner = owner
        self._near = near
        self._strangers = Bucket(*rates.STRANGERS)

    def arrivals(self, now: float) -> Iterator[tuple[bytes, m.Message]]:
        """What has come and may be handled, each with its peer; bounded, so that one loud peer cannot keep the others
        waiting."""
        for _ in range(BATCH):
            key: Key | None = None
            if self._near is not None and (near := self._near.receive()) is not None:
                frames = near
            elif self._gate is None:
                found = sockets.receive(self._socket)
                if found is None:
                    return
                frames = found
            else:
                known = self._gate.receive(self._socket)
                if known is None:
                    return
                frames, key = known
                if key is None:  # its key was taken away while it was connected
                    continue
            message = self._judged(frames, key, now) if self._within(frames, now) else None
            if message is not None:
                yield frames[0], message
            if time.monotonic() - now > BUDGET:
                return

    def _within(self, frames: list[bytes], now: float) -> bool:
        """Whether the peer may say that much; a client is told when it may say more."""
        peer = frames[0]
        if peer in self._peers.workers:
            return True
        client = self._peers.clients.get(peer)
        if (client.said if client is not None else self._strangers).take(now):
            return True
        self.unheard += 1
        if self.unheard & (self.unheard - 1) == 0:
            log.warning("message number %d that was not heard: its peer says too much", self.unheard)
        if client is not None and now - client.warned > rates.TELL:
            client.warned = now
            self._post.say(peer, self._busy(frames[-1], client.said.wait()), now)
        return False

    @staticmethod
    def _busy(frame: bytes, wait: float) -> m.Message:
        try:
            token = getattr(at_coordinator(frame), "token", "")
        except WireError:
            token = ""
        rate, burst = rates.CLIENT
        text = f"this client says more than {rate:g} messages a second ({burst:g} at once); retry in {wait:.1f} s"
        return m.Rejected(token, "busy", text, wait)

    def _judged(self, frames: list[bytes], key: Key | None, now: float) -> m.Message | None:
        """The message, unless it is none or may not be said; then its peer has been told."""
        try:
            if len(frames) != 2:
                raise WireError(f"a peer sent {len(frames) - 1} frames where one was due")
            message = at_coordinator(frames[1])
        except WireError as error:
            self.nonsense(frames[0], error, now)
            return None
        if key is None:
            return message
        message, refusal = self.admit(key, message)
        if refusal is not None:
            self._post.say(frames[0], refusal, now)
        return message

    def nonsense(self, peer: bytes, error: WireError, now: float) -> None:
        """Not a message: counted, logged now and then, and answered where it does not come from one of our workers."""
        self.malformed += 1
        if self.malformed & (self.malformed - 1) == 0:
            log.warning("malformed message number %d: %s", self.malformed, error)
        if peer not in self._peers.workers:
            self._post.say(peer, m.Refused(clip(f"this is daf {__version__}, protocol {m.PROTOCOL}; {error}")), now)

    def admit(self, key: Key, message: Any) -> tuple[Any, m.Message | None]:
        """(the message as it may be handled, None), or (None, the answer that says why it may not)."""
        wrong = self._wrong(key, message)
        if not wrong:
            if isinstance(message, m.Submit):
                message = msgspec.structs.replace(message, owner=key.name)
            elif isinstance(message, m.Hello):
                node = msgspec.structs.replace(message.node, key=key.public)
                message = msgspec.structs.replace(message, node=node)
            return message, None
        self.refused += 1
        text = f"the key {key.name!r} ({key.role}: {', '.join(sorted(key.scopes)) or 'no scope'}) {wrong}"
        if self.refused & (self.refused - 1) == 0:
            log.warning("refused message number %d: %s", self.refused, text)
        if isinstance(message, m.Hello | m.ClientHello) or key.role != "client":
            return None, m.Refused(clip(text))
        return None, m.Rejected(getattr(message, "token", ""), "forbidden", clip(text))

    def _wrong(self, key: Key, message: Any) -> str:
        """The end of the sentence that refuses the message, or "" when it may be said."""
        if isinstance(message, _FROM_WORKERS):
            return "" if key.role == "worker" and key.may("work") else "may not work here"
        if key.role != "client":
            return "may not speak as a client"
        if key.may("admin") or isinstance(message, m.ClientHello | m.Ping):
            return ""
        match message:
            case m.Submit():
                return "" if key.may("submit") else "may not submit jobs: it lacks the scope submit"
            case m.Cancel(job) | m.Forget(job):
                does = "cancel" if isinstance(message, m.Cancel) else "forget"
                mine = key.may("submit") and self._owner(job) == key.name
                return "" if mine else f"may not {does} job {job}: that takes its submitter's key, or the scope admin"
            case m.Watch(job) | m.Explain(job):
                mine = key.may("submit") and self._owner(job) == key.name
                return "" if mine or key.may("read") else f"may not see job {job}: it lacks the scope read"
            case m.ListJobs():
                return "" if key.may("read") else "may not list jobs: it lacks the scope read"
            case m.ListWorkers():
                return "" if key.may("read") or key.may("submit") else "may not list workers: it lacks the scope read"
            case m.Unwatch():
                return ""
        return "may not say that"
