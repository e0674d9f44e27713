"""Strangers get nothing: no answer, no error, and no hold on those who may come in."""

from __future__ import annotations

import logging
import socket as tcp
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from mapreduce.blobs import BlobLost, BlobStore
from mapreduce.blobserver import BlobServer, Fetcher
from mapreduce.client import Client
from mapreduce.coordinator import Coordinator
from mapreduce.errors import Unreachable
from mapreduce.keys import Curve, load, make
from mapreduce.wire import messages as m
from mapreduce.wire import sockets
from mapreduce.wire.typed import at_client, encode
from tests.security.ring import Peer, client_hello, coordinator, keys_of, ring

SILENCE = 0.7


@pytest.fixture
def daf(folder: Path) -> Iterator[Coordinator]:
    with coordinator(folder) as running:
        yield running


def stranger(folder: Path) -> Curve:
    """A key of nobody, that knows the coordinator's."""
    public, secret = (part.decode() for part in zmq.curve_keypair())
    return Curve(public, secret, keys_of(folder, "user").directory.coordinator().public)


def test_a_friend_is_answered(folder: Path, daf: Coordinator) -> None:
    with Client(daf.endpoint, keys=folder / "user.secret") as client:
        assert client.ping().coordinator == daf.name
    assert daf.gate is not None and daf.gate.strangers == 0


def test_without_a_key_there_is_no_answer(daf: Coordinator) -> None:
    with Peer(daf.endpoint, None) as peer:
        peer.say(client_hello(), m.Ping())
        assert peer.hear(at_client, SILENCE) is None


def test_an_unknown_key_gets_no_answer_and_is_counted(
    folder: Path, daf: Coordinator, caplog: pytest.LogCaptureFixture
) -> None:
    curve = stranger(folder)
    with caplog.at_level(logging.WARNING), Peer(daf.endpoint, curve) as peer:
        peer.say(client_hello(), m.Ping())
        assert peer.hear(at_client, SILENCE) is None
    assert daf.gate is not None and daf.gate.strangers >= 1
    assert curve.public in caplog.text and "127.0.0.1" in caplog.text


def test_the_refusal_itself_is_silent(folder: Path, daf: Coordinator) -> None:
    """Not even libzmq's own error message comes back: the stranger's socket sees no authentication failure."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = sockets.dealer(context, daf.endpoint, curve=stranger(folder))
    monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_SUCCEEDED)
    assert not monitor.poll(int(SILENCE * 1000))
    socket.disable_monitor()
    monitor.close(0)
    socket.close(0)
    context.term()


def test_a_coordinator_with_another_key_is_not_spoken_to(tmp_path: Path, daf: Coordinator) -> None:
    """The client's directory names another coordinator than the one that listens there."""
    elsewhere = ring(tmp_path / "keys")
    with Client(daf.endpoint, patience=SILENCE, keys=elsewhere / "user.secret") as client:
        with pytest.raises(Unreachable, match=r"coordinator.key in .* is its own"):
            client.ping()


def test_keys_do_not_speak_to_a_coordinator_without(folder: Path) -> None:
    from tests.coordinator.running import coordinator as open_coordinator

    with open_coordinator() as plain, Client(plain.endpoint, patience=SILENCE, keys=folder / "user.secret") as client:
        with pytest.raises(Unreachable):
            client.ping()


def test_a_flood_of_strangers_keeps_nobody_out(
    folder: Path, daf: Coordinator, caplog: pytest.LogCaptureFixture
) -> None:
    """Unknown keys, plain sockets and raw noise knock all the time; a friend's questions are answered, and the log
    stays short."""
    done = threading.Event()

    def knock() -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        host, _, port = daf.endpoint.removeprefix("tcp://").partition(":")
        while not done.is_set():
            strangers = [sockets.dealer(context, daf.endpoint, curve=curve) for curve in (stranger(folder), None) * 4]
            for socket in strangers:
                sockets.send(socket, b"\xff" * 1000)
            with tcp.create_connection((host, int(port))) as raw:
                raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
            time.sleep(0.02)
            for socket in strangers:
                socket.close(0)
        context.term()

    knocking = [threading.Thread(target=knock) for _ in range(2)]
    for thread in knocking:
        thread.start()
    assert daf.gate is not None
    try:
        with caplog.at_level(logging.INFO), Client(daf.endpoint, keys=folder / "user.secret") as client:
            deadline = time.monotonic() + 60
            while daf.gate.strangers < 50:
                client.ping()
                assert time.monotonic() < deadline
    finally:
        done.set()
        for thread in knocking:
            thread.join()
    assert len(daf.peers.clients) <= 1 and not daf.peers.workers
    assert sum("stranger" in record.message for record in caplog.records) <= daf.gate.strangers.bit_length()


def test_a_key_that_is_taken_back_loses_its_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mapreduce.keys.LOOK", 0.0)
    folder = ring(tmp_path / "keys")
    with coordinator(folder) as daf, Client(daf.endpoint, patience=SILENCE, keys=folder / "user.secret") as client:
        client.ping()
        (folder / "user.key").unlink()
        with pytest.raises(Unreachable):
            client.ping()


