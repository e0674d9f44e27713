"""The rules of sockets.py, on real sockets."""

from __future__ import annotations

import os
import shutil
import socket as tcp
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from mapreduce.errors import Insecure
from mapreduce.wire import sockets
from mapreduce.wire.sockets import Sent


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.destroy(linger=0)


def get(socket: zmq.Socket[bytes], seconds: float = 5.0) -> list[bytes]:
    assert socket.poll(int(seconds * 1000)), "nothing came"
    frames = sockets.receive(socket)
    assert frames is not None
    return frames


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://127.0.0.1:0",
        "tcp://127.1.2.3:7077",
        "tcp://localhost:*",
        "tcp://[::1]:7077",
        "ipc:///tmp/x",
        "inproc://x",
    ],
)
def test_addresses_that_only_this_host_reaches_may_be_bound(endpoint: str) -> None:
    sockets.check_bind(endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://0.0.0.0:7077",
        "tcp://*:7077",
        "tcp://192.168.1.5:7077",
        "tcp://[::]:1",
        "tcp://example.org:1",
        "tcp://eth0:1",
    ],
)
def test_addresses_that_others_reach_are_refused(context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> None:
    with pytest.raises(Insecure, match=r"other hosts can reach it.*ssh -L"):
        sockets.router(context, endpoint)


@pytest.mark.parametrize(
    "endpoint", ["", "7077", "http://127.0.0.1:1", "tcp://127.0.0.1", "tcp://127.0.0.1:x", "tcp://127.0.0.1:99999"]
)
def test_what_is_no_endpoint(endpoint: str) -> None:
    with pytest.raises(ValueError, match="write tcp://"):
        sockets.check_bind(endpoint)


def test_there_and_back(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    router, endpoint = sockets.router(context, "tcp://127.0.0.1:0")
    assert not endpoint.endswith(":0")
    dealer = sockets.dealer(context, endpoint)
    large = bytes(sockets.BULK)
    assert sockets.send(dealer, b"hello", large)
    peer, *frames = get(router)
    assert frames == [b"hello", large]
    assert sockets.send_to(router, peer, b"back") is Sent.YES
    assert get(dealer) == [b"back"]
    assert sockets.receive(dealer) is None


def test_ipc(context: zmq.Context[zmq.Socket[bytes]], tmp_path: Path) -> None:
    router, endpoint = sockets.router(context, f"ipc://{tmp_path}/socket")
    dealer = sockets.dealer(context, endpoint)
    sockets.send(dealer, b"hello")
    assert get(router)[1:] == [b"hello"]


def test_an_unknown_peer_is_an_outcome(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    router, _ = sockets.router(context, "tcp://127.0.0.1:0")
    assert sockets.send_to(router, b"nobody", b"x") is Sent.GONE


def test_a_peer_that_does_not_read_is_an_outcome(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    router, endpoint = sockets.router(context, "tcp://127.0.0.1:0", hwm=10)
    dealer = sockets.dealer(context, endpoint, hwm=10)
    sockets.send(dealer, b"hello")
    peer = get(router)[0]
    assert sockets.send_to(router, peer, b"first") is Sent.YES
    assert any(sockets.send_to(router, peer, bytes(100_000)) is Sent.FULL for _ in range(20_000))


def test_a_dealer_without_a_listener_fills_up_and_does_not_block(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    dealer = sockets.dealer(context, "tcp://127.0.0.1:9", hwm=5)
    assert [sockets.send(dealer, b"x") for _ in range(6)] == [True] * 5 + [False]


def test_each_dealer_has_an_identity_of_its_own(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    router, endpoint = sockets.router(context, "tcp://127.0.0.1:0")
    dealers = [sockets.dealer(context, endpoint) for _ in range(20)]
    for dealer in dealers:
        sockets.send(dealer, b"x")
    assert len({get(router)[0] for _ in dealers}) == 20


def test_a_message_beyond_the_limit_never_arrives(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    router, endpoint = sockets.router(context, "tcp://127.0.0.1:0", limit=1_000)
    dealer, other = sockets.dealer(context, endpoint), sockets.dealer(context, endpoint)
    sockets.send(dealer, bytes(1_001))
    sockets.send(other, bytes(1_000))
    assert len(get(router)[1]) == 1_000
    assert not router.poll(100)


def test_an_address_in_use_is_named(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    with tcp.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match=r"cannot listen on tcp://127.0.0.1:\d+.*another process"):
            sockets.router(context, f"tcp://127.0.0.1:{other.getsockname()[1]}")


def test_a_hangup_is_noticed_and_the_lost_peer_is_gone(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    router, endpoint = sockets.router(context, "tcp://127.0.0.1:0")
    hangups = sockets.Hangups(router)
    dealer, other = sockets.dealer(context, endpoint), sockets.dealer(context, endpoint)
    sockets.send(dealer, b"a")
    sockets.send(other, b"b")
    peers = {frames[1]: frames[0] for frames in (get(router), get(router))}
    assert not hangups.happened()
    dealer.close(0)
    assert hangups.socket.poll(5_000)
    assert hangups.happened() and not hangups.happened()
    deadline = time.monotonic() + 5
    while sockets.send_to(router, peers[b"a"], b"?") is not Sent.GONE:
        assert time.monotonic() < deadline
        time.sleep(0.01)  # a pipe that is full never tells that its other end is gone
    assert sockets.send_to(router, peers[b"b"], b"?") is Sent.YES
    hangups.close()


CUT = """
import os, subprocess, sys, time
import zmq
from mapreduce.wire import sockets

how, sockets.UNREAD = sys.argv[1], int(sys.argv[2])
context = zmq.Context()
router, endpoint = sockets.router(context, "tcp://127.0.0.1:0")
hangups = sockets.Hangups(router)
dealer = sockets.dealer(context, endpoint, hwm=1)
sockets.send(dealer, b"here")
assert router.poll(20_000)
peer = sockets.receive(router)[0]
if how == "silent":  # no packet arrives anywhere any more, and none says so
    subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
    sockets.send_to(router, peer, b"x")
else:
    while sockets.send_to(router, peer, bytes(60_000)) is sockets.Sent.YES:
        pass
end = time.monotonic() + float(sys.argv[3])
while not hangups.happened() and time.monotonic() < end:
    time.sleep(0.02)
cut = time.monotonic() < end
while cut and how == "silent" and sockets.send_to(router, peer, b"y") is not sockets.Sent.GONE:
    time.sleep(0.02)
print("cut" if cut else "kept", flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("how", ["unread", "silent"])
def test_a_connection_whose_peer_takes_nothing_is_cut(how: str) -> None:
    """By the kernel (TCP_USER_TIMEOUT): of a peer that reads nothing, and of one whose packets vanish."""
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    alone = ["unshare", "-rn", "sh", "-ec", 'ip link set lo up && exec "$@"', "sh"] if how == "silent" else []
    if alone and (not shutil.which("ip") or subprocess.run([*alone, "true"], capture_output=True).returncode):
        pytest.skip("no network of its own can be made here: that takes ip and unshare -rn")
    for unread, seconds, expected in ((500, 30.0, "cut"), (60_000, 2.0, "kept")):
        command = [*alone, sys.executable, "-c", CUT, how, str(unread), str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ)
        assert done.stdout == f"{expected}\n", f"after {unread} ms: {done.stdout}{done.stderr}"
