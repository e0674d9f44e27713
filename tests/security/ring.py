"""Key rings, coordinators with keys, and peers that say whatever a test wants."""

from __future__ import annotations

import platform
import secrets
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import zmq

from mapreduce import __version__
from mapreduce.coordinator import Coordinator
from mapreduce.keys import Curve, Keys, load, make
from mapreduce.wire import messages as m
from mapreduce.wire import sockets
from mapreduce.wire.typed import encode
from tests.coordinator import running

PARTIES = {
    "coordinator": ("coordinator", ()),
    "worker": ("worker", ()),
    "worker2": ("worker", ()),
    "user": ("client", ()),
    "submitter": ("client", ("submit",)),
    "reader": ("client", ("read",)),
    "boss": ("client", ("admin",)),
}


def ring(folder: Path) -> Path:
    """A directory with a key pair of every party."""
    for name, (role, scopes) in PARTIES.items():
        make(folder, role, name, scopes)
    return folder


def keys_of(folder: Path, name: str) -> Keys:
    return load(folder / f"{name}.secret", PARTIES[name][0])


def coordinator(folder: Path, bind: str = "tcp://127.0.0.1:0") -> AbstractContextManager[Coordinator]:
    """A coordinator with the ring's keys that serves in a thread."""
    return running.coordinator(bind=bind, keys=keys_of(folder, "coordinator"))


class Peer:
    """A DEALER that sends messages and hears answers; `curve` of None speaks without keys."""

    def __init__(self, endpoint: str, curve: Curve | None):
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = sockets.dealer(self._context, endpoint, curve=curve)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close(0)
        self._context.term()

    def say(self, *messages: m.Message) -> None:
        for message in messages:
            sockets.send(self.socket, encode(message))

    def hear(self, decode: Any, seconds: float = 10.0) -> Any:
        """The next message, or None when there is none within `seconds`."""
        if not self.socket.poll(int(seconds * 1000)):
            return None
        frames = sockets.receive(self.socket)
        assert frames is not None
        return decode(frames[0])


def hello(name: str = "w", **fields: Any) -> m.Hello:
    """A worker's first message."""
    return m.Hello(
        **{
            "protocol": m.PROTOCOL,
            "library": __version__,
            "python": platform.python_version(),
            "worker": name,
            "node": m.Node(f"node-{name}", "elsewhere", "/nowhere", "tcp://127.0.0.1:9"),
            "slots": 1,
            "plugins": {"fake": "1"},
            "pid": 1,
        }
        | fields
    )


def client_hello() -> m.ClientHello:
    return m.ClientHello(m.PROTOCOL, __version__)


def submission(**fields: Any) -> m.Submit:
    return m.Submit(**{"token": secrets.token_hex(8), "type": "fake", "params": b""} | fields)


def own_address() -> str:
    """An IPv4 address of this machine that is not loopback, or "" where there is none."""
    import socket

    from mapreduce.wire.sockets import is_loopback

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return ""
        address = str(probe.getsockname()[0])
    return "" if is_loopback(address) else address
