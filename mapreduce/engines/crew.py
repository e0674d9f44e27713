"""The processes of a local engine: a coordinator and some workers, started, watched, restarted and ended by a thread
of their own.

The thread that starts a process must live as long as the process may (see working.guard), so that nothing outlives
this program, not even when it is killed; hence one thread does all of it. A process that dies is started again, with
a bound: the coordinator finds its jobs in its store, a worker finds its node's blobs. Processes are groups of their
own: Ctrl-C reaches this program only.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import EngineFailed
from ..working.host import python_path

QUICK = 1.0
"""A process that lived for less than this many seconds is started again only after a pause."""
QUICK_DEATHS = 8
"""So many quick deaths of one member in a row, and the crew gives up: it would never get to work. One that lived longer
has worked, and is started again however often it is killed."""
PATIENCE = 3.0
"""Seconds that a process has for leaving before it is killed."""


@dataclass
class Member:
    """One place in the crew: a command to keep running."""

    name: str
    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    pidfd: int = -1
    started: float = 0.0
    start_at: float = 0.0
    quick_deaths: int = 0
    signals: tuple[int, ...] = (signal.SIGTERM,)


@dataclass
class Crew:
    """Keeps its members running until `close`. All methods may be called from any thread.

    Attributes:
        deaths: how many members died unasked.
        failure: why the crew gave up; empty while it works.
    """

    deaths: int = 0
    failure: str = ""
    _members: list[Member] = field(default_factory=list)
    _todo: list[Callable[[], None]] = field(default_factory=list)
    _closing: bool = False

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="daf-crew", daemon=True)
        self._thread.start()

    def add(self, name: str, module: str, arguments: list[str], log: Path, signals: tuple[int, ...]) -> None:
        """Keep `python -m module arguments` running; `signals` make it leave, in that order."""
        guard = [sys.executable, "-P", "-m", "mapreduce.working.guard", str(os.getpid()), module, *arguments]
        self._do(lambda: self._members.append(Member(name, guard, log, signals=signals)))

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

    def _run(self) -> None:
        try:
            while not self._closing and not self.failure:
                with self._lock:
                    todo, self._todo = self._todo, []
                for what in todo:
                    what()
                self._start(time.monotonic())
                self._wait()
        finally:
            self._end(self._members)
            os.close(self._wake_read)

    def _start(self, now: float) -> None:
        for member in self._members:
            if member.process is None and member.start_at <= now:
                with open(member.log, "ab") as log:
                    member.process = subprocess.Popen(
                        member.command,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        env=os.environ | {"PYTHONPATH": python_path(sys.path)},
                        process_group=0,
                    )
                member.pidfd = os.pidfd_open(member.process.pid)
                member.started = now

    def _wait(self) -> None:
        """Until somebody wants something, a process has died, or one is due to be started."""
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        running = {member.pidfd: member for member in self._members if member.process is not None}
        for pidfd in running:
            poll.register(pidfd, select.POLLIN)
        for fd, _ in poll.poll(None if len(running) == len(self._members) else 100):
            if fd == self._wake_read:
                os.read(fd, 4096)
            else:
                self._died(running[fd])

    def _died(self, member: Member) -> None:
        assert member.process is not None
        code = member.process.wait()
        os.close(member.pidfd)
        member.process, member.pidfd = None, -1
        now = time.monotonic()
        self.deaths += 1
        quick = now - member.started < QUICK
        member.quick_deaths = member.quick_deaths + 1 if quick else 0
        member.start_at = now + (QUICK if quick else 0.0)
        # 2, 6, 9, 10 are what our own errors end with: another try would end the same.
        if member.quick_deaths >= QUICK_DEATHS or code in (2, 6, 9, 10):
            self.failure = (
                f"the {member.name} of the local engine keeps ending (exit code {code}):\n{_tail(member.log)}"
            )

    def _end(self, members: list[Member]) -> None:
        left = [member for member in members if member.process is not None]
        for member in left:
            for number in member.signals:
                _kill(member, number)
        end = time.monotonic() + PATIENCE
        for member in left:
            assert member.process is not None
            try:
                member.process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                _kill(member, signal.SIGCONT)
                _kill(member, signal.SIGKILL)
                member.process.wait()
            os.close(member.pidfd)
            member.process, member.pidfd = None, -1


def _kill(member: Member, number: int) -> None:
    if member.process is not None and member.process.poll() is None:
        os.kill(member.process.pid, number)


def _tail(path: Path) -> str:
    try:
        return path.read_bytes()[-4000:].decode("utf-8", "replace").strip()
    except OSError:
        return "(it left no log)"
