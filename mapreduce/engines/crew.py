"""The processes of a local engine: a coordinator and some workers, started, watched, restarted and ended by a thread
of their own.

They are forked by a zygote (see working.zygote), which is started first and loads while this program does; a second
one, forked from it, is where the workers' slots come from. A zygote ends with the *thread* that started it, and all
that it forked ends with it: so nothing outlives this program, not even when it is killed, and one thread does all of
this. A process that dies is started again, with a bound: the coordinator finds its jobs in its store, a worker finds
its node's blobs, and where a zygote has died there is a new one. Processes are groups of their own: Ctrl-C reaches this
program only.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import EngineFailed
from ..working.forks import Child, Gone, Zygote, environment
from ..working.host import DataDirectory

QUICK = 1.0
"""A process that lived for less than this many seconds is started again only after a pause."""
QUICK_DEATHS = 8
"""So many quick deaths of one member in a row, and the crew gives up: it would never get to work. One that lived longer
has worked, and is started again however often it is killed."""
QUICK_ERRORS = 2
"""So many times in a row may a member end quickly by itself, with an error of its own and not by a signal: a third try
would end the same."""
LOG_KEPT, LOG_MOST = 1 << 18, 1 << 20
"""A log of more bytes than the second is cut to its last ones, as many as the first."""
LOOK = 10.0
"""Seconds between looks at the logs."""
PATIENCE = 3.0
"""Seconds that a process has for leaving before it is killed."""


@dataclass
class Member:
    """One place in the crew: a process to keep running."""

    name: str
    role: str
    argument: str
    log: Path
    process: Child | None = None
    started: float = 0.0
    start_at: float = 0.0
    quick_deaths: int = 0
    quick_errors: int = 0
    signals: tuple[int, ...] = (signal.SIGTERM,)


@dataclass
class Crew:
    """Keeps its members running until `close`. All methods may be called from any thread. The zygote starts with it.

    Attributes:
        folder: where the members' logs are.
        threads: threads that numeric libraries may use in a slot.
        data: the data directory of its workers, whose blobs get a memory file system of their own if that can be.
        deaths: how many members died unasked.
        failure: why the crew gave up; empty while it works.
    """

    folder: Path
    threads: int = 1
    data: DataDirectory | None = None
    deaths: int = 0
    failure: str = ""
    _members: list[Member] = field(default_factory=list)
    _todo: list[Callable[[], None]] = field(default_factory=list)
    _closing: bool = False
    _zygote: Zygote | None = None
    _slots: tuple[Child, Zygote] | None = None
    _preload: tuple[str, ...] = ()
    _told: tuple[str, ...] = ()
    _trimmed: float = 0.0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name="daf-crew", daemon=True)
        self._thread.start()
        started.wait()

    def add(self, name: str, role: str, argument: str, signals: tuple[int, ...]) -> None:
        """Keep a process of this role running (see working.forks); `signals` make it leave, in that order."""
        member = Member(name, role, argument, self.folder / f"{name}.log", signals=signals)
        self._do(lambda: self._members.append(member))

    def preload(self, modules: tuple[str, ...]) -> None:
        """Let slots that are forked from now on find these modules imported; call it before their workers are added.
        Where the zygote of slots is not there yet, it begins with them, while the thread waits for the coordinator."""
        self._preload = modules
        self._do(self._tell)

    def remove(self, prefix: str) -> None:
        """End the members whose names begin so."""

        def end() -> None:
            leaving = [member for member in self._members if member.name.startswith(prefix)]
            self._members = [member for member in self._members if member not in leaving]
            self._end(leaving)

        self._do(end)

    def pids(self, prefix: str = "") -> list[int]:
        """Process ids of the members whose names begin so, of those that run."""
        found = [(member.name, member.process) for member in self._members]
        return [process.pid for name, process in found if process is not None and name.startswith(prefix)]

    def close(self) -> None:
        """End all members; returns when they are gone."""
        if not self._closing:
            self._closing = True
            self._wake()
            self._thread.join()

    def check(self) -> None:
        """Raises EngineFailed when the crew gave up."""
        if self.failure:
            raise EngineFailed(self.failure)

    # ---------------------------------------------------------------------------------------------------- the thread

    def _do(self, what: Callable[[], None]) -> None:
        with self._lock:
            self._todo.append(what)
        self._wake()

    def _wake(self) -> None:
        try:
            os.write(self._wake_write, b"w")
        except (BlockingIOError, BrokenPipeError):  # it is awake, or has given up
            return

    def _run(self, started: threading.Event) -> None:
        try:
            try:
                self._renew()
            finally:
                started.set()
            while not self._closing and not self.failure:
                with self._lock:
                    todo, self._todo = self._todo, []
                for what in todo:
                    what()
                self._start(time.monotonic())
                self._wait()
        finally:
            self._end(self._members)
            self._let_go()
            os.close(self._wake_read)

    # ------------------------------------------------------------------------------------------------------ zygotes

    def _renew(self) -> None:
        """A new zygote."""
        self._let_go()
        with open(self.folder / "zygote.log", "ab") as log:
            self._zygote = Zygote.start("base", environment(self.threads, sys.path), log.fileno())

    def _let_go(self) -> None:
        self._let_go_of_slots()
        if self._zygote is not None:
            self._zygote.close()
        self._zygote = None

    def _let_go_of_slots(self) -> None:
        if self._slots is not None:
            child, zygote = self._slots
            zygote.close()
            child.kill(signal.SIGKILL)
            child.end()
            child.close()
            self._slots = None

    def _slot_zygote(self) -> Zygote:
        """The one that forks slots; it loads while the others start. Raises Gone."""
        assert self._zygote is not None
        if self._slots is None:
            with open(self.folder / "zygote.log", "ab") as log:
                self._slots = self._zygote.nest("slots", log.fileno())
            self._told = ()
            self._tell()
        return self._slots[1]

    def _tell(self) -> None:
        """Let the zygote of slots know what to load ahead."""
        if self._slots is not None and self._told != self._preload:
            self._told = self._preload
            with suppress(Gone):  # its end is heard of; slots do without
                self._slots[1].preload(self._told)

    def _fork(self, member: Member) -> Child:
        assert self._zygote is not None
        slots = self._slot_zygote()
        with open(member.log, "ab") as log:
            if member.role != "worker":
                return self._zygote.fork(member.role, member.argument, f"daf-{member.name}", [log.fileno()])
            self._make_room()
            with slots.attach() as control:
                given = [log.fileno(), control.fileno()]
                return self._zygote.fork(member.role, member.argument, f"daf-{member.name}", given)

    def _make_room(self) -> None:
        """Before the first worker starts, and once."""
        assert self._zygote is not None
        data, self.data = self.data, None
        if data is not None and data.room:
            fd = self._zygote.memory(data.room)
            if fd is not None:
                data.move_into(fd)

    # ------------------------------------------------------------------------------------------------------- members

    def _start(self, now: float) -> None:
        for member in self._members:
            if member.process is None and member.start_at <= now:
                try:
                    member.process = self._fork(member)
                except Gone as gone:
                    self._renew()
                    self._count(member, now, f"the zygote of the local engine: {gone}", self.folder / "zygote.log")
                    continue
                member.started = now

    def _wait(self) -> None:
        """Until somebody wants something, a process has died, or one is due to be started."""
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        running = {member.process.pidfd: member for member in self._members if member.process is not None}
        slots = self._slots[0].pidfd if self._slots is not None else -1
        for pidfd in filter(lambda fd: fd >= 0, (*running, slots)):
            poll.register(pidfd, select.POLLIN)
        self._trim(time.monotonic())
        for fd, _ in poll.poll(1000 * LOOK if len(running) == len(self._members) else 100):
            if fd == self._wake_read:
                os.read(fd, 4096)
            elif fd == slots:
                self._let_go_of_slots()  # workers that live have made their own; there is a new one for the next
                self._preload = ()  # it may have died of what it loaded
            else:
                self._died(running[fd])

    def _trim(self, now: float) -> None:
        """Keep the logs short: they lie where the blobs do, in memory as a rule."""
        if now - self._trimmed < LOOK:
            return
        self._trimmed = now
        for log in (self.folder / "zygote.log", *(member.log for member in self._members)):
            trim(log)

    def _died(self, member: Member) -> None:
        assert member.process is not None
        ended = member.process.end()
        assert ended is not None
        code = ended[0]
        member.process.close()
        member.process = None
        self.deaths += 1
        what = f"the {member.name} of the local engine keeps ending (exit code {code})"
        # 2, 6, 9, 10 are what our own errors end with: another try would end the same.
        self._count(member, member.started, what, member.log, hopeless=code in (2, 6, 9, 10), error=code > 0)

    def _count(
        self, member: Member, started: float, what: str, log: Path, *, hopeless: bool = False, error: bool = False
    ) -> None:
        """A member ended, or could not be started: try again at once, after a pause, or never."""
        now = time.monotonic()
        quick = now - started < QUICK
        member.quick_deaths = member.quick_deaths + 1 if quick else 0
        member.quick_errors = member.quick_errors + 1 if quick and error else 0
        member.start_at = now + (QUICK if quick and not error else 0.0)
        if member.quick_deaths >= QUICK_DEATHS or member.quick_errors >= QUICK_ERRORS or hopeless:
            self.failure = f"{what}:\n{_tail(log)}"

    def _end(self, members: list[Member]) -> None:
        left = [member.process for member in members if member.process is not None]
        for member in members:
            for number in member.signals:
                if member.process is not None:
                    member.process.kill(number)
        end = time.monotonic() + PATIENCE
        for process in left:
            if process.end(end - time.monotonic()) is None:
                process.kill(signal.SIGCONT)
                process.kill(signal.SIGKILL)
                process.end()
            process.close()
        for member in members:
            member.process = None


def _tail(path: Path) -> str:
    try:
        return path.read_bytes()[-4000:].decode("utf-8", "replace").strip()
    except OSError:
        return "(it left no log)"


def trim(log: Path) -> None:
    """Cut a log that has grown too long to its last bytes. Whoever writes it appends, and need not know."""
    try:
        with open(log, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            if size > LOG_MOST:
                file.seek(size - LOG_KEPT)
                kept = file.read(LOG_KEPT).partition(b"\n")[2]
                file.seek(0)
                file.write(b"(earlier lines were cut)\n" + kept)
                file.truncate()
    except FileNotFoundError:
        return