def test_where_no_gate_answers_nobody_gets_in(folder: Path) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router, endpoint = sockets.router(context, "tcp://127.0.0.1:0", curve=keys_of(folder, "coordinator").listen())
    with Peer(endpoint, keys_of(folder, "user").connect()) as peer:
        peer.say(m.Ping())
        assert not router.poll(int(SILENCE * 1000))
    router.close(0)
    context.term()


@pytest.mark.parametrize("keyed", [True, False])
def test_nothing_can_be_read_on_the_way(folder: Path, keyed: bool) -> None:
    """The bytes of a conversation, as seen by a relay between the two; without keys they show what is sought."""
    from tests.coordinator.running import coordinator as open_coordinator

    with coordinator(folder) if keyed else open_coordinator() as daf, Relay(daf.endpoint) as relay:
        keys = folder / "user.secret" if keyed else ""
        with Client(relay.endpoint, keys=keys) as client:
            client.submit("fake", b"the password is swordfish")
            assert client.jobs()[0].type == "fake"
    assert (b"swordfish" in relay.seen) is not keyed and len(relay.seen) > 200


class Relay(threading.Thread):
    """Passes one TCP connection on, and keeps a copy of all that went through."""

    def __init__(self, endpoint: str):
        super().__init__(name="relay", daemon=True)
        host, _, port = endpoint.removeprefix("tcp://").partition(":")
        self.seen = bytearray()
        self._to = (host, int(port))
        self._listener = tcp.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"

    def run(self) -> None:
        near, _ = self._listener.accept()
        far = tcp.create_connection(self._to)
        back = threading.Thread(target=self._pass, args=(far, near), daemon=True)
        back.start()
        self._pass(near, far)
        back.join()
        near.close()
        far.close()

    def _pass(self, source: tcp.socket, sink: tcp.socket) -> None:
        try:
            while data := source.recv(65_536):
                self.seen += data
                sink.sendall(data)
            sink.shutdown(tcp.SHUT_RDWR)
        except OSError:  # one side is gone: so is the connection
            return

    def __enter__(self) -> Relay:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.join(10)
        self._listener.close()


# --------------------------------------------------------------------------------------------------------- blob servers


@pytest.fixture
def served(folder: Path, tmp_path: Path) -> Iterator[tuple[m.Node, m.Ref]]:
    """A blob on a worker's server."""
    store = BlobStore(tmp_path / "there")
    keys = keys_of(folder, "worker")
    server = BlobServer(store.root, "tcp://127.0.0.1:0", keys)
    digest, size = store.put(1, 0, 1, [b"treasure" * 1000])
    yield m.Node("there", "there", str(store.root), server.address, keys.own.public), m.Ref(digest, size, "there", 0, 1)
    server.close()


def fetch(tmp_path: Path, folder: Path, name: str, node: m.Node, ref: m.Ref) -> bytes:
    fetcher = Fetcher(
        BlobStore(tmp_path / "here"), patience=0.6, retry=0.3, keys=lambda: keys_of(folder, name) if name else None
    )
    try:
        return bytes(fetcher.fetch(node, 1, ref, 0, ref.size))
    finally:
        fetcher.close()


@pytest.mark.parametrize("name", ["worker", "worker2", "user", "reader", "boss"])
def test_blobs_are_for_workers_and_readers(
    tmp_path: Path, folder: Path, served: tuple[m.Node, m.Ref], name: str
) -> None:
    assert fetch(tmp_path, folder, name, *served) == b"treasure" * 1000


@pytest.mark.parametrize("name", ["submitter", ""])
def test_and_for_nobody_else(tmp_path: Path, folder: Path, served: tuple[m.Node, m.Ref], name: str) -> None:
    with pytest.raises(BlobLost, match="has not answered"):
        fetch(tmp_path, folder, name, *served)


def test_an_unknown_key_gets_no_blob(tmp_path: Path, served: tuple[m.Node, m.Ref]) -> None:
    make(tmp_path / "own", "coordinator")
    make(tmp_path / "own", "worker")
    keys = load(tmp_path / "own", "worker")
    with Peer(served[0].address, keys.connect(served[0].key)) as peer:
        peer.socket.send(encode(m.Fetch(1, 0, 1, served[1].hash, 0, served[1].size)))
        assert not peer.socket.poll(int(SILENCE * 1000))


def test_a_server_with_another_key_gives_no_blob(tmp_path: Path, folder: Path, served: tuple[m.Node, m.Ref]) -> None:
    """Somebody else listens where the node did."""
    node, ref = served
    other = m.Node(node.name, node.host, node.directory, node.address, keys_of(folder, "worker2").own.public)
    with pytest.raises(BlobLost, match="has not answered"):
        fetch(tmp_path, folder, "user", other, ref)
    none = m.Node(node.name, node.host, node.directory, node.address)
    with pytest.raises(BlobLost, match="has no key"):
        fetch(tmp_path, folder, "user", none, ref)
