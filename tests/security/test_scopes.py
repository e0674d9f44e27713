"""What each key may say: every message kind against every key, and whose jobs are whose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mapreduce.client import Client
from mapreduce.coordinator import Coordinator
from mapreduce.errors import Refused
from mapreduce.wire import messages as m
from mapreduce.wire.typed import Decoder
from tests.security.ring import Peer, client_hello, coordinator, hello, keys_of, submission

anything: Decoder[Any] = Decoder(m.ToWorker | m.Ready | m.Accepted | m.Rejected | m.Update | m.Jobs | m.Workers
                                 | m.Explanation | m.Pong, "the coordinator")  # fmt: skip
CLIENTS = ("user", "submitter", "reader", "boss")
WORKERS = ("worker", "worker2")
SUBMIT, READ, ANY = {"user", "submitter", "boss"}, {"user", "reader", "boss"}, set(CLIENTS)
MESSAGES: dict[str, tuple[Any, set[str]]] = {
    "Submit": (submission, SUBMIT),
    "Cancel": (lambda: m.Cancel(1), {"boss"}),
    "Forget": (lambda: m.Forget(1), {"boss"}),
    "Watch": (lambda: m.Watch(1), READ),
    "Explain": (lambda: m.Explain(1), READ),
    "ListJobs": (m.ListJobs, READ),
    "ListWorkers": (m.ListWorkers, ANY),
    "Ping": (m.Ping, ANY),
}
"""Of somebody else's job 1: who may say it."""


@pytest.fixture
def daf(folder: Path) -> Iterator[Coordinator]:
    """A coordinator whose job 1 is another client's."""
    with coordinator(folder) as running, Client(running.endpoint, keys=folder / "boss.secret") as client:
        assert client.submit("fake", b"") == 1
        yield running


def say(folder: Path, daf: Coordinator, name: str, *messages: m.Message) -> Any:
    """The answer to the last of the messages, said with that key."""
    with Peer(daf.endpoint, keys_of(folder, name).connect()) as peer:
        answer = None
        for message in messages:
            peer.say(message)
            answer = peer.hear(anything)
        return answer


@pytest.mark.parametrize("kind", MESSAGES)
@pytest.mark.parametrize("name", CLIENTS)
def test_what_a_client_may_say(folder: Path, daf: Coordinator, name: str, kind: str) -> None:
    make, allowed = MESSAGES[kind]
    answer = say(folder, daf, name, client_hello(), make())
    refused = isinstance(answer, m.Rejected) and answer.code == "forbidden"
    assert refused == (name not in allowed), answer
    if refused:
        assert repr(name) in answer.message and "scope" in answer.message
    cancelled = daf.scheduler.snapshot(1).state.value == "cancelled"
    assert cancelled == (kind == "Cancel" and name == "boss")


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("first", [True, False])
def test_a_client_cannot_be_a_worker(folder: Path, daf: Coordinator, name: str, first: bool) -> None:
    said = [hello()] if first else [client_hello(), hello()]
    answer = say(folder, daf, name, *said)
    assert isinstance(answer, m.Refused) and "may not work here" in answer.message
    assert not daf.peers.workers


@pytest.mark.parametrize("name", WORKERS)
@pytest.mark.parametrize("kind", ["ClientHello", *MESSAGES])
@pytest.mark.parametrize("joined", [True, False])
def test_a_worker_cannot_be_a_client(folder: Path, daf: Coordinator, name: str, kind: str, joined: bool) -> None:
    message = client_hello() if kind == "ClientHello" else MESSAGES[kind][0]()
    before = daf.scheduler.snapshot(1)
    with Peer(daf.endpoint, keys_of(folder, name).connect()) as peer:
        if joined:
            peer.say(hello())
            assert isinstance(peer.hear(anything), m.Welcome)
        peer.say(message)
        while not isinstance(answer := peer.hear(anything), m.Refused):
            assert isinstance(answer, m.StageInfo | m.Assign | m.Ack), answer  # of job 1, since it joined
        assert "may not speak as a client" in answer.message
    assert len(daf.scheduler.state.jobs) == 1 and daf.scheduler.snapshot(1).submitted == before.submitted


def test_jobs_belong_to_the_key_that_submitted_them(folder: Path, daf: Coordinator) -> None:
    """Whatever the submission says; and they may be followed and cancelled with it, without more scopes."""
    with Client(daf.endpoint, owner="boss", keys=folder / "submitter.secret") as client:
        job = client.submit("fake", b"")
        assert client.update(job).owner == "submitter"
        assert client.explain(job)
        with Client(daf.endpoint, keys=folder / "user.secret") as other:
            with pytest.raises(Refused, match=f"'user'.* may not cancel job {job}"):
                other.cancel(job)
        with pytest.raises(Refused, match=r"'submitter'.* may not cancel job 1"):
            client.cancel(1)
        with pytest.raises(Refused, match="may not see job 1"):
            client.update(1)
        assert client.cancel(job).state == "cancelled"


def test_a_refused_submission_leaves_nothing(folder: Path, daf: Coordinator) -> None:
    with Client(daf.endpoint, keys=folder / "reader.secret") as client:
        with pytest.raises(Refused, match="lacks the scope submit"):
            client.submit("fake", b"")
        assert [update.job for update in client.jobs()] == [1]


def test_a_worker_is_known_by_its_own_key(folder: Path, daf: Coordinator) -> None:
    """A node's key is the one that connected, not one that its Hello names."""
    mine, others = (keys_of(folder, name).own.public for name in WORKERS)
    lie = m.Node("node-x", "elsewhere", "/nowhere", "tcp://127.0.0.1:9", others)
    with Peer(daf.endpoint, keys_of(folder, "worker").connect()) as peer:
        peer.say(hello("x", node=lie))
        assert isinstance(peer.hear(anything), m.Welcome)
        assert daf.journal.nodes["node-x"].key == mine


def test_a_worker_cannot_push_out_one_with_another_key(folder: Path, daf: Coordinator) -> None:
    """A Hello that claims to be the process behind another key's connection is just one more worker."""
    with Peer(daf.endpoint, keys_of(folder, "worker").connect()) as one:
        one.say(hello("x"))
        assert isinstance(one.hear(anything), m.Welcome)
        with Peer(daf.endpoint, keys_of(folder, "worker2").connect()) as two:
            two.say(hello("x"))
            assert isinstance(two.hear(anything), m.Welcome)
            assert len(daf.peers.workers) == 2
