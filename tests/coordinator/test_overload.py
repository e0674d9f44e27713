"""More than a coordinator can take: it says no and when to come back, and whoever is not to blame notices nothing."""

from __future__ import annotations

import threading
import time

import psutil
import pytest

from mapreduce.client import Client
from mapreduce.coordination import rates
from mapreduce.errors import Overloaded
from mapreduce.scheduler.settings import Settings
from mapreduce.wire import messages as m
from mapreduce.wire import sockets
from mapreduce.wire.typed import at_client, encode
from tests.coordinator.fakes import Fake
from tests.coordinator.running import Working, coordinator
from tests.security.ring import Peer, client_hello, submission


def hear_all(peer: Peer, seconds: float = 0.5) -> list[m.Message]:
    """All that comes until nothing does for so long."""
    heard = []
    while (message := peer.hear(at_client, seconds)) is not None:
        heard.append(message)
    return heard


def test_ten_times_more_submissions_than_it_takes_are_refused_with_a_time():
    with coordinator(settings=Settings(max_jobs=50, retry_after=2.5)) as c, Peer(c.endpoint, None) as peer:
        peer.say(client_hello(), *(submission() for _ in range(500)))
        heard = hear_all(peer)
        accepted = [message for message in heard if isinstance(message, m.Accepted)]
        refused = [message for message in heard if isinstance(message, m.Rejected)]
        assert (len(accepted), len(refused)) == (50, 450)
        assert {(message.code, message.retry_after) for message in refused} == {("full", 2.5)}
        assert "retry in 2.5 s" in refused[0].message


def test_parameters_of_waiting_jobs_are_bounded_in_bytes():
    with coordinator(settings=Settings(max_params=10_000)) as c, Client(c.endpoint) as client:
        client.submit("fake", bytes(6_000))
        with pytest.raises(Overloaded, match="parameters of live jobs take 6000 bytes") as caught:
            client.submit("fake", bytes(6_000))
        assert caught.value.retry_after > 0
        client.submit("fake", bytes(3_000))


def test_who_says_too_much_is_told_when_to_come_back_and_others_are_heard():
    with coordinator() as c, Peer(c.endpoint, None) as loud, Client(c.endpoint) as other:
        loud.say(client_hello())
        stop = threading.Event()
        answers = []

        def shout() -> None:
            ping = encode(m.Ping())
            while not stop.is_set():
                sockets.send(loud.socket, ping)
                if (frames := sockets.receive(loud.socket)) is not None:
                    answers.append(at_client(frames[0]))

        thread = threading.Thread(target=shout, daemon=True)
        thread.start()
        slowest = 0.0
        try:
            time.sleep(1.0)
            for _ in range(20):
                began = time.monotonic()
                other.ping()
                slowest = max(slowest, time.monotonic() - began)
        finally:  # a thread that shouts on would keep the test run from ending
            stop.set()
            thread.join()
        busy = [message for message in answers if isinstance(message, m.Rejected)]
        assert busy and {message.code for message in busy} == {"busy"}
        assert all(message.retry_after > 0 for message in busy)
        assert c.admission.unheard > 100
        assert slowest < 5.0, "the other client's patience is 10 s"


def test_a_client_that_is_told_to_wait_waits(monkeypatch):
    """Three times as many requests as may be made at once, by the client that users have: none fails."""
    monkeypatch.setattr(rates, "CLIENT", (200.0, 20.0))
    with coordinator() as c, Client(c.endpoint) as client:
        for _ in range(60):
            assert client.ping().jobs == 0
        assert c.admission.unheard > 0


def test_strangers_share_what_they_may_say(monkeypatch):
    monkeypatch.setattr(rates, "STRANGERS", (1.0, 50.0))
    with coordinator() as c, Peer(c.endpoint, None) as stranger, Client(c.endpoint) as friend:
        friend.ping()
        stranger.say(*[m.Ping()] * 400)
        assert len(hear_all(stranger)) <= 60, "beyond that nothing is answered"
        friend.ping()


def test_a_client_that_asks_for_large_answers_and_reads_none_costs_what_it_may(monkeypatch):
    monkeypatch.setattr(rates, "ANSWERS", (1.0, 4 << 20))
    value = bytes(2 << 20)
    with coordinator() as c, Client(c.endpoint) as client, Working(Fake(c.endpoint, value=value)):
        job = client.submit("fake", b"")
        assert len(client.wait(job, 30).value) == len(value)
        before = psutil.Process().memory_info().rss
        with Peer(c.endpoint, None) as greedy:
            greedy.say(client_hello())
            for _ in range(100):
                greedy.say(m.Watch(job))
                client.ping()  # in a turn of its own: what is asked in one turn is answered once
            grown = psutil.Process().memory_info().rss - before
            assert grown < 64 << 20, f"{grown >> 20} MiB for a client that reads nothing"
            heard = hear_all(greedy)
            large = [message for message in heard if isinstance(message, m.Update) and message.value]
            assert 1 <= len(large) <= 4
            assert any(isinstance(message, m.Rejected) and message.code == "busy" for message in heard)


def test_connections_that_come_and_go_do_not_make_it_write_to_all_workers_each_time(monkeypatch):
    with coordinator() as c:
        fake = Fake(c.endpoint)
        fake.run(lambda: fake.welcome is not None)
        looks = []
        hand_over = c.post._hand_over

        def counted(peer: bytes, frames: tuple[bytes, ...]):
            looks.append(peer)
            return hand_over(peer, frames)

        monkeypatch.setattr(c.post, "_hand_over", counted)
        began = time.monotonic()
        for _ in range(200):
            with Peer(c.endpoint, None) as peer:
                peer.socket.poll(1)
        took = time.monotonic() - began
        assert len(looks) <= took / 0.05 + took / 0.2 + 10
        fake.close()


def test_a_full_bucket_holds_so_much_and_is_filled_by_time():
    bucket = rates.Bucket(10.0, 3.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert 0 < bucket.wait() <= 0.2
    assert bucket.take(100.1) and not bucket.take(100.1)
    assert [bucket.take(200.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.take(201.0, 25.0) and not bucket.take(202.0), "what is more than it holds is owed"
    assert bucket.take(204.0)
