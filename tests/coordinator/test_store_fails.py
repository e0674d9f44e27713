"""A store that cannot be written: nothing is promised, nothing acknowledged is lost, and it goes on when it can be
written again."""

from __future__ import annotations

import errno
import itertools
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mapreduce.boot import boot_id
from mapreduce.client import Client
from mapreduce.coordination import journal as module
from mapreduce.coordination import loop, promises
from mapreduce.coordination.journal import Journal
from mapreduce.errors import JobCancelled, Overloaded, StoreError
from mapreduce.scheduler.core import Scheduler
from mapreduce.scheduler.journal import Admitted, Forgotten, Lost, Mark, Trimmed
from mapreduce.scheduler.model import JobSpec
from mapreduce.scheduler.settings import Settings
from mapreduce.store import open_store
from mapreduce.store.memory import MemoryStore
from tests.coordinator.fakes import Fake
from tests.coordinator.running import Process, Working, coordinator
from tests.store.faultydisk import Disk, library

PLAN, MAP = 0, 1


class Failing(MemoryStore):
    """A store whose commits fail while `full`."""

    full = False
    commits = 0

    def commit(self, sync: bool = True) -> None:
        if self.full:
            raise StoreError("the disk is full, make room")
        self.commits += 1
        super().commit(sync)


def test_submissions_are_refused_with_the_reason_and_accepted_again_afterwards() -> None:
    store = Failing()
    with coordinator(store) as c, Client(c.endpoint) as client:
        client.ping()
        store.full = True
        for _ in range(3):
            with pytest.raises(Overloaded, match=r"cannot write its store: the disk is full, make room") as caught:
                client.submit("fake", b"")
            assert caught.value.retry_after > 0
        with pytest.raises(Overloaded, match="disk is full"):
            client.jobs()
        assert client.ping().workers == 0
        store.full = False
        with Working(Fake(c.endpoint)):
            while True:
                try:
                    job = client.submit("fake", b"")
                    break
                except Overloaded:
                    time.sleep(0.1)
            assert client.wait(job, timeout=30).state == "done"
        refused = [update for update in client.jobs() if update.job != job]
        assert [update.state for update in refused] == ["cancelled"]  # the one that met the first failing commit
        with pytest.raises(JobCancelled, match="refused, since the coordinator could not write"):
            client.wait(refused[0].job)


def test_an_acknowledged_job_waits_and_is_finished_when_there_is_room() -> None:
    store = Failing()
    with coordinator(store) as c, Client(c.endpoint) as client:
        fake = Fake(c.endpoint, maps=20, slots=2, hold=lambda key: key[2] == MAP)
        job = client.submit("fake", b"")
        fake.run(lambda: len(fake.kept) == 2)
        store.full = True
        fake.hold = lambda key: False
        fake.let_go()
        for _ in range(50):
            fake.turn()
        assert {key[2] for key in fake.ran} == {PLAN, MAP}  # no reduce was handed out, which depends on the results
        assert fake._unacked  # nor were those results acknowledged
        assert any("cannot be written: the disk is full" in line for line in client.explain(job))
        store.full = False
        with Working(fake):
            update = client.wait(job, timeout=30)
        assert update.retries == 0 and len(fake.ran) == len(set(fake.ran))


def test_the_end_of_a_job_is_told_only_when_it_is_safe() -> None:
    store = Failing()
    with coordinator(store) as c, Client(c.endpoint) as client:
        fake = Fake(c.endpoint, maps=1, hold=lambda key: key[2] == 3)
        job = client.submit("fake", b"")
        fake.run(lambda: bool(fake.kept))
        seen = []
        for update in client.watch(job):
            seen.append(update.state)
            if update.state == "finishing" and not store.full:
                store.full = True
                fake.hold = lambda key: False
                fake.let_go()
                deadline = time.monotonic() + 1.5
                while time.monotonic() < deadline:
                    fake.turn()
                assert "ended" not in repr(store.lrange(f"job:{job}:log"))
                store.full = False
        assert seen[-1] == "done" and "ended" in repr(store.lrange(f"job:{job}:log"))
        fake.close()


