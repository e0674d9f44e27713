"""The connection to the coordinator: which incarnation we are, and what has been said to it."""

from __future__ import annotations

import contextlib
import socket

import zmq

from ..keys import Curve
from ..wire import messages, sockets
from ..wire.typed import MAX_ASSIGN, encode
from .frames import Channel, Closed
from .ledger import Outbox

UNSENT = 4 << 20
"""Bytes that may wait for the kernel; what comes after them waits in the outbox."""
_BOTH = zmq.POLLIN | zmq.POLLOUT


class Link:
    """The connection to the coordinator: which incarnation we are, and what has been said.

    Args:
        poller: where it is registered.
        endpoint: where a ROUTER listens.
        near: the path of a stream socket to use instead (see coordination.near); empty for none.

    Attributes:
        down: there is no connection to speak over, so `join` has to be called again. Only without a ROUTER: libzmq
            connects when it can.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        poller: zmq.Poller,
        endpoint: str,
        curve: Curve | None = None,
        near: str = "",
    ):
        self._context = context
        self._poller = poller
        self._endpoint = endpoint
        self._curve = curve
        self._near = near
        self._dealer: zmq.Socket[bytes] | None = None
        self._channel: Channel | None = None
        self.outbox = Outbox()
        self.welcome: messages.Welcome | None = None
        self.heard = self.asked = 0.0
        self.down = False
        self._control: list[bytes] = []
        self._blocked = False

    @property
    def joined(self) -> bool:
        return self.welcome is not None

    def is_at(self, thing: object) -> bool:
        """Whether it is us whom the poller means."""
        return thing is self._dealer if self._channel is None else thing == self._channel.fileno()

    def join(self, hello: bytes, now: float) -> None:
        """Become a new incarnation: fresh socket, Hello, and all unacknowledged results once we are welcome."""
        self.close(0)
        self._connect()
        self.welcome = None
        self.outbox.rewind()
        self._control = [hello]
        self.asked = now
        self.flush()

    def _connect(self) -> None:
        if not self._near:
            self._dealer = sockets.dealer(self._context, self._endpoint, curve=self._curve)
            self._poller.register(self._dealer, zmq.POLLIN)
            return
        stream = socket.socket(socket.AF_UNIX)
        try:
            stream.connect(self._near)
        except OSError:  # not there yet, or not there again
            stream.close()
            self.down = True
            return
        self.down = False
        self._channel = Channel(stream, MAX_ASSIGN)
        self._poller.register(self._channel.fileno(), zmq.POLLIN)

    def close(self, linger: int) -> None:
        """Let go of the connection; what is on its way has `linger` milliseconds."""
        self._blocked = False
        if self._dealer is not None:
            self._poller.unregister(self._dealer)
            self._dealer.close(linger)
        if self._channel is not None:
            self._poller.unregister(self._channel.fileno())
            with contextlib.suppress(Closed):
                self._channel.flush()
            self._channel.close()
        self._dealer = self._channel = None

    def say(self, message: messages.Message) -> None:
        """Send a message that is worthless to another incarnation: it is dropped when we are not joined."""
        if self.joined:
            self.flush()
            self._control.append(encode(message))
            self.flush()

    def receive(self) -> list[bytes]:
        """The messages that have come, some at a time; none when no more wait."""
        if self._dealer is not None:
            return sockets.receive(self._dealer) or []
        try:
            return self._channel.receive() if self._channel is not None else []
        except Closed:
            self._lost()
            return []

    def flush(self) -> None:
        """Send what there is to send, results first: a Beat must not overtake the result of a task that it no longer
        names."""
        full = self._push()
        if full != self._blocked and (self._dealer is not None or self._channel is not None):
            self._blocked = full
            at = self._dealer if self._channel is None else self._channel.fileno()
            self._poller.modify(at, _BOTH if full else zmq.POLLIN)

    def _push(self) -> bool:
        """Whether there is more than can be sent now."""
        self._flush_channel()
        if self.joined:
            while (frame := self.outbox.next()) is not None:
                if not self._send(frame):
                    return True
                self.outbox.sent()
        while self._control:
            if not self._send(self._control[0]):
                return True
            self._control.pop(0)
        self._flush_channel()
        return self._channel is not None and self._channel.unsent > 0

    def _send(self, frame: bytes) -> bool:
        if self._dealer is not None:
            return sockets.send(self._dealer, frame)
        if self._channel is None or self._channel.unsent > UNSENT:
            return False
        self._channel.queue(frame)
        return True

    def _flush_channel(self) -> None:
        if self._channel is not None:
            try:
                self._channel.flush()
            except Closed:
                self._lost()

    def _lost(self) -> None:
        """The other end is gone."""
        self.close(0)
        self.down, self.welcome = True, None
