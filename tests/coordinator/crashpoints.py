"""Die at every fail point, and again while recovering: a small day in the life of a coordinator, replayed once for
each of them.

The day: three clients and two workers. One client submits a job of two stages and one that it cancels, the other a job
and one whose submission it sends exactly once, whatever becomes of it; the third asks what is known, once of each
coordinator. The workers are scripted (fakes.py), the coordinator is a process on a SQLite file (forked.py). Whenever
it is dead it is started again.

What must hold at the end of every day:
- a job that was acknowledged is done, with the value that its parameters determine, or cancelled, if that was told;
- an end that was told stays, as it was told;
- a token has one job, and there is no job without a token: what was not acknowledged is there whole or not at all;
- no task was run twice: what the coordinator had not committed its workers still hold;
- the store, read by itself, replays to a scheduler whose invariants hold.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq
from xxhash import xxh3_128_digest

from mapreduce import __version__
from mapreduce.coordination.journal import Journal
from mapreduce.scheduler import invariants
from mapreduce.scheduler.core import Scheduler
from mapreduce.store import open_store
from mapreduce.wire import messages as m
from mapreduce.wire import sockets
from mapreduce.wire.typed import at_client, encode
from tests.coordinator.fakes import Fake
from tests.coordinator.forked import Forked

MAPS, REDUCES, STAGES = 3, 2, 2
PATIENCE = 30.0
Script = Generator[tuple[m.Message, Callable[[Any], bool]], Any, None]


class Worker(Fake):
    """A fake whose results depend on the job's parameters alone, and not on its number."""

    def do(self, a: m.Assign, tasks: list[tuple[int, int]]) -> None:
        if a.kind not in (1, 2):
            super().do(a, tasks)
            return
        keys = tuple([m.TaskKey(a.job, a.stage, a.kind, *task) for task in tasks])
        self.ran.extend([(a.job, a.stage, a.kind, index) for index, _ in tasks])
        params = self.infos[a.job, a.stage].params
        sizes = (10,) * self.reduces if a.kind == 1 else ()
        parts = {part.index: b"".join(s[1].hash for s in part.segments) for part in a.inputs}
        hashes = [made(params, a.stage, i) if a.kind == 1 else xxh3_128_digest(parts[i]) for i, _ in tasks]
        done = [m.Done(*task, hash, sum(sizes) or 10, sizes, {"tasks": 1}) for task, hash in zip(tasks, hashes)]
        self.answer(m.Results(a.job, a.stage, a.kind, tuple(done)), keys)


def made(params: bytes, stage: int, index: int) -> bytes:
    """The hash of what a map leaves behind."""
    return xxh3_128_digest(repr((params, stage, index)).encode())


def value(params: bytes) -> bytes:
    """What a job ends with."""
    reduced = xxh3_128_digest(b"".join(made(params, STAGES - 1, index) for index in range(MAPS)))
    return repr([reduced.hex()] * REDUCES).encode()


@dataclass
class Told:
    """What clients were promised: token -> job, job -> how it ended. `before`: the latter at the last start."""

    accepted: dict[str, int] = field(default_factory=dict)
    ended: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    before: dict[int, tuple[str, bytes]] = field(default_factory=dict)


class Caller:
    """A client that follows a script: each step is a request and what answers it. It asks again when the coordinator
    does not know it or was started anew."""

    def __init__(self, endpoint: str, script: Callable[[Told], Script], told: Told):
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._endpoint, self._told = endpoint, told
        self._socket: zmq.Socket[bytes] | None = None
        self._script = script(told)
        self._request, self._answers = next(self._script)
        self.lives = 0
        self.over = False
        self.connect()

    def connect(self) -> None:
        """Upon each start of the coordinator."""
        if self._socket is not None:
            self._socket.close(0)
        self.lives += 1
        self._socket = sockets.dealer(self._context, self._endpoint)
        self._ask()

    def _ask(self) -> None:
        assert self._socket is not None
        sockets.send(self._socket, encode(m.ClientHello(m.PROTOCOL, __version__)))
        if not self.over and not (self.lives > 1 and getattr(self._request, "token", "") == "once"):
            sockets.send(self._socket, encode(self._request))
        elif not self.over:
            self._step(None)

    def turn(self) -> int:
        """Take what has come; returns how much that was."""
        assert self._socket is not None
        heard = 0
        while (frames := sockets.receive(self._socket)) is not None:
            heard += 1
            message = at_client(frames[0])
            if isinstance(message, m.Accepted):
                before = self._told.accepted.setdefault(message.token, message.job)
                assert before == message.job, f"{message.token} was job {before} and is job {message.job}"
            elif isinstance(message, m.Update) and message.state in ("done", "failed", "cancelled"):
                end = (message.state, message.value)
                before_end = self._told.ended.setdefault(message.job, end)
                assert before_end == end, f"job {message.job} had ended {before_end} and now {end}"
            elif isinstance(message, m.Refused | m.Rejected):
                raise AssertionError(f"refused: {message}")
            elif isinstance(message, m.Reregister):
                self._ask()
            if not self.over and self._answers(message):
                self._step(message)
        return heard

    def _step(self, answer: Any) -> None:
        assert self._socket is not None
        try:
            self._request, self._answers = self._script.send(answer)
            sockets.send(self._socket, encode(self._request))
        except StopIteration:
            self.over = True

    def close(self) -> None:
        assert self._socket is not None
        self._socket.close(0)
        self._context.term()


