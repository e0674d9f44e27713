"""Frames between a worker and a slot."""

from __future__ import annotations

import socket
import threading

import pytest

from mapreduce.errors import WireError
from mapreduce.working.frames import Channel, Closed


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    a, b = Channel(ours), Channel(theirs)
    yield a, b
    a.close()
    b.close()


def test_frames_arrive_whole_and_in_order(ends):
    a, b = ends
    a.send(b"one", b"", b"three")
    assert b.receive() == [b"one", b"", b"three"]
    assert b.receive() == []


def test_sending_never_blocks_and_a_large_frame_arrives_in_pieces(ends):
    a, b = ends
    large = bytes(range(256)) * 40_000
    a.send(large)
    assert a.unsent > 0
    got = []
    while not got:
        got = b.receive()
        a.flush()
    assert got == [large]


def test_a_frame_cut_anywhere_waits_for_its_rest():
    raw, theirs = socket.socketpair()
    channel = Channel(theirs)
    data = b"\x03\0\0\0abc\x02\0\0\0de"
    for byte in data[:-1]:
        raw.sendall(bytes([byte]))
        for frame in channel.receive():
            assert frame == b"abc"
    raw.sendall(data[-1:])
    assert channel.receive() == [b"de"]
    raw.close()
    channel.close()


def test_waiting_blocks_until_a_frame_is_there(ends):
    a, b = ends
    threading.Timer(0.05, lambda: a.send(b"late")).start()
    assert b.receive(wait=True) == [b"late"]


def test_the_last_frames_are_read_before_the_end_is_reported(ends):
    a, b = ends
    a.send(b"last")
    a.close()
    assert b.receive() == [b"last"]
    with pytest.raises(Closed):
        b.receive()


def test_a_length_beyond_the_limit_is_refused(ends):
    a, b = ends
    a.socket.sendall(b"\xff\xff\xff\xff")
    with pytest.raises(WireError, match="limit"):
        b.receive()
