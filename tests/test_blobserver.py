"""Blobs between hosts: served in chunks, fetched by whoever needs them, checked by hash."""

from __future__ import annotations

import os
import threading
import time

import pytest
import zmq

from mapreduce.blobs import BlobLost, BlobStore, Reader
from mapreduce.blobserver import CHUNK, BlobServer, Fetcher
from mapreduce.errors import Insecure
from mapreduce.wire import codec, sockets
from mapreduce.wire.messages import Node, Ref


@pytest.fixture
def there(tmp_path):
    """The store of another host, and its server."""
    store = BlobStore(tmp_path / "there")
    server = BlobServer(store.root, "tcp://127.0.0.1:0")
    yield store, Node("there", "there", str(store.root), server.address)
    server.close()


@pytest.fixture
def here(tmp_path):
    store = BlobStore(tmp_path / "here")
    fetcher = Fetcher(store, patience=0.6, retry=0.2)
    yield store, fetcher
    fetcher.close()


def put(store: BlobStore, data: bytes) -> Ref:
    return Ref(*store.put(1, 0, 1, [data]), "there", 0, 1)


@pytest.mark.parametrize("size", [1, 1000, CHUNK, CHUNK + 1, 5 * CHUNK + 77])
def test_a_blob_arrives_whole_and_stays(there, here, size):
    data = os.urandom(size)
    ref = put(there[0], data)
    store, fetcher = here
    reader = Reader(store, "here", {"there": there[1]}, fetcher.fetch)
    assert reader.read(1, ref) == data
    assert store.path(1, 0, 1, ref.hash).read_bytes() == data
    there[0].release(1)
    assert reader.read(1, ref, 0, size) == data


def test_of_a_large_blob_a_segment_comes_alone(there, here):
    parts = [codec.pack(os.urandom(size)) for size in (CHUNK - 999, 2 * CHUNK + 10, 5 * CHUNK)]
    data = b"".join(parts)
    ref = put(there[0], data)
    store, fetcher = here
    offset, size = len(parts[0]), len(parts[1])
    assert fetcher.fetch(there[1], 1, ref, offset, size) == data[offset : offset + size]
    assert not store.path(1, 0, 1, ref.hash).exists()


def test_a_blob_that_is_gone_is_lost_at_once(there, here):
    ref = put(there[0], b"x" * 100)
    there[0].release(1)
    begin = time.monotonic()
    with pytest.raises(BlobLost, match="no longer has") as caught:
        here[1].fetch(there[1], 1, ref, 0, 100)
    assert caught.value.node == "there"
    assert time.monotonic() - begin < 0.5


def test_a_released_blob_is_not_served_from_an_old_mapping(there, here):
    ref = put(there[0], b"x" * 100)
    here[1].fetch(there[1], 1, ref, 0, 100)
    there[0].release(1)
    with pytest.raises(BlobLost):
        here[1].fetch(there[1], 1, ref, 0, 100)


def test_other_bytes_under_the_name_are_refused(there, here):
    ref = put(there[0], b"x" * 100)
    there[0].path(1, 0, 1, ref.hash).write_bytes(b"y" * 100)
    with pytest.raises(BlobLost, match="sent twice"):
        here[1].fetch(there[1], 1, ref, 0, 100)
    assert not here[0].path(1, 0, 1, ref.hash).exists()


def test_a_server_that_does_not_answer_is_given_up(here):
    ref = Ref(bytes(16), 10, "there", 0, 1)
    with pytest.raises(BlobLost, match="has not answered"):
        here[1].fetch(Node("there", "there", "/none", "tcp://127.0.0.1:9"), 1, ref, 0, 10)


def test_a_fetch_goes_on_where_a_dead_server_left_it(tmp_path, here):
    """The first server answers two requests and dies; the second, on the same address, is asked for the rest only."""
    store = BlobStore(tmp_path / "there")
    data = os.urandom(6 * CHUNK)
    ref = put(store, data)
    context = zmq.Context()
    socket, address = sockets.router(context, f"ipc://{tmp_path}/s")
    asked = []

    def play() -> None:
        from mapreduce.wire.messages import Chunk
        from mapreduce.wire.typed import at_blobserver, encode

        nonlocal socket
        for life in range(2):
            while life == 1 or len(asked) < 2:
                if not socket.poll(2000):
                    return
                peer, frame = socket.recv_multipart()
                request = at_blobserver(frame)
                asked.append(request.offset)
                part = data[request.offset : request.offset + request.size]
                sockets.send_to(socket, peer, encode(Chunk(ref.hash, request.offset, len(data))), part)
                if len(asked) > 2 and len(set(asked)) == 6:
                    return
            time.sleep(0.1)  # let the answers out
            socket.close(100)
            socket, _ = sockets.router(context, address)

    thread = threading.Thread(target=play)
    thread.start()
    try:
        assert here[1].fetch(Node("there", "there", "", address), 1, ref, 0, len(data)) == data
    finally:
        thread.join()
        socket.close(0)
        context.term()
    assert len(asked) < 12


def test_noise_is_not_answered_and_does_not_stop_the_server(there, here):
    context = zmq.Context()
    stranger = sockets.dealer(context, there[1].address)
    for frames in ([b""], [b"\xff" * 100], [b"a", b"b", b"c"]):
        stranger.send_multipart(frames)
    assert not stranger.poll(200)
    stranger.close(0)
    context.term()
    ref = put(there[0], b"still here")
    assert here[1].fetch(there[1], 1, ref, 0, 10) == b"still here"


def test_a_server_that_others_can_reach_refuses_to_start(tmp_path):
    with pytest.raises(Insecure):
        BlobServer(tmp_path, "tcp://0.0.0.0:0")
