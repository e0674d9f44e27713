"""The worker's connection: losing it, coming back, leaving."""

from __future__ import annotations

import signal
import time

from mapreduce.wire import messages as m
from tests.worker.jobs import Empty, Letters
from tests.worker.scripted import Coordinator


def assign(*indexes: int) -> m.Assign:
    return m.Assign(1, 0, 1, tuple((index, 1) for index in indexes))


def indexes(keys: tuple[m.TaskKey, ...]) -> set[int]:
    return {key.index for key in keys}


def test_unacknowledged_results_are_sent_again_and_acknowledged_ones_are_not(coordinator, worker):
    worker()
    coordinator.welcome()
    coordinator.plan(Empty(10))
    coordinator.send(assign(0, 1, 2))
    coordinator.results(3)
    coordinator.send(m.Ack(100))  # all that came so far
    coordinator.send(assign(3, 4))
    coordinator.results(2)
    coordinator.send(m.Reregister())
    hello = coordinator.welcome()
    assert indexes(hello.running) == {3, 4}
    assert sorted(coordinator.results(2)) == [3, 4]
    coordinator.silent(0.3)


def test_a_new_incarnation_has_a_new_identity_and_names_what_it_runs(coordinator, worker):
    worker()
    coordinator.welcome()
    coordinator.plan(Letters(["abc"] * 4, sleep=0.4))
    coordinator.send(m.Ack(100))
    coordinator.send(assign(0, 1, 2))
    time.sleep(0.2)
    before = coordinator.peer
    coordinator.send(m.Reregister())
    hello = coordinator.welcome()
    assert coordinator.peer != before
    assert indexes(hello.running) == {0, 1, 2}
    assert sorted(coordinator.results(3)) == [0, 1, 2]


def test_what_ends_first_is_named_first(coordinator, worker):
    """A coordinator that was started again calls back the last ones for idle workers: these must not be running."""
    worker(slots=2)
    coordinator.welcome()
    coordinator.plan(Letters(["abc"] * 8, sleep=1.0))
    coordinator.send(m.Ack(100))
    coordinator.send(assign(*range(8)))
    assert set(coordinator.results(2)) == {0, 1}  # which stay unacknowledged
    time.sleep(0.1)
    coordinator.send(m.Reregister())
    named = [key.index for key in coordinator.welcome().running]
    assert [set(named[:2]), set(named[2:4]), set(named[4:])] == [{0, 1}, {2, 3}, {4, 5, 6, 7}]


def test_a_coordinator_that_died_finds_its_worker_and_the_results_again(coordinator, worker, tmp_path):
    worker()
    coordinator.welcome()
    coordinator.plan(Letters(["abc"] * 4, sleep=0.3))
    coordinator.send(m.Ack(100))
    coordinator.send(assign(0, 1))
    time.sleep(0.1)
    coordinator.close()
    time.sleep(1.0)  # both tasks are done in this time
    again = Coordinator(coordinator.endpoint)
    try:
        assert again.socket.poll(20_000), "the worker does not come back"
        again.peer, *_ = again.socket.recv_multipart()
        again.send(m.Reregister())
        while not isinstance(hello := again.receive((m.Results, m.Hello)), m.Hello):
            pass  # what was on its way to the one that died
        again.send(m.Welcome(0.2, 30.0, "again"))
        assert indexes(hello.running) == {0, 1}
        assert sorted(again.results(2)) == [0, 1]
    finally:
        again.close()


def test_a_silent_coordinator_is_greeted_anew(coordinator, worker):
    worker()
    coordinator.welcome(heartbeat=0.1, lease=0.5)
    first = coordinator.peer
    coordinator.receive(m.Hello)
    assert coordinator.peer != first


def test_a_hello_without_an_answer_is_repeated(coordinator, worker):
    worker()
    coordinator.receive(m.Hello)
    coordinator.receive(m.Hello)


def test_a_refused_worker_says_why_and_ends(coordinator, worker, capfd):
    process = worker()
    coordinator.receive(m.Hello)
    coordinator.send(m.Refused("protocol 1 is not protocol 2"))
    assert process.wait(10) == 6
    assert "protocol 1 is not protocol 2" in capfd.readouterr().err


def test_draining_finishes_what_is_held(coordinator, worker):
    process = worker()
    coordinator.welcome()
    coordinator.plan(Letters(["abc"] * 6, sleep=0.1))
    coordinator.send(assign(0, 1, 2, 3))
    time.sleep(0.15)
    process.send_signal(signal.SIGTERM)
    seen: list[object] = []
    while not isinstance(seen[-1] if seen else None, m.Bye):
        seen.append(coordinator.receive((m.Draining, m.Results, m.Bye)))
        coordinator.send(m.Ack(100))
    done = [item.index for message in seen if isinstance(message, m.Results) for item in message.done]
    assert any(isinstance(message, m.Draining) for message in seen)
    assert sorted(done) == [0, 1, 2, 3]
    assert process.wait(10) == 0


def test_a_second_signal_ends_at_once(coordinator, worker):
    process = worker()
    coordinator.welcome()
    coordinator.plan(Letters(["abc"] * 2, sleep=60.0))
    coordinator.send(assign(0))
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    coordinator.receive(m.Draining)
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0


def test_released_units_go_from_the_data_directory(coordinator, worker, tmp_path):
    worker()
    coordinator.welcome()
    coordinator.plan(Letters(["abc", "de"]))
    coordinator.send(assign(0, 1))
    coordinator.results(2)
    unit = tmp_path / "data" / "blobs" / "1" / "0"
    assert len(list((unit / "1").iterdir())) == 2
    (unit / "0").mkdir(exist_ok=True)
    coordinator.send(m.Release(1, ((0, 1),)))
    wait_until(lambda: not (unit / "1").exists())
    assert (unit / "0").exists()
    coordinator.send(m.Release(1))
    wait_until(lambda: not unit.parent.exists())


def wait_until(true, timeout: float = 5.0) -> None:
    end = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.01)
