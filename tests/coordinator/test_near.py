"""The stream socket for workers of this host: in order, bounded, and its end is seen."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from mapreduce.coordination import near as module
from mapreduce.coordination.near import Near
from mapreduce.wire.sockets import Sent
from mapreduce.working.frames import Channel, Closed


@pytest.fixture
def near(tmp_path: Path):
    near = Near(str(tmp_path / "w"))
    yield near
    near.close()


def connect(tmp_path: Path) -> Channel:
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(str(tmp_path / "w"))
    return Channel(stream)


def heard(near: Near, count: int) -> list[list[bytes]]:
    found: list[list[bytes]] = []
    end = time.monotonic() + 10
    while len(found) < count:
        assert time.monotonic() < end
        near.serve()
        while (frames := near.receive()) is not None:
            found.append(frames)
    return found


def test_each_peer_has_an_id_and_its_messages_come_in_order(near: Near, tmp_path: Path) -> None:
    first, second = connect(tmp_path), connect(tmp_path)
    for number in range(100):
        first.send(b"%d" % number)
        second.send(b"%d" % -number)
    found = heard(near, 200)
    ids = {peer for peer, _ in found}
    assert len(ids) == 2 and all(peer in near for peer in ids)
    for peer in ids:
        numbers = [abs(int(frame)) for known, frame in found if known == peer]
        assert numbers == list(range(100))


def test_an_answer_goes_to_its_peer_and_a_large_one_is_pushed_when_there_is_room(near: Near, tmp_path: Path) -> None:
    first, second = connect(tmp_path), connect(tmp_path)
    first.send(b"first")
    second.send(b"second")
    peers = {frame: peer for peer, frame in heard(near, 2)}
    large = bytes(8 << 20)
    assert near.send_to(peers[b"first"], b"a", large, b"b") is Sent.YES
    found: list[bytes] = []
    end = time.monotonic() + 10
    while len(found) < 3:
        assert time.monotonic() < end
        near.serve()
        found += first.receive()
    assert found == [b"a", large, b"b"]
    assert second.receive() == []


def test_one_who_does_not_read_is_full_and_costs_bounded_memory(
    near: Near, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNREAD", 1 << 20)
    deaf = connect(tmp_path)
    deaf.send(b"hello")
    ((peer, _),) = heard(near, 1)
    outcomes = [near.send_to(peer, bytes(1 << 18)) for _ in range(40)]
    assert outcomes[0] is Sent.YES and outcomes[-1] is Sent.FULL
    assert sum(outcome is Sent.YES for outcome in outcomes) * (1 << 18) < 8 << 20
    deaf.close()


def test_what_was_said_before_the_end_is_heard_and_the_end_is_told(near: Near, tmp_path: Path) -> None:
    leaving = connect(tmp_path)
    leaving.send(b"hello", b"last words")
    leaving.close()
    found = heard(near, 2)
    assert [frame for _, frame in found] == [b"hello", b"last words"]
    near.serve()
    assert near.gone == [found[0][0]]
    assert near.send_to(found[0][0], b"x") is Sent.GONE


def test_a_length_that_no_message_has_ends_the_connection(near: Near, tmp_path: Path) -> None:
    wrong = connect(tmp_path)
    wrong.socket.sendall(b"\xff\xff\xff\xff")
    end = time.monotonic() + 10
    while not near.gone:
        assert time.monotonic() < end
        near.serve()
    with pytest.raises(Closed):
        wrong.receive(wait=True)


def test_the_socket_of_a_coordinator_that_was_killed_is_taken_over(tmp_path: Path) -> None:
    path = str(tmp_path / "w")
    left = socket.socket(socket.AF_UNIX)
    left.bind(path)
    left.close()
    near = Near(path)
    channel = connect(tmp_path)
    channel.send(b"hello")
    assert heard(near, 1)[0][1] == b"hello"
    near.close()
    assert not (tmp_path / "w").exists()
