"""The client: coordinators that are not there, go away, come back, or do not fit."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import zmq

from mapreduce import client as module
from mapreduce.client import Client
from mapreduce.errors import Refused, Unreachable
from mapreduce.wire import messages as m
from mapreduce.wire import sockets
from mapreduce.wire.typed import at_coordinator, encode
from tests.coordinator.fakes import Fake
from tests.coordinator.running import Process, Working, coordinator


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:9", "ipc:///tmp/daf-nobody-listens-here"])
def test_nobody_answers(endpoint: str) -> None:
    with Client(endpoint, patience=0.3) as client:
        with pytest.raises(Unreachable, match=f"no coordinator answers at {endpoint}.*is daf-coordinator running"):
            client.ping()
        with pytest.raises(Unreachable):
            client.submit("fake", b"")


def test_what_is_no_endpoint() -> None:
    with pytest.raises(ValueError, match=r"'localhost:7077' cannot be connected to.*tcp://HOST:PORT"):
        Client("localhost:7077")


def test_another_thread_is_told_to_make_its_own() -> None:
    with coordinator() as c, Client(c.endpoint) as client:
        caught: list[BaseException] = []

        def elsewhere() -> None:
            try:
                client.ping()
            except RuntimeError as error:
                caught.append(error)

        thread = threading.Thread(target=elsewhere, daemon=True)
        thread.start()
        thread.join()
        assert "one for each thread" in str(caught[0])
        assert client.ping().jobs == 0


def test_a_closed_client_says_so() -> None:
    with coordinator() as c:
        with Client(c.endpoint) as client:
            client.ping()
        with pytest.raises(RuntimeError, match="closed"):
            client.ping()


def test_a_client_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with coordinator() as c:
        monkeypatch.setattr(module, "__version__", "0.0.1")
        with Client(c.endpoint) as client, pytest.raises(Refused, match=r"daf 0\.0\.1, this coordinator is daf"):
            client.ping()


class Patient(Fake):
    """Keeps its maps until `released`."""

    def __init__(self, endpoint: str, go: threading.Event, **options: Any):
        super().__init__(endpoint, hold=lambda key: key[2] == 1 and not go.is_set(), **options)
        self.go = go

    def turn(self, seconds: float = 0.02) -> None:
        super().turn(seconds)
        if self.go.is_set() and self.kept and self.welcome is not None:
            self.let_go()


def test_a_watch_lives_through_a_killed_coordinator(tmp_path: Path) -> None:
    process = Process(f"sqlite://{tmp_path}/state.db", tmp_path, "heartbeat=0.2", "lease=30")
    try:
        with Client(process.endpoint) as client:
            released = threading.Event()
            fake = Patient(process.endpoint, released, maps=3, slots=3)
            job = client.submit("fake", b"")
            states = []
            with Working(fake):
                for update in client.watch(job):
                    states.append(update.state)
                    if update.running == 3 and process.starts == 1:
                        process.kill()
                        process.start()
                        released.set()
            assert states[-1] == "done" and len(fake.ran) == len(set(fake.ran))
    finally:
        process.close()


def test_a_request_without_an_answer_is_sent_again_on_a_fresh_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answer comes late: it must not be taken for the answer to a later question."""
    monkeypatch.setattr(module, "RESEND", 0.2)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router, endpoint = sockets.router(context, "tcp://127.0.0.1:0")
    asked: list[tuple[bytes, m.Submit]] = []

    def serve() -> None:
        while len(asked) < 2:
            if router.poll(5_000):
                peer, frame = sockets.receive(router) or (b"", b"")
                message = at_coordinator(frame)
                if isinstance(message, m.Submit):
                    asked.append((peer, message))
        for number, (peer, message) in enumerate(asked):
            sockets.send_to(router, peer, encode(m.Accepted(message.token, number)))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with Client(endpoint, patience=30) as client:
        assert client.submit("fake", b"") == 1
    thread.join()
    assert asked[0][0] != asked[1][0] and asked[0][1].token == asked[1][1].token
    router.close(0)
    context.term()


def test_patience_ends_a_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESEND", 0.2)
    with Client("tcp://127.0.0.1:9", patience=0.5) as lost:
        with coordinator() as c:
            with Client(c.endpoint, patience=1.0) as client:
                watch = client.watch(client.submit("fake", b""))
                assert next(watch).state == "planning"
                c.stop()
                with pytest.raises(Unreachable):
                    next(watch)
        with pytest.raises(Unreachable):
            lost.wait(1)


def test_a_long_quiet_watch_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing happens to the job for longer than the client's patience; the renewed watch is answered all the while."""
    monkeypatch.setattr(module, "RESEND", 0.1)
    with coordinator() as c, Client(c.endpoint, patience=0.4) as client:
        watch = client.watch(client.submit("fake", b""))
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            assert next(watch).state == "planning"
