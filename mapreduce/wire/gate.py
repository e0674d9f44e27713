"""The gate of a bound socket: libzmq asks it about every connection (ZAP, RFC 27), and gets the key that connects.

It is a REP socket that lives in the loop of whoever bound the other one, so there is no thread and no lock; it must
exist before the other is bound, in the same context. A peer is let in when the key directory knows its key and `admits`
takes it. Who is not let in gets no answer at all (status 300: libzmq drops the connection without an error message),
and neither does a peer without CURVE or with another server's key, of whom libzmq itself sees to it.

A connection's key stands at each of its messages (`receive`), from ZAP and not from the peer, and is looked up again
for each: a key that is taken out of the directory loses what it had within a second.

Strangers who show a key are counted; the log gets a line when their number has doubled, and no more. The others end
inside libzmq."""

from __future__ import annotations

import logging
from collections.abc import Callable

import zmq
from zmq.utils import z85

from ..keys import Key, Keys

log = logging.getLogger("daf.gate")

ZAP = "inproc://zeromq.zap.01"
DOMAIN = b"daf"
BATCH = 256
"""Questions answered at a time, so that a flood of strangers cannot keep the loop."""


class Gate:
    """Answers for sockets of `context`. `socket` goes into the poller, `serve` is called when it is readable.

    Attributes:
        strangers: connections that were not let in, of those that came as far as showing a key.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: Keys, admits: Callable[[Key], bool]):
        self.strangers = 0
        self._directory = keys.directory
        self._admits = admits
        self.socket: zmq.Socket[bytes] = context.socket(zmq.REP)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(ZAP)

    def serve(self) -> None:
        """Answer what has been asked."""
        for _ in range(BATCH):
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            known = self._judge(frames)
            number = frames[1] if len(frames) > 1 else b""
            if known is not None:
                self.socket.send_multipart([b"1.0", number, b"200", b"OK", known.public.encode(), b""])
            else:
                self.socket.send_multipart([b"1.0", number, b"300", b"", b"", b""])

    def find(self, user: str) -> Key | None:
        """Whose message it is that came with this user id, if they are still welcome."""
        key = self._directory.find(user)
        return key if key is not None and self._admits(key) else None

    def receive(self, socket: zmq.Socket[bytes]) -> tuple[list[bytes], Key | None] | None:
        """The next message of a bound socket and whose it is (None: nobody's any more), or None when nothing waits."""
        try:
            frames = socket.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return None
        try:
            user = str(frames[-1].get("User-Id"))
        except zmq.ZMQError:  # it has none
            user = ""
        return [bytes(frame.bytes) for frame in frames], self.find(user)

    def close(self) -> None:
        self.socket.close(0)

    def _judge(self, frames: list[bytes]) -> Key | None:
        """Whom to let in."""
        address, public = "?", "no key"
        if len(frames) == 7 and frames[0] == b"1.0" and frames[2] == DOMAIN:
            address = frames[3].decode("ascii", "replace")
            if frames[5] == b"CURVE" and len(frames[6]) == 32:
                public = z85.encode(frames[6]).decode()
                key = self.find(public)
                if key is not None:
                    return key
        self.strangers += 1
        if self.strangers & (self.strangers - 1) == 0:
            log.warning("stranger number %d was not let in: from %s, key %s", self.strangers, address, public)
        return None