def submit(token: str, version: str = "1") -> tuple[m.Message, Callable[[Any], bool]]:
    request = m.Submit(token=token, type="fake", params=token.encode(), version=version)
    return request, lambda answer: isinstance(answer, m.Accepted) and answer.token == token


def end(job: int, request: m.Message | None = None) -> tuple[m.Message, Callable[[Any], bool]]:
    def ended(answer: Any) -> bool:
        return isinstance(answer, m.Update) and answer.job == job and answer.state in ("done", "failed", "cancelled")

    return request or m.Watch(job), ended


def first(told: Told) -> Script:
    job = (yield submit("long")).job
    doomed = (yield submit("doomed", version="of nobody")).job
    yield end(doomed, m.Cancel(doomed, "not needed"))
    yield end(job)


def second(told: Told) -> Script:
    job = (yield submit("short")).job
    once = yield submit("once")
    yield end(job)
    if once is not None:
        yield end(once.job)
    yield m.ListJobs(), lambda answer: isinstance(answer, m.Jobs)


def third(told: Told) -> Script:
    """Asks each coordinator once, as soon as it listens, what it knows of what others were told before it started."""

    def remembered(answer: Any) -> bool:
        if isinstance(answer, m.Jobs):
            states = {job.job: job.state for job in answer.jobs}
            for job, (state, _) in told.before.items():
                assert states.get(job) == state, f"job {job} was told to be {state}, and is {states.get(job)}"
        return False

    yield m.ListJobs(), remembered