@contextmanager
def little_room(pid: int, size: int) -> Iterator[None]:
    """While this lasts the process cannot let files grow beyond `size` bytes: SQLite sees failed writes, as on a full
    disk."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def test_a_process_whose_disk_is_full_stays_up_and_goes_on(tmp_path: Path) -> None:
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # inherited: a failed write, not a signal
    try:
        process = Process(f"sqlite://{tmp_path}/state.db", tmp_path)
    finally:
        signal.signal(signal.SIGXFSZ, handler)
    with Client(process.endpoint) as client:
        kept = client.submit("fake", b"")
        with little_room(process.process.pid, 4096):
            with pytest.raises(Overloaded, match="store"):
                client.submit("fake", b"x" * 100_000)
            with pytest.raises(Overloaded, match="store"):
                client.submit("fake", b"")
            assert client.ping().jobs >= 1
        with Working(Fake(process.endpoint)):
            assert client.wait(kept, timeout=30).state == "done"
        assert process.process.poll() is None
    process.close()
    store = open_store(f"sqlite://{tmp_path}/state.db")
    assert "done" in repr(store.lrange(f"job:{kept}:log"))
    store.close()


@pytest.mark.parametrize("error", [errno.EROFS, errno.EIO, errno.ENOSPC], ids=lambda error: errno.errorcode[error])
def test_a_disk_that_fails_while_it_runs_is_lived_through(tmp_path: Path, error: int) -> None:
    """Every write fails from some moment on, as when a file system becomes read-only, until it is mended."""
    made = library(tmp_path)
    if made is None:
        pytest.skip("there is no C compiler, which the failing disk needs")
    disk = Disk(tmp_path, made)
    (tmp_path / "store").mkdir()
    process = Process(f"sqlite://{tmp_path}/store/state.db", tmp_path, "heartbeat=0.2", env=disk.environment)
    with Client(process.endpoint) as client:
        fake = Fake(process.endpoint, maps=4, hold=lambda key: key[2] == MAP)
        kept = client.submit("fake", b"")
        fake.run(lambda: bool(fake.kept))
        disk.order(error=error)
        with pytest.raises(Overloaded, match="cannot write its store") as caught:
            client.submit("fake", b"")
        assert caught.value.retry_after > 0
        fake.let_go()
        for _ in range(40):
            fake.turn()
        assert fake._unacked, "a result was acknowledged that is kept nowhere"
        assert any("cannot be written" in line for line in client.explain(kept))
        disk.order()
        fake.hold = lambda key: False
        with Working(fake):
            assert client.wait(kept, timeout=30).retries == 0
        assert process.process.poll() is None and len(fake.ran) == len(set(fake.ran))
    process.close()


def test_a_wall_clock_that_jumps_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day forth, a day back, between any two looks at it: no lease ends, no job's time is off."""
    jumps = itertools.cycle((0.0, 86_400.0, -86_400.0, 1e9, -1e9))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    settings = Settings(heartbeat=0.05, lease=2.0, node_grace=2.0, speculate=False)
    with coordinator(Failing(), settings) as c, Client(c.endpoint) as client:
        fake = Fake(c.endpoint, maps=300)
        with Working(fake):
            ends = [client.wait(client.submit("fake", b""), timeout=30) for _ in range(3)]
        assert all(end.retries == 0 and 0 <= end.elapsed < 30 for end in ends)
        assert len(fake.ran) == len(set(fake.ran)) and not [m for m in fake.seen if type(m).__name__ == "Reregister"]


def test_a_store_that_cannot_be_read_refuses_the_start() -> None:
    store = MemoryStore()
    store.set("format", b"99")
    store.commit()
    with pytest.raises(StoreError, match="layout b'99'"), coordinator(store):
        pass
    store.set("format", b"1")
    store.set("job:1", b"\x93\xa4what\x01\x02")
    store.commit()
    with pytest.raises(StoreError, match="cannot read"), coordinator(store):
        pass


def test_the_journal_keeps_only_what_matters() -> None:
    store = MemoryStore()
    journal = Journal(store)
    spec = JobSpec(1, "t", b"p")
    lost = [Lost(1, 0, (index,), ()) for index in range(5)]
    journal.append(Mark(1, 2))
    journal.append(Admitted(1, spec, "token", 5.0))
    journal.append(lost[0])
    journal.commit()
    journal.append(lost[1])
    journal.append(lost[2])
    journal.append(Mark(2, 3))
    journal.commit()
    assert store.llen("job:1:log") == 2  # one item a commit
    assert list(Journal(store).read()) == [Mark(2, 3), Admitted(1, spec, "token", 5.0), *lost[:3]]
    journal.append(lost[3])
    journal.append(Trimmed(1))
    journal.append(lost[4])
    journal.commit()
    assert list(Journal(store).read()) == [Mark(2, 3), Admitted(1, spec, "token", 5.0), lost[4]]
    journal.append(Forgotten(1))
    journal.commit()
    assert list(Journal(store).read()) == [Mark(2, 3)]


