"""When watchers are told: changes at once, progress at most ten times a second, ends once."""

from __future__ import annotations

from mapreduce.coordination.peers import MAX_CLIENTS, ClientPeer, Peers
from mapreduce.coordination.watchers import INTERVAL, Watchers


def told(watchers: Watchers, now: float) -> list[int]:
    return [job for job, _ in watchers.due(now)]


def test_progress_is_told_at_intervals_and_changes_at_once() -> None:
    watchers, client = Watchers(), ClientPeer(b"c", 0.0)
    watchers.add(1, client)
    watchers.changed(1)
    assert told(watchers, 0.0) == [1] and told(watchers, 0.0) == []
    times = []
    for step in range(1_000):  # a second, progress every millisecond
        now = step / 1_000
        watchers.progressed(1)
        times += [now] * len(told(watchers, now))
    assert len(times) == 9 and times[0] == INTERVAL
    watchers.progressed(1)
    assert told(watchers, 1.05) == [1]
    watchers.progressed(1)
    assert told(watchers, 1.0501) == []
    watchers.changed(1)
    assert told(watchers, 1.0502) == [1]


def test_the_deadline_is_when_something_held_back_is_due() -> None:
    watchers, client = Watchers(), ClientPeer(b"c", 0.0)
    assert watchers.deadline() is None
    watchers.add(1, client)
    watchers.changed(1)
    told(watchers, 5.0)
    assert watchers.deadline() is None
    watchers.progressed(1)
    assert watchers.deadline() == 5.0 + INTERVAL


def test_only_watched_jobs_are_told_and_only_to_their_watchers() -> None:
    watchers, one, two = Watchers(), ClientPeer(b"1", 0.0), ClientPeer(b"2", 0.0)
    watchers.add(1, one)
    watchers.add(1, two)
    watchers.add(2, two)
    for job in (1, 2, 3):
        watchers.changed(job)
    assert {job: {client.id for client in clients} for job, clients in watchers.due(0.0)} == {
        1: {b"1", b"2"},
        2: {b"2"},
    }
    watchers.drop(two)
    for job in (1, 2):
        watchers.changed(job)
    assert told(watchers, 1.0) == [1] and not two.watching
    watchers.ended(1)
    watchers.changed(1)
    assert told(watchers, 2.0) == [] and not one.watching


def test_clients_are_bounded_and_the_longest_silent_goes_first() -> None:
    peers = Peers()
    for number in range(MAX_CLIENTS):
        assert peers.add_client(b"%d" % number, float(number)) == []
    peers.heard(peers.clients[b"0"], 1e6)
    assert [client.id for client in peers.add_client(b"new", 1e6)] == [b"1"]
    assert b"0" in peers.clients and len(peers.clients) == MAX_CLIENTS
    assert peers.silent_clients(150.0)[0].id == b"2"
