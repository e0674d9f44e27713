"""How sockets are made and used. Every socket of DAF comes from here, so the rules live in one place.

- ROUTER drops silently what it cannot route: ROUTER_MANDATORY is set, sends never block, and "full" or "gone" is an
  outcome that the caller handles, not an exception in the middle of something.
- A high-water mark counts messages and 0 means unbounded: all are finite, and MAXMSGSIZE bounds each message.
- A duplicate routing id black-holes both peers: `dealer` draws a fresh random one for every incarnation; who the peer
  is stands in its first message. A peer that has been silent too long, or was told that it is unknown, closes its
  socket and makes another.
- Reconnecting is not registering: libzmq reconnects by itself, and the coordinator answers `Reregister` to whom it does
  not know.
- A socket belongs to the thread that made it. `close` drops what is unsent after `linger` milliseconds, so terminating
  a context cannot hang.
- A full receiving pipe is not harmless in libzmq 4.3.5: an event that comes just then is taken for an I/O error, which
  cuts the connection once the pipe is read, and a heartbeat of libzmq's own that falls due meanwhile ends the process
  (an assertion in stream_engine_base.cpp; libzmq #3937 is its sister). So receiving marks are ten times the sending
  ones, credit keeps well-behaved peers far below them, and libzmq's heartbeats stay off: life is told by our own
  messages, and TCP's keep-alive finds hosts that vanished.
- The context is made after any process has been started; nothing here survives a fork.

Closed by default: `check_bind` refuses an address that other hosts can reach, unless there are keys by which to tell
friends from strangers. With keys every socket speaks CURVE (set in `_options`, through which all of them pass), and a
bound one asks its gate (gate.py) whom to let in: ZAP_ENFORCE_DOMAIN makes libzmq refuse everybody where no gate
answers. Without keys sockets are as plain as libzmq makes them."""

from __future__ import annotations

import ipaddress
import secrets
from enum import Enum

import zmq

from ..errors import Insecure
from ..keys import Curve
from .typed import MAX_ASSIGN, MAX_CONTROL

BULK = 64 * 1024
"""From this many bytes on a frame is sent without copying; below, a copy is cheaper than the bookkeeping."""


BUNDLE = 64
"""Messages of the coordinator to one worker that travel together, each a frame of its own."""

UNREAD = 60_000
"""Milliseconds after which a TCP connection is cut whose peer takes nothing of what is sent to it: then what waits for
that peer is let go."""

HANDSHAKE = 5_000
"""Milliseconds that a peer has to prove its key before its connection is dropped."""


class Sent(Enum):
    """What became of a message handed to `send_to`."""

    YES = "sent"
    FULL = "full"
    """The peer does not read as fast as we write; try again later or give it up."""
    GONE = "gone"
    """There is no such peer (any more)."""


def _options(socket: zmq.Socket[bytes], hwm: int, limit: int, curve: Curve | None) -> None:
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, hwm)
    socket.setsockopt(zmq.RCVHWM, 10 * hwm)
    socket.setsockopt(zmq.MAXMSGSIZE, limit)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 10)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 5)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)
    socket.setsockopt(zmq.TCP_MAXRT, UNREAD)
    if curve is None:
        return
    socket.setsockopt(zmq.CURVE_PUBLICKEY, curve.public.encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, curve.secret.encode())
    if curve.server:
        socket.setsockopt(zmq.CURVE_SERVERKEY, curve.server.encode())
    else:
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.ZAP_DOMAIN, b"daf")
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE)


def check_bind(endpoint: str, keyed: bool = False) -> None:
    """Refuse an endpoint that strangers could reach; with keys none of them gets in.

    Raises:
        Insecure: there are no keys, and the endpoint is not ipc://, inproc:// or a loopback address.
        ValueError: it is no endpoint at all.
    """
    scheme, separator, rest = endpoint.partition("://")
    if not separator or not rest or scheme not in ("tcp", "ipc", "inproc"):
        raise ValueError(f"{endpoint!r} is no endpoint: write tcp://127.0.0.1:7077 or ipc:///path/of/a/socket")
    if scheme != "tcp":
        return
    host, separator, port = rest.rpartition(":")
    if not separator or not (port == "*" or (port.isdigit() and int(port) < 65_536)):
        raise ValueError(f"{endpoint!r} names no port: write tcp://127.0.0.1:7077, or port 0 for any free one")
    if not keyed and not is_loopback(host):
        raise Insecure(
            f"will not listen on {endpoint}: other hosts can reach it, and there are no keys by which to tell friends "
            "from strangers. Make them (daf keys new DIR --role coordinator, then --role worker and --role client) and "
            "give --keys DIR or set DAF_KEYS; or bind a loopback address (tcp://127.0.0.1:PORT) or ipc://, and join "
            "hosts by a tunnel, for example ssh -L."
        )


