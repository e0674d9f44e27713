"""Workers that come, do not fit, fall silent, break off, come back, lie or do not listen."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import zmq

from mapreduce.client import Client
from mapreduce.coordination import post
from mapreduce.scheduler.settings import Settings
from mapreduce.wire import messages as m
from mapreduce.wire import sockets
from mapreduce.wire.typed import at_client, encode
from mapreduce.working.host import host_id
from tests.coordinator.fakes import Fake
from tests.coordinator.running import Working, coordinator

MAP = 1


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"protocol": 99}, "speaks protocol 99, this coordinator"),
        ({"library": "0.0.1"}, "is daf 0.0.1, this coordinator is daf"),
        ({"python": "3.8.1"}, "runs Python 3.8.1, this coordinator 3"),
    ],
)
def test_a_worker_that_does_not_fit_is_refused_with_the_difference(wrong: dict[str, Any], why: str) -> None:
    with coordinator() as c, Client(c.endpoint) as client:
        job = client.submit("fake", b"")
        fake = Fake(c.endpoint, name="odd", **wrong)
        fake.run(lambda: bool(fake.seen))
        assert isinstance(fake.seen[0], m.Refused) and why in fake.seen[0].message
        assert client.workers() == ()
        assert any("odd" in line and why in line for line in client.explain(job))
        fake.close()


def test_tasks_go_only_to_workers_with_the_version_of_the_submission() -> None:
    with coordinator() as c, Client(c.endpoint) as client:
        old = Fake(c.endpoint, version="1")
        with Working(old):
            job = client.submit("fake", b"", version="2")
            while "version 2" not in "".join(lines := client.explain(job)):
                assert lines
            new = Fake(c.endpoint, version="2")
            with Working(new):
                client.wait(job, timeout=30)
        assert new.ran and not old.ran


def test_who_is_not_known_is_told_to_register() -> None:
    with coordinator() as c:
        fake = Fake(c.endpoint, protocol=99)
        fake.run(lambda: bool(fake.seen))
        fake.say(m.Beat(()))
        fake.run(lambda: len(fake.seen) > 1)
        assert fake.seen[1] == m.Reregister()
        fake.close()


def test_a_worker_that_breaks_off_is_lost_at_once_not_at_the_end_of_its_lease() -> None:
    """The lease is ten minutes here, and there is nothing that anyone would send it."""
    with coordinator() as c, Client(c.endpoint) as client:
        dying = Fake(c.endpoint, maps=1, hold=lambda key: key[2] == MAP)
        dying.node = m.Node("dying", host_id(), "/nowhere", "tcp://127.0.0.1:9")
        dying.connect()
        job = client.submit("fake", b"")
        dying.run(lambda: bool(dying.kept))
        dying.close()
        with Working(Fake(c.endpoint, maps=1)):
            update = client.wait(job, timeout=30)
        assert update.retries > 0 and len(client.workers()) <= 1


def test_a_silent_worker_is_lost_when_its_lease_ends_and_may_come_back() -> None:
    settings = Settings(heartbeat=0.1, lease=0.5, node_grace=600.0, speculate=False)
    with coordinator(settings=settings) as c, Client(c.endpoint) as client:
        silent = Fake(c.endpoint, maps=4, hold=lambda key: key[2] == MAP)
        job = client.submit("fake", b"")
        silent.run(lambda: bool(silent.kept))
        other = Fake(c.endpoint, maps=4)
        with Working(other):
            assert client.wait(job, timeout=30).retries > 0
        assert not any(key[2] == MAP for key in silent.ran)
        silent.run(lambda: not silent.kept)  # it registered anew, and what it held is not wanted any more
        silent.close()


def test_a_worker_that_registers_anew_goes_on_with_what_it_holds() -> None:
    with coordinator() as c, Client(c.endpoint) as client:
        fake = Fake(c.endpoint, maps=3, slots=3, hold=lambda key: key[2] == MAP)
        job = client.submit("fake", b"")
        fake.run(lambda: len(fake.kept) == 3)
        fake.connect()
        fake.run(lambda: fake.welcome is not None)
        assert len(client.workers()) == 1
        fake.hold = lambda key: False
        fake.let_go()
        with Working(fake):
            update = client.wait(job, timeout=30)
        assert update.retries == 0 and len(fake.ran) == len(set(fake.ran))


def test_results_are_acknowledged_and_those_that_were_not_are_sent_again() -> None:
    with coordinator() as c, Client(c.endpoint) as client:
        fake = Fake(c.endpoint, maps=30)
        job = client.submit("fake", b"")
        fake.run(lambda: any(key[2] == MAP for key in fake.ran))
        assert fake._unacked  # nothing is acknowledged before a heartbeat
        fake.connect()
        with Working(fake):
            client.wait(job, timeout=30)
            while fake._unacked:
                time.sleep(0.01)
        assert len(fake.ran) == len(set(fake.ran))


def test_two_workers_of_one_name_both_work() -> None:
    with coordinator() as c, Client(c.endpoint) as client:
        twins = [Fake(c.endpoint, name="twin", node=f"n{i}", maps=400) for i in range(2)]
        with Working(*twins):
            while len(workers := client.workers()) < 2:
                time.sleep(0.01)
            assert sorted(worker.worker for worker in workers) == ["twin", "twin~2"]
            client.wait(client.submit("fake", b""), timeout=30)
        assert all(twin.ran for twin in twins)


def test_a_drained_worker_gets_nothing_new_and_says_goodbye() -> None:
    with coordinator() as c, Client(c.endpoint) as client:
        leaving, staying = Fake(c.endpoint, maps=20), Fake(c.endpoint, maps=20)
        for fake in (leaving, staying):
            fake.run(lambda fake=fake: fake.welcome is not None)  # type: ignore[misc]
        leaving.say(m.Draining())
        while not any(worker.state == "draining" for worker in client.workers()):
            time.sleep(0.01)
        with Working(leaving, staying):
            client.wait(client.submit("fake", b""), timeout=30)
            assert not leaving.ran
            leaving.say(m.Bye("drained"))
            while len(client.workers()) > 1:
                time.sleep(0.01)


def test_lost_outputs_of_a_node_are_made_again() -> None:
    """A reduce says that it cannot read what lies on a node whose worker is gone."""

    class Blind(Fake):
        told = 0

        def do(self, a: m.Assign, tasks: list[tuple[int, int]]) -> None:
            for task in tasks:
                lost = {s[1].node for part in a.inputs if part.index == task[0] for s in part.segments} - {
                    self.node.name
                }
                if a.kind == 2 and lost:
                    self.told += 1
                    key = m.TaskKey(a.job, a.stage, a.kind, *task)
                    self.answer(m.Failed(key, m.Error("input-lost", "BlobLost", "gone"), tuple(lost)), (key,))
                else:
                    super().do(a, [task])

    with coordinator() as c, Client(c.endpoint) as client:
        first = Fake(c.endpoint, maps=6, name="first", hold=lambda key: key[2] == 2)
        job = client.submit("fake", b"")
        first.run(lambda: bool(first.kept))
        first.say(m.Bye())
        first.turn()
        first.close()
        second = Blind(c.endpoint, maps=6, name="second")
        with Working(second):
            update = client.wait(job, timeout=30)
        assert second.told and sum(key[2] == MAP for key in second.ran) == 6
        assert {ref.node for ref in update.outputs if ref is not None} == {second.node.name}


class Raw:
    """A peer that sends what it likes."""

    def __init__(self, endpoint: str):
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = sockets.dealer(self.context, endpoint)

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close(0)
        self.context.term()

    def answer(self) -> Any:
        assert self.socket.poll(10_000)
        frames = sockets.receive(self.socket)
        assert frames is not None
        return at_client(frames[0])


def test_nonsense_is_answered_and_harms_nobody() -> None:
    with coordinator() as c, Client(c.endpoint) as client, Raw(c.endpoint) as raw:
        for frames in (
            (b"hello",),
            (b"",),
            (b"a", b"b"),
            (b"\x91" * 9,),
            (encode(m.Ping()), b""),
            (b"\xdd\xff\xff\xff\xff",),
        ):
            sockets.send(raw.socket, *frames)
            answer = raw.answer()
            assert isinstance(answer, m.Refused) and "this is daf" in answer.message
        with Working(Fake(c.endpoint)):
            assert client.wait(client.submit("fake", b""), timeout=30).state == "done"


@pytest.mark.parametrize(
    "lie",
    [
        m.Results(1, 0, 0, (m.Done(0, 1),)),
        m.Results(1, 0, 77, (m.Done(0, 1),)),
        m.Results(1, 0, 1, (m.Done(0, 1, b"short"),)),
        m.Results(1, 0, 1, (m.Done(10**9, 1), m.Done(0, 2**40))),
        m.Results(999, 5, 1, (m.Done(0, 1),)),
        m.Failed(m.TaskKey(1, 0, 1, 10**9, 1), m.Error("exception", "E", "x")),
        m.Failed(m.TaskKey(9, 9, 2, 0, 1), m.Error("input-lost", "E", "x"), ("nowhere",)),
        m.Finished(m.TaskKey(1, 0, 3, 0, 1), b""),
        m.Finished(m.TaskKey(1, 0, 1, 5, 1), b""),
        m.Planned(m.TaskKey(1, 7, 0, 0, 1), "x", 5, 5, b"", None, (), False),
        m.Planned(m.TaskKey(1, 0, 1, 0, 1), "x", 2**40, 5, b"", None, (), True),
        m.Beat(tuple([m.TaskKey(1, 0, 1, i, 2**40) for i in range(5)])),
        m.Beat((), (m.Progress(m.TaskKey(1, 0, 1, 0, 1), float("nan"), float("inf")),)),
        m.Submit("t", "fake", b""),
        m.Cancel(1),
    ],
    ids=lambda lie: type(lie).__name__,
)
def test_a_worker_that_lies_harms_nobody(lie: m.Message) -> None:
    with coordinator() as c, Client(c.endpoint) as client:
        honest = Fake(c.endpoint, hold=lambda key: key[2] == MAP)
        liar = Fake(c.endpoint, type="other")
        for fake in (honest, liar):
            fake.run(lambda fake=fake: fake.welcome is not None)  # type: ignore[misc]
        job = client.submit("fake", b"")
        honest.run(lambda: bool(honest.kept))
        liar.say(lie)
        client.ping()
        honest.hold = lambda key: False
        honest.let_go()
        with Working(honest, liar):
            update = client.wait(job, timeout=30)
        assert update.state == "done" and len(honest.ran) == len(set(honest.ran))


def test_a_hello_that_claims_tasks_it_never_had_does_no_harm() -> None:
    with coordinator() as c, Client(c.endpoint) as client:
        honest = Fake(c.endpoint, hold=lambda key: key[2] == MAP)
        job = client.submit("fake", b"")
        honest.run(lambda: bool(honest.kept))
        claims = tuple([m.TaskKey(job, 0, kind, index, 1) for kind in range(4) for index in (0, 5, 10**9)])
        liar = Fake(c.endpoint, type="other", running=claims)
        liar.run(lambda: any(isinstance(message, m.Abort) for message in liar.seen))
        honest.hold = lambda key: False
        honest.let_go()
        with Working(honest, liar):
            assert client.wait(job, timeout=30).state == "done"


def test_a_worker_that_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It beats, and each beat claims tasks that it is told to drop, which it does not read: its backlog gives it away.
    (The lease does where libzmq stops listening to a socket that is not read.)"""
    monkeypatch.setattr(post, "BACKLOG", 50)
    claims = encode(m.Beat(tuple([m.TaskKey(1, 0, MAP, index, 1) for index in range(200)])))
    settings, bind = Settings(heartbeat=0.2, lease=3.0), f"ipc://{tmp_path}/c"
    with coordinator(settings=settings, bind=bind) as c, Client(c.endpoint) as client:
        deaf = Fake(c.endpoint, name="deaf", type="other", hwm=20)
        deaf.run(lambda: deaf.welcome is not None)
        while any(worker.worker == "deaf" for worker in client.workers()):
            for _ in range(100):
                sockets.send(deaf.socket, claims)
        assert client.ping().workers == 0
        deaf.close()


def test_a_flood_from_a_peer_that_breaks_off_ends_nothing() -> None:
    """What its pipe could not take is lost with it; the coordinator reads on."""
    with coordinator() as c, Client(c.endpoint) as client:
        for _ in range(5):
            with Raw(c.endpoint) as raw:
                for _ in range(20_000):
                    sockets.send(raw.socket, encode(m.Beat(())))
        assert client.ping().workers == 0
