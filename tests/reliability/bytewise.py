"""Mutated frames sent byte by byte: `python -m tests.reliability.bytewise ENDPOINT FRAMES SEED`, over TCP.

A ZeroMQ socket does not send single bytes, so this speaks its protocol itself (ZMTP 3.0, mechanism NULL): a greeting, a
READY, then frames of a flag, a length and a body, each byte in a segment of its own. Frames come in blocks, each on a
new connection, by a stranger, a worker and a client by turns; a block ends with what is answered by a Pong whoever one
is (a goodbye, a client's hello, a Ping), so a block that is counted has been taken to its end. Now and then it is the
protocol's own bytes that are wrong; then nothing is waited for.
"""

from __future__ import annotations

import json
import random
import select
import socket
import sys
from collections.abc import Iterator

import msgspec

from mapreduce import __version__
from mapreduce.wire import messages as m
from mapreduce.wire.typed import encode
from tests.coordinator.test_fuzz import mutated
from tests.wire.test_typed import TO_COORDINATOR

BLOCK = 500
"""Frames on one connection: far fewer than the coordinator lets wait (RCVHWM)."""
WRECK = 0.1
"""The share of blocks after which a connection with a damaged protocol is made."""
TRIES = 20
GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
PONG = m.Pong.__struct_config__.tag
LAST, MORE, LONG, COMMAND = 0, 1, 2, 4


def framed(body: bytes, flags: int = LAST) -> bytes:
    if len(body) > 255:
        return bytes([flags | LONG]) + len(body).to_bytes(8, "big") + body
    return bytes([flags, len(body)]) + body


def ready(identity: bytes) -> bytes:
    """The command that ends the handshake, of a DEALER."""
    named = ((b"Socket-Type", b"DEALER"), (b"Identity", identity))
    fields = b"".join(bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value for name, value in named)
    return framed(b"\5READY" + fields, COMMAND)


class Connection:
    """Speaks; `Pong`s among the answers are counted in `pongs`."""

    def __init__(self, endpoint: str):
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._said = bytearray()
        self._greeted = False
        self.commands = self.pongs = 0

    def dribble(self, data: bytes) -> None:
        """Byte by byte; what is answered meanwhile is read."""
        view, send = memoryview(data), self._socket.send
        for at in range(len(view)):
            send(view[at : at + 1])
        self.read(0.0)

    def read(self, seconds: float = 60.0) -> None:
        """Take what comes within so many seconds. Raises ConnectionError at the end."""
        if not select.select([self._socket], [], [], seconds)[0]:
            assert not seconds, f"nothing was answered for {seconds:g} s"
            return
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionError("it was cut")
        self._said += data
        for body in self._frames():
            self.pongs += msgspec.msgpack.decode(body)[0] == PONG

    def _frames(self) -> Iterator[bytes]:
        if not self._greeted and len(self._said) >= len(GREETING):
            del self._said[: len(GREETING)]
            self._greeted = True
        while self._greeted and len(self._said) > 1:
            flags, long = self._said[0], bool(self._said[0] & LONG)
            start = 9 if long else 2
            if len(self._said) < start:
                return
            end = start + int.from_bytes(self._said[1:start], "big")
            if len(self._said) < end:
                return
            body = bytes(self._said[start:end])
            del self._said[:end]
            if flags & COMMAND:
                self.commands += 1
            else:
                yield body

    def shake_hands(self, identity: bytes) -> None:
        """Nothing may be said before the other side is ready: libzmq then often cuts the connection."""
        self.dribble(GREETING)
        while not self._greeted:
            self.read()
        self.dribble(ready(identity))
        while not self.commands:
            self.read()

    def close(self) -> None:
        self._socket.close()


def opening(role: int, identity: bytes) -> bytes:
    """What comes before the frames of a block."""
    first = {1: hello(identity.hex()), 2: m.ClientHello(m.PROTOCOL, __version__)}.get(role)
    return framed(encode(first)) if first is not None else b""


def hello(name: str) -> m.Hello:
    node = m.Node(f"node-{name}", "elsewhere", "/nowhere", "tcp://127.0.0.1:9")
    return m.Hello(m.PROTOCOL, __version__, sys.version.split()[0], name, node, 1, {"other": "1"}, 1)


FAREWELL = b"".join(framed(encode(message)) for message in (m.Bye(), m.ClientHello(m.PROTOCOL, __version__), m.Ping()))


def block(endpoint: str, role: int, identity: bytes, frames: list[bytes]) -> bool:
    """Send one; False: the connection was cut before its end."""
    connection = Connection(endpoint)
    try:
        connection.shake_hands(identity)
        connection.dribble(opening(role, identity))
        for frame in frames:
            connection.dribble(frame)
        before = connection.pongs
        connection.dribble(FAREWELL)
        while connection.pongs <= before:
            connection.read()
    except ConnectionError:
        return False
    finally:
        connection.close()
    return True


def wreck(endpoint: str, rng: random.Random, stream: bytes) -> None:
    """A connection whose own bytes are not as they should be."""
    data = bytearray(stream)
    for _ in range(rng.randint(1, 3)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    connection = Connection(endpoint)
    try:
        connection.dribble(bytes(data))
    except (ConnectionError, msgspec.DecodeError):  # cut, or said something in another protocol's words
        return
    finally:
        connection.close()


def send(endpoint: str, count: int, seed: int) -> dict[str, int]:
    """{"frames": taken, "cut": blocks that had to be sent again, "wrecked": connections with a damaged protocol}"""
    rng = random.Random(seed)
    known = [encode(message) for message in TO_COORDINATOR if not isinstance(message, m.Submit)]
    told = {"frames": 0, "cut": 0, "wrecked": 0}
    number = 0
    while told["frames"] < count:
        number += 1
        pieces = []
        for _ in range(min(BLOCK, count - told["frames"])):
            if rng.random() < 0.02:
                pieces.append(framed(mutated(rng, rng.choice(known)), MORE))
            pieces.append(framed(mutated(rng, rng.choice(known))))
        for attempt in range(TRIES):
            identity = b"r" + rng.randbytes(12)
            if block(endpoint, number % 3, identity, pieces):
                break
            told["cut"] += 1
            assert attempt < TRIES - 1, "the connection is cut again and again"
        told["frames"] += len(pieces)
        if rng.random() < WRECK:
            wreck(endpoint, rng, GREETING + ready(rng.randbytes(13)) + b"".join(pieces[:20]))
            told["wrecked"] += 1
    return told


if __name__ == "__main__":
    print(json.dumps(send(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
