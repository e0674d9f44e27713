"""The short way to the workers of a local engine: a stream socket in the engine's folder, read by the loop itself.

Through libzmq a message passes a thread on either side, which has to be woken: on one host that takes three times as
long as the message itself. Here worker and coordinator write to each other directly, with the frames that workers and
their slots use too. All else is as through the ROUTER, which serves clients meanwhile: a peer is known by an id from
its hello to its end, who is sent more than he reads is "full", and who is gone is "gone", which shows here at once.

Only for a folder that nobody else can enter: there are no keys on this way."""

from __future__ import annotations

import os
import secrets
import select
import socket
from collections import deque

from ..errors import WireError
from ..wire.sockets import Sent
from ..wire.typed import MAX_CONTROL
from ..working.frames import Channel, Closed

UNREAD = 64 << 20
"""Bytes that wait for a worker; beyond that it is full."""


class Near:
    """Listens at `path`. `fileno` goes into a poller; `serve` deals with what happened, `receive` gives what came.

    Attributes:
        gone: ids of peers whose connection ended, until somebody takes them out.
    """

    def __init__(self, path: str):
        self.gone: list[bytes] = []
        self._path = path
        self._arrived: deque[list[bytes]] = deque()
        self._channels: dict[bytes, Channel] = {}
        self._ids: dict[int, bytes] = {}
        self._blocked: set[bytes] = set()
        if os.path.exists(path):  # of a coordinator that was killed
            os.unlink(path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.bind(path)
        self._listener.listen(128)
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)

    def fileno(self) -> int:
        return self._epoll.fileno()

    @property
    def waiting(self) -> bool:
        """Whether `receive` has something."""
        return bool(self._arrived)

    def serve(self) -> None:
        """Let in who connects, read what was sent, push what waits."""
        for fd, events in self._epoll.poll(0):
            if fd == self._listener.fileno():
                self._accept()
                continue
            peer = self._ids[fd]
            channel = self._channels[peer]
            try:
                if events & ~select.EPOLLOUT:
                    self._arrived.extend([peer, frame] for frame in channel.receive())
                channel.flush()
                self._watch(peer, channel)
            except (Closed, WireError):
                self._drop(peer)

    def receive(self) -> list[bytes] | None:
        """The peer and its next message, or None."""
        return self._arrived.popleft() if self._arrived else None

    def __contains__(self, peer: bytes) -> bool:
        return peer.startswith(b"near")

    def send_to(self, peer: bytes, *frames: bytes) -> Sent:
        """Hand over messages, without waiting."""
        channel = self._channels.get(peer)
        if channel is None:
            return Sent.GONE
        if channel.unsent > UNREAD:
            return Sent.FULL
        try:
            channel.send(*frames)
        except Closed:  # what it said before is read first
            return Sent.GONE
        self._watch(peer, channel)
        return Sent.YES

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()
        self._epoll.close()
        self._listener.close()
        os.unlink(self._path)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        peer = b"near" + secrets.token_bytes(9)
        self._channels[peer] = Channel(connection, MAX_CONTROL)
        self._ids[connection.fileno()] = peer
        self._epoll.register(connection, select.EPOLLIN)

    def _watch(self, peer: bytes, channel: Channel) -> None:
        if (channel.unsent > 0) != (peer in self._blocked):
            self._blocked ^= {peer}
            self._epoll.modify(channel, select.EPOLLIN | (select.EPOLLOUT if channel.unsent else 0))

    def _drop(self, peer: bytes) -> None:
        channel = self._channels.pop(peer)
        self._epoll.unregister(channel)
        del self._ids[channel.fileno()]
        self._blocked.discard(peer)
        channel.close()
        self.gone.append(peer)