class Recording(MemoryStore):
    """A store that remembers which of its commits were synced ones."""

    syncs = True

    def __init__(self) -> None:
        super().__init__()
        self.synced: list[bool] = []

    def commit(self, sync: bool = True) -> None:
        if self.pending:
            self.synced.append(sync)
        super().commit(sync)


def test_only_what_is_told_to_someone_waits_for_the_disk() -> None:
    """A job of many rounds: an fsync for its acceptance, one for its end, at most one a second for its deletions."""
    store = Recording()
    with coordinator(store) as c, Client(c.endpoint) as client:
        fake = Fake(c.endpoint, maps=5, stages=20)
        with Working(fake):
            client.wait(client.submit("fake", b""), timeout=30)
        fake.run(lambda: any(release.units for release in fake.released), 10)  # the word may be due after the end
        assert sum(store.synced) < 10 < 60 < len(store.synced)


def test_blobs_are_deleted_though_nothing_else_asks_for_an_fsync() -> None:
    store = Recording()
    with coordinator(store) as c, Client(c.endpoint) as client:
        fake = Fake(c.endpoint, maps=5, stages=2, hold=lambda key: key[:3] == (1, 1, MAP))
        client.submit("fake", b"")
        fake.run(lambda: bool(fake.released))
        assert fake.kept and (0, MAP) in fake.released[0].units
        assert store.synced[-1] or store.synced[-2]
        fake.close()


@pytest.mark.parametrize("store", [Recording(), MemoryStore()], ids=["synced", "forgetful"])
def test_blobs_go_at_once_where_no_power_cut_is_to_be_survived(
    monkeypatch: pytest.MonkeyPatch, store: MemoryStore
) -> None:
    """A round then overwrites the files of the one before it."""
    monkeypatch.setattr(promises, "RELEASE", 1e6)
    with coordinator(store) as c, Client(c.endpoint) as client:
        fake = Fake(c.endpoint, maps=5, stages=2, hold=lambda key: key[:3] == (1, 1, MAP))
        client.submit("fake", b"")
        fake.run(lambda: bool(fake.kept))
        end = time.monotonic() + 10 * promises.PAUSE
        fake.run(lambda: bool(fake.released) or time.monotonic() > end)
        gone = {unit for release in fake.released for unit in release.units}
        assert ((0, MAP) in gone) != store.syncs
        fake.close()


def test_what_may_go_is_told_now_and_then_not_once_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promises, "PAUSE", 1e6)
    with coordinator(MemoryStore()) as c, Client(c.endpoint) as client:
        fake = Fake(c.endpoint, maps=5, stages=20)
        with Working(fake):
            client.wait(client.submit("fake", b""), timeout=30)
        assert not fake.released, "the worker was told what to keep when it joined; no other word was due"


def test_what_waits_to_be_told_does_not_wait_for_something_else_to_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promises, "PAUSE", 0.1)
    monkeypatch.setattr(loop, "TICK", 1e6)
    calm = Settings(heartbeat=60.0, lease=600.0)
    with coordinator(MemoryStore(), calm) as c, Client(c.endpoint) as client:
        fake = Fake(c.endpoint, maps=5, stages=3, hold=lambda key: key[:3] == (1, 2, MAP))
        client.submit("fake", b"")
        fake.run(lambda: len(fake.released) > 1, 10)
        assert {unit for release in fake.released for unit in release.units} >= {(0, MAP), (1, MAP)}
        fake.close()


def test_how_long_a_job_lasted_counts_the_time_away_only_by_a_clock_that_ran_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = MemoryStore()
    journal = Journal(store, lambda job: 7.0)
    journal.append(Admitted(1, JobSpec(1, "t", b"p"), "token", 5.0))
    journal.append(Lost(1, 0, (), ()))
    monkeypatch.setattr(time, "monotonic", lambda: 1_000.0)
    journal.commit()
    for now, boot, seconds in ((1_050.0, boot_id(), 57.0), (1_050.0, "another", 7.0), (3.0, boot_id(), 7.0)):
        monkeypatch.setattr(time, "monotonic", lambda now=now: now)
        monkeypatch.setattr(module, "boot_id", lambda boot=boot: boot)
        scheduler = Scheduler()
        records = [record for record in Journal(store).read() if not isinstance(record, Lost)]
        scheduler.restore(records, now)
        assert scheduler.jobs()[0].elapsed == seconds