def is_local(endpoint: str) -> bool:
    """Whether only this host can be meant: ipc, inproc, or tcp to a loopback address."""
    scheme, _, rest = endpoint.partition("://")
    return scheme != "tcp" or is_loopback(rest.rpartition(":")[0])


def is_loopback(host: str) -> bool:
    """Whether a host part of an endpoint can only be reached from this host: localhost, 127.0.0.0/8, ::1."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def router(
    context: zmq.Context[zmq.Socket[bytes]],
    endpoint: str,
    *,
    hwm: int = 1_000,
    limit: int = MAX_CONTROL,
    curve: Curve | None = None,
) -> tuple[zmq.Socket[bytes], str]:
    """A bound ROUTER and the endpoint it really has (port 0 becomes the port that was free). With `curve` there must be
    a `Gate` in the context.

    Raises:
        Insecure: the endpoint is reachable from other hosts, and there is no `curve`.
        OSError: the address cannot be bound, with a text that says which and why (zmq.ZMQError is not one).
    """
    check_bind(endpoint, curve is not None)
    socket: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
    _options(socket, hwm, limit, curve)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    if "[" in endpoint:
        socket.setsockopt(zmq.IPV6, 1)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        socket.close(0)
        hint = ": another process listens there" if error.errno == zmq.EADDRINUSE else ""
        raise OSError(error.errno, f"cannot listen on {endpoint}: {error.strerror}{hint}") from None
    return socket, socket.getsockopt_string(zmq.LAST_ENDPOINT)


def dealer(
    context: zmq.Context[zmq.Socket[bytes]],
    endpoint: str,
    *,
    hwm: int = 1_000,
    limit: int = MAX_ASSIGN,
    curve: Curve | None = None,
) -> zmq.Socket[bytes]:
    """A DEALER connected to `endpoint` under a fresh routing id. Connecting is lazy: a listener that is not there yet
    is no error.

    Raises ValueError when the endpoint is none.
    """
    socket: zmq.Socket[bytes] = context.socket(zmq.DEALER)
    _options(socket, hwm, limit, curve)
    socket.setsockopt(zmq.ROUTING_ID, b"d" + secrets.token_bytes(12))
    if endpoint.startswith("ipc:"):  # trying again costs nothing, and a local engine's processes all start at once
        socket.setsockopt(zmq.RECONNECT_IVL, 10)
    else:
        socket.setsockopt(zmq.RECONNECT_IVL, 100)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
    if "[" in endpoint:
        socket.setsockopt(zmq.IPV6, 1)
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        socket.close(0)
        raise ValueError(
            f"{endpoint!r} cannot be connected to ({error.strerror}): write tcp://HOST:PORT or ipc:///path"
        ) from None
    return socket


def send_to(socket: zmq.Socket[bytes], peer: bytes, *frames: bytes) -> Sent:
    """Hand one message to a ROUTER for `peer`, without waiting."""
    try:
        socket.send_multipart((peer, *frames), zmq.NOBLOCK, copy=max(map(len, frames)) < BULK)
    except zmq.Again:
        return Sent.FULL
    except zmq.ZMQError as error:
        if error.errno == zmq.EHOSTUNREACH:
            return Sent.GONE
        raise
    return Sent.YES


def send(socket: zmq.Socket[bytes], *frames: bytes) -> bool:
    """Hand one message to a DEALER, without waiting. False: the queue is full, since the other side does not read."""
    try:
        socket.send_multipart(frames, zmq.NOBLOCK, copy=len(frames[-1]) < BULK)
    except zmq.Again:
        return False
    return True


def receive(socket: zmq.Socket[bytes]) -> list[bytes] | None:
    """The frames of the next message (a ROUTER's begin with the peer), or None when nothing waits."""
    try:
        return socket.recv_multipart(zmq.NOBLOCK)
    except zmq.Again:
        return None


class Hangups:
    """Tells when a connection of a bound socket ended: not whose, libzmq does not say, but that it is time to ask the
    peers.

    `socket` goes into the poller; `happened` drains it.
    """

    def __init__(self, bound: zmq.Socket[bytes]):
        self._bound = bound
        self.socket = bound.get_monitor_socket(zmq.EVENT_DISCONNECTED)

    def happened(self) -> bool:
        """Whether a connection ended since the last call."""
        seen = False
        while self.socket.poll(0):
            self.socket.recv_multipart()
            seen = True
        return seen

    def close(self) -> None:
        self._bound.disable_monitor()
        self.socket.close(0)  # or the context would wait for it for ever
