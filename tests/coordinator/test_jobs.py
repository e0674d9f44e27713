"""Jobs through the coordinator: what workers get, what clients are told. Real sockets, workers that run nothing."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest

from mapreduce.client import Client
from mapreduce.errors import JobCancelled, JobFailed, Overloaded, Refused, TimedOut, UnknownJob, UnknownJobType
from mapreduce.scheduler.settings import Settings
from mapreduce.wire import messages as m
from tests.coordinator.fakes import Fake, blob
from tests.coordinator.running import QUICK, Working, coordinator

MAP, REDUCE = 1, 2


def test_a_job_of_two_stages_runs_to_its_end() -> None:
    with coordinator() as c, Client(c.endpoint, owner="me") as client:
        fake = Fake(c.endpoint, maps=50, reduces=3, stages=2, node="n")
        with Working(fake):
            job = client.submit("fake", b"params", seed=7, priority=2)
            update = client.wait(job, timeout=30)
        assert (update.state, update.type, update.stage, update.progress) == ("done", "fake", 2, 1.0)
        assert update.counters == {"tasks": 2 * 53} and update.retries == 0
        assert [ref.node for ref in update.outputs if ref is not None] == ["n"] * 3 and update.nodes == (fake.node,)
        assert Counter(key[2] for key in fake.ran) == {0: 3, MAP: 100, REDUCE: 6, 3: 1}
        assert len(set(fake.ran)) == len(fake.ran)


def test_a_worker_is_told_of_a_stage_once_and_before_its_first_task() -> None:
    with coordinator() as c, Client(c.endpoint) as client:
        fakes = [Fake(c.endpoint, maps=200, stages=3, slots=2) for _ in range(2)]
        with Working(*fakes):  # a Fake fails when a task comes before its StageInfo
            client.wait(client.submit("fake", b"params", seed=3), timeout=30)
        for fake in fakes:
            infos = [message for message in fake.seen if isinstance(message, m.StageInfo) and message.maps]
            assert len(infos) == len({info.stage for info in infos}) > 0
            assert {(i.type, i.params, i.seed, i.setup, i.maps) for i in infos} == {
                ("fake", b"params", 3, b"setup", 200)
            }


def test_reduces_read_their_segments_in_map_order() -> None:
    class Recorder(Fake):
        inputs: list[m.Assign] = []

        def do(self, a: m.Assign, tasks: list[tuple[int, int]]) -> None:
            if a.kind == REDUCE and tasks:
                self.inputs.append(a)
            super().do(a, tasks)

    with coordinator() as c, Client(c.endpoint) as client:
        fakes = [Recorder(c.endpoint, maps=40, reduces=3, node=f"n{i}") for i in range(3)]
        with Working(*fakes):
            job = client.submit("fake", b"")
            client.wait(job, timeout=30)
    parts = [part for a in Recorder.inputs for part in a.inputs]
    assert sorted(part.index for part in parts) == [0, 1, 2]
    for part in parts:
        assert [segment[0] for segment in part.segments] == list(range(40))
        assert all(segment[1].hash == blob(job, 0, MAP, segment[0]) for segment in part.segments)
        assert all((segment[1].stage, segment[1].kind) == (0, MAP) for segment in part.segments)
        assert {(segment[2], segment[3]) for segment in part.segments} == {(10 * part.index, 10)}
    for a in Recorder.inputs:
        assert {node.name for node in a.nodes} == {s[1].node for part in a.inputs for s in part.segments}


def test_the_result_does_not_depend_on_the_number_of_workers() -> None:
    values = set()
    for count in (1, 3):
        with coordinator() as c, Client(c.endpoint) as client:
            with Working(*(Fake(c.endpoint, maps=64, reduces=4, stages=2) for _ in range(count))):
                values.add(client.wait(client.submit("fake", b""), timeout=30).value)
    assert len(values) == 1


def test_a_token_names_one_job_however_often_it_is_sent() -> None:
    with coordinator() as c, Client(c.endpoint) as client:
        jobs = {client.submit("fake", b"x", token="mine") for _ in range(3)}
        assert len(jobs) == 1 and client.submit("fake", b"x") not in jobs
        with pytest.raises(Refused, match="other parameters"):
            client.submit("fake", b"y", token="mine")


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"weight": 0.0}, "weight"),
        ({"weight": float("nan")}, "weight"),
        ({"priority": 10**9}, "priority"),
        ({"attempts": 0}, "attempts"),
        ({"task_seconds": -1.0}, "task_seconds"),
        ({"task_seconds": float("inf")}, "task_seconds"),
    ],
)
def test_a_submission_out_of_range_is_refused(wrong: dict[str, float], why: str) -> None:
    with coordinator() as c, Client(c.endpoint) as client, pytest.raises(Refused, match=why):
        client.submit("fake", b"", **wrong)  # type: ignore[arg-type]


def test_a_type_that_no_worker_ever_offered_is_refused_with_those_there_are() -> None:
    with coordinator() as c, Client(c.endpoint) as client:
        fake = Fake(c.endpoint)
        fake.run(lambda: fake.welcome is not None)
        with pytest.raises(UnknownJobType, match="'wordcuont'; there are fake"):
            client.submit("wordcuont", b"")
        fake.close()
        assert client.submit("fake", b"") > 0  # its workers may be back


def test_more_jobs_than_are_admitted() -> None:
    with coordinator(settings=Settings(max_jobs=2, retry_after=7.0)) as c, Client(c.endpoint) as client:
        client.submit("fake", b""), client.submit("fake", b"")
        with pytest.raises(Overloaded, match="retry in 7 s") as caught:
            client.submit("fake", b"")
        assert caught.value.retry_after == 7.0


def test_cancelling_stops_the_tasks_and_ends_the_wait() -> None:
    with coordinator() as c, Client(c.endpoint) as client:
        fake = Fake(c.endpoint, maps=5, hold=lambda key: key[2] == MAP)
        with Working(fake):
            job = client.submit("fake", b"")
            for update in client.watch(job):
                if update.running and update.state == "mapping":
                    assert client.cancel(job, "enough").state == "cancelled"
            with pytest.raises(JobCancelled, match="enough"):
                client.wait(job)
            assert client.cancel(job).state == "cancelled"  # again does no harm
            while fake.kept or not fake.released:
                time.sleep(0.01)
        assert fake.released[-1] == m.Release(job)


def test_a_failed_job_carries_the_error_of_its_last_attempt() -> None:
    class Failing(Fake):
        def do(self, a: m.Assign, tasks: list[tuple[int, int]]) -> None:
            if a.kind != MAP:
                return super().do(a, tasks)
            for task in tasks:
                key = m.TaskKey(a.job, a.stage, a.kind, *task)
                error = m.Error(
                    "exception", "ValueError", "no such colour", "File x.py, line 3", input="split 3", log="hm"
                )
                self.answer(m.Failed(key, error), (key,))

    with coordinator() as c, Client(c.endpoint) as client, Working(Failing(c.endpoint, maps=1, name="w")):
        job = client.submit("fake", b"", attempts=2)
        with pytest.raises(JobFailed, match=r"ValueError: no such colour[\s\S]*x.py[\s\S]*split 3[\s\S]*hm") as caught:
            client.wait(job, timeout=30)
        assert caught.value.error.worker == "w" and caught.value.job == job
        assert "no such colour" in client.explain(job)[0]


def test_what_people_ask() -> None:
    with coordinator() as c, Client(c.endpoint, owner="me") as client:
        assert client.jobs() == () and client.workers() == ()
        fake = Fake(c.endpoint, maps=3, slots=4, name="w1", hold=lambda key: key[2] == MAP)
        with Working(fake):
            job = client.submit("fake", b"")
            while not (workers := client.workers()) or workers[0].running < 3:
                time.sleep(0.01)
            worker = workers[0]
            assert (worker.worker, worker.slots, worker.running, worker.state) == ("w1", 4, 3, "busy")
            assert worker.plugins == {"fake": "1"}
            (listed,) = client.jobs()
            assert (listed.job, listed.state, listed.owner, listed.maps, listed.value) == (job, "mapping", "me", 3, b"")
            assert client.update(job).running == 3
            assert any("3 running" in line for line in client.explain(job))
            pong = client.ping()
            assert (pong.jobs, pong.workers) == (1, 1) and pong.memory > 1e6
        newer = client.submit("fake", b"")
        assert [update.job for update in client.jobs()] == [newer, job] and len(client.jobs(limit=1)) == 1
        for ask in (client.explain, client.update, client.cancel, client.wait):
            with pytest.raises(UnknownJob, match="no job 99"):
                ask(99)


def test_waiting_has_an_end() -> None:
    with coordinator() as c, Client(c.endpoint) as client:
        job = client.submit("fake", b"")
        with pytest.raises(TimedOut, match="still planning"):
            client.wait(job, timeout=0.05)
        assert client.update(job).state == "planning"


def test_many_clients_watch_one_job() -> None:
    with coordinator() as c, Client(c.endpoint) as client:
        job = client.submit("fake", b"")
        ends: list[m.Update] = []

        def watch() -> None:
            with Client(c.endpoint) as other:
                ends.append(other.wait(job, timeout=30))

        threads = [threading.Thread(target=watch, daemon=True) for _ in range(8)]
        for thread in threads:
            thread.start()
        with Working(Fake(c.endpoint)):
            for thread in threads:
                thread.join()
        assert len(ends) == 8 and len({end.value for end in ends}) == 1


def test_progress_of_running_tasks_reaches_watchers() -> None:
    class Telling(Fake):
        def turn(self, seconds: float = 0.02) -> None:
            super().turn(seconds)
            if self.kept:
                a, task = self.kept[0]
                key = m.TaskKey(a.job, a.stage, a.kind, *task)
                self.say(
                    m.Beat(
                        tuple([m.TaskKey(a.job, a.stage, a.kind, *t) for a, t in self.kept]),
                        (m.Progress(key, 1, 4, "hm"),),
                    )
                )

    with (
        coordinator() as c,
        Client(c.endpoint) as client,
        Working(Telling(c.endpoint, maps=1, reduces=1, hold=lambda k: k[2] == MAP)),
    ):
        for update in client.watch(client.submit("fake", b"")):
            if update.progress:
                assert (update.progress, update.note) == (0.125, "hm")  # a quarter of one of two tasks
                break


def test_settings_reach_the_worker() -> None:
    with coordinator(settings=Settings(heartbeat=0.3, lease=4.0)) as c:
        fake = Fake(c.endpoint)
        fake.run(lambda: fake.welcome is not None)
        assert fake.welcome is not None and (fake.welcome.heartbeat, fake.welcome.lease) == (0.3, 4.0)
        fake.close()


assert QUICK.lease > 500
