"""The connection to the coordinator: which incarnation we are, and what has been said to it."""

from __future__ import annotations

import zmq

from ..keys import Curve
from ..wire import messages, sockets
from ..wire.typed import encode
from .ledger import Outbox


class Link:
    """The connection to the coordinator: which incarnation we are, and what has been said."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, curve: Curve | None = None):
        self._context = context
        self._endpoint = endpoint
        self._curve = curve
        self.socket = sockets.dealer(context, endpoint, curve=curve)
        self.outbox = Outbox()
        self.welcome: messages.Welcome | None = None
        self.heard = self.asked = 0.0
        self._control: list[bytes] = []
        self.blocked = False

    @property
    def joined(self) -> bool:
        return self.welcome is not None

    def join(self, hello: bytes, now: float) -> None:
        """Become a new incarnation: fresh socket, Hello, and all unacknowledged results once we are welcome."""
        self.socket.close(0)
        self.socket = sockets.dealer(self._context, self._endpoint, curve=self._curve)
        self.welcome = None
        self.outbox.rewind()
        self._control = [hello]
        self.asked = now
        self.flush()

    def say(self, message: messages.Message) -> None:
        """Send a message that is worthless to another incarnation: it is dropped when we are not joined."""
        if self.joined:
            self.flush()
            self._control.append(encode(message))
            self.flush()

    def flush(self) -> None:
        """Send what there is to send, results first: a Beat must not overtake the result of a task that it no longer
        names."""
        self.blocked = True
        if self.joined:
            while (frame := self.outbox.next()) is not None:
                if not sockets.send(self.socket, frame):
                    return
                self.outbox.sent()
        while self._control:
            if not sockets.send(self.socket, self._control[0]):
                return
            self._control.pop(0)
        self.blocked = False
