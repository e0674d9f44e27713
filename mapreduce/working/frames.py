"""Messages between a worker and a slot: length-prefixed frames over a socket pair.

A frame is a little-endian u32 and that many bytes. `Channel` is used by both ends: the worker never blocks on it
(what the kernel does not take waits here until the poller says that there is room), the slot blocks when it has
nothing else to do.
"""

from __future__ import annotations

import socket
import struct

from ..errors import WireError

_LENGTH = struct.Struct("<I")
_CHUNK = 64 << 10
"""Bytes of the buffer that is read into. It stays: one of its own for each reading costs more than a small message."""
LIMIT = 1 << 30
BUFFER = 1 << 20


class Closed(Exception):
    """The other end is gone."""


class Channel:
    """One end of a socket pair, or of a stream connection on this host. Frames of more than `limit` bytes are not
    taken."""

    def __init__(self, sock: socket.socket, limit: int = LIMIT):
        self.socket = sock
        self._limit = limit
        sock.setblocking(
            True
        )  # and MSG_DONTWAIT where it must not: a thread that flushes never changes what another one reads
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self._in = bytearray()
        self._chunk = memoryview(bytearray(_CHUNK))
        self._out = bytearray()

    def fileno(self) -> int:
        return self.socket.fileno()

    @property
    def unsent(self) -> int:
        """Bytes that wait until the kernel takes them."""
        return len(self._out)

    def queue(self, *frames: bytes) -> None:
        """Put frames where the next flush takes them."""
        for frame in frames:
            self._out += _LENGTH.pack(len(frame))
            self._out += frame

    def send(self, *frames: bytes) -> None:
        """Queue frames and push as much as the kernel takes. Raises Closed."""
        self.queue(*frames)
        self.flush()

    def flush(self) -> None:
        """Push what waits. Raises Closed."""
        while self._out:
            try:
                sent = self.socket.send(self._out, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                raise Closed(str(error)) from error
            if sent == len(self._out):
                self._out.clear()
            else:
                del self._out[:sent]

    def flush_all(self) -> None:
        """Push what waits, blocking until the kernel took it. Raises Closed."""
        if self._out:
            try:
                self.socket.sendall(self._out)
            except OSError as error:
                raise Closed(str(error)) from error
            self._out.clear()

    def receive(self, *, wait: bool = False) -> list[bytes]:
        """The frames that have arrived; with `wait` at least one. Raises Closed once the other end is gone and all has
        been read, and WireError for a length that no frame has."""
        while True:
            closed = self._fill(wait)
            frames = self._split()
            if frames or not (wait or closed):
                return frames
            if closed:
                raise Closed("end of stream")

    def _fill(self, wait: bool) -> bool:
        try:
            while True:
                size = self.socket.recv_into(self._chunk, 0, 0 if wait else socket.MSG_DONTWAIT)
                if not size:
                    return True
                self._in += self._chunk[:size]
                if wait or size < _CHUNK:
                    return False
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _split(self) -> list[bytes]:
        frames = []
        position, size = 0, len(self._in)
        while size - position >= 4:
            (length,) = _LENGTH.unpack_from(self._in, position)
            if length > self._limit:
                raise WireError(f"a frame of {length} bytes is beyond the limit")
            if size - position - 4 < length:
                break
            frames.append(bytes(self._in[position + 4 : position + 4 + length]))
            position += 4 + length
        del self._in[:position]
        return frames

    def close(self) -> None:
        self.socket.close()