class Day:
    """One run of the day. `deaths` are the fail points of the first, second, ... coordinator; those after live on."""

    def __init__(self, coordinators: Forked, folder: Path, deaths: tuple[str, ...] = (), points: Path | str = ""):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self.store = f"sqlite://{folder}/state.db"
        self._coordinators, self._deaths, self._points = coordinators, deaths, points
        self.told = Told()
        self.died = 0

    def run(self) -> int:
        """Live it, and look at what is left; returns how many coordinators died."""
        coordinators = self._coordinators
        coordinators.start(self.store, *self._deaths[:1], points=self._points)
        workers = [Worker(coordinators.endpoint, maps=MAPS, reduces=REDUCES, stages=STAGES, name=f"w{n}") for n in "12"]
        callers = [Caller(coordinators.endpoint, script, self.told) for script in (first, second, third)]
        try:
            self._until(
                lambda: all(c.over for c in callers[:2]) and not any(w._unacked for w in workers), workers, callers
            )
            listed = self._list(workers)
        finally:
            for peer in (*workers, *callers):
                peer.close()
            coordinators.kill()
        self._judge(listed, workers)
        return self.died

    def _until(self, true: Callable[[], bool], workers: list[Worker], callers: list[Caller]) -> None:
        limit = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < limit, f"it goes on for ever: {[c._request for c in callers if not c.over]}"
            status = self._coordinators.poll()
            if status is not None:
                self.died += 1
                at = self._deaths[self.died] if self.died < len(self._deaths) else ""
                self._coordinators.start(self.store, at, "" if self.died > 1 else self._points)
                self.told.before = dict(self.told.ended)
                for caller in callers:
                    caller.connect()
                for worker in workers:  # one that was never welcomed would say hello again only after two seconds
                    if worker.welcome is None:
                        worker.connect()
            for worker in workers:
                worker.turn(0.0005)
            heard = 0
            for caller in callers:
                heard += caller.turn()
            if not heard and not any(worker.socket.poll(0) for worker in workers):
                self._coordinators.wait(0.001)

    def _list(self, workers: list[Worker]) -> dict[int, m.Update]:
        """All jobs, with their values, told by the last coordinator."""
        jobs: dict[int, m.Update] = {}

        def ask(told: Told) -> Script:
            for brief in (yield m.ListJobs(), lambda answer: isinstance(answer, m.Jobs)).jobs:
                jobs[brief.job] = yield end(brief.job)

        caller = Caller(self._coordinators.endpoint, ask, self.told)
        try:
            self._until(lambda: caller.over, workers, [caller])
        finally:
            caller.close()
        return jobs

    def _judge(self, jobs: dict[int, m.Update], workers: list[Worker]) -> None:
        tokens = {"long", "short", "doomed"} | ({"once"} & set(self.told.accepted))
        assert tokens == set(self.told.accepted), f"accepted were {self.told.accepted}"
        assert len(set(self.told.accepted.values())) == len(tokens), f"two tokens have one job: {self.told.accepted}"
        extra = set(jobs) - set(self.told.accepted.values())
        assert not set(self.told.accepted.values()) - set(jobs), "an acknowledged job is gone"
        assert len(extra) <= (0 if "once" in tokens else 1), f"jobs {extra} are nobody's"
        names = {job: token for token, job in self.told.accepted.items()} | dict.fromkeys(extra, "once")
        for number, job in jobs.items():
            name = names[number]
            expected = ("cancelled", b"") if name == "doomed" else ("done", value(name.encode()))
            assert (job.state, job.value) == expected, f"job {number} ({name}) ended {job.state}, {job.value!r}"
            if name != "doomed":
                assert job.counters == {"tasks": STAGES * (MAPS + REDUCES)}
        ran = [key for worker in workers for key in worker.ran]
        assert len(ran) == len(set(ran)), f"ran twice: {sorted({key for key in ran if ran.count(key) > 1})}"
        store = open_store(self.store)
        try:
            scheduler = Scheduler()
            scheduler.restore(Journal(store).read(), 0.0)
            invariants.check(scheduler.state)
            assert set(scheduler.state.ended) == set(jobs) and scheduler.state.tokens.keys() <= tokens | {"once"}
        finally:
            store.close()


def points(coordinators: Forked, folder: Path) -> list[str]:
    """The fail points that every calm day passes, in order. (How often progress is told, and how many results share a
    commit, depends on the clock; so two days are lived.)"""
    days: list[list[str]] = []
    for day in range(2):
        log = folder / f"points-{day}"
        log.unlink(missing_ok=True)
        Day(coordinators, folder / "day", points=log).run()
        days.append(log.read_text().splitlines())
    return [point for point in days[0] if point in days[1]]


def worlds(calm: list[str]) -> list[str]:
    """Those of the points at which a death leaves another world behind than at the point before: see failpoints.py."""
    names = [point.split()[0].partition(":")[0] for point in calm]
    before = ["committed", *names]
    return [
        point
        for point, name, last in zip(calm, names, before)
        if last == "committed" or name == "committed" or (name == "sent" and last != "sent")
    ]


def die(coordinators: Forked, folder: Path, deaths: tuple[str, ...], tries: int = 5) -> bool:
    """Live a day with these deaths. False when the last of them was not met: no such day came in so many tries."""
    try:
        return any(Day(coordinators, folder / "day", deaths).run() == len(deaths) for _ in range(tries))
    except AssertionError as error:
        raise AssertionError(f"deaths at {deaths}: {error}") from error


def main() -> None:
    """Live a day for each line that comes, {"deaths": [...], "tries": N}, and say how it was: {"met": bool}, or
    {"wrong": text}. An empty list asks for the points of a calm day: {"points": [...]}."""
    with tempfile.TemporaryDirectory(prefix="daf-crash-", dir=sys.argv[1]) as top:
        folder = Path(top)
        coordinators = Forked(folder)
        try:
            for line in sys.stdin:
                order = json.loads(line)
                try:
                    if order["deaths"]:
                        answer: Any = {"met": die(coordinators, folder, tuple(order["deaths"]), order["tries"])}
                    else:
                        answer = {"points": points(coordinators, folder)}
                except AssertionError as error:
                    answer = {"wrong": str(error)}
                print(json.dumps(answer), flush=True)
        finally:
            coordinators.close()


if __name__ == "__main__":
    main()
