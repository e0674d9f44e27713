"""Processes that a zygote forks, as their owner sees them (see zygote.py for the other side, and for why).

`Zygote` starts one, or holds a connection to one; `Child` is a process that it forked. Both belong to one thread. A
zygote that died takes its children with it: then how they ended cannot be told, and counts as SIGKILL.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from .host import python_path

PATIENCE = 60.0
"""Seconds that a zygote has for an answer; its first one comes when it has loaded."""
TITLE = 120
"""Characters of a process title."""
_THREADS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Gone(Exception):
    """The zygote has died, or does not answer."""


def environment(threads: int, path: Iterable[str] = ()) -> dict[str, str]:
    """The environment of a zygote, and so of slots: few threads, the same order of sets of text in every process, and
    what it takes to find this package and whatever else `path` (a sys.path) leads to."""
    env = dict(os.environ)
    for name in _THREADS:
        env.setdefault(name, str(threads))
    env["PYTHONHASHSEED"] = "0"
    env["PYTHONPATH"] = python_path(path)
    return env


class Child:
    """A process that `zygote` forked. `pidfd` becomes readable when it ends."""

    def __init__(self, zygote: Zygote, pid: int, pidfd: int):
        self.pid = pid
        self.pidfd = pidfd
        self._zygote = zygote
        self._end: tuple[int, int] | None = None

    def end(self, seconds: float | None = None) -> tuple[int, int] | None:
        """How it ended: (exit code, or -signal; peak resident bytes). None when it still runs after `seconds` (None:
        wait for ever). It is reaped then, after what it left behind in its process group was killed."""
        if self._end is None:
            poll = select.poll()
            poll.register(self.pidfd, select.POLLIN)
            if not poll.poll(None if seconds is None else max(0.0, seconds) * 1000):
                return None
            _kill(-self.pid, signal.SIGKILL)
            self._end = self._zygote.reap(self.pid)
        return self._end

    def kill(self, number: int, *, group: bool = False) -> None:
        """Send it a signal, or its process group; nothing happens when it has ended."""
        if self._end is None:
            _kill(self.pid, number)
            if group:
                _kill(-self.pid, number)

    def close(self) -> None:
        """Free the descriptor."""
        os.close(self.pidfd)


class Zygote:
    """A connection to a zygote. Methods raise Gone when it has died."""

    def __init__(self, control: socket.socket, process: subprocess.Popen[bytes] | None = None):
        self._control = control
        self._process = process

    @classmethod
    def start(cls, stage: str, environ: dict[str, str], log: int | None = None) -> Zygote:
        """A process of its own; `log` is where it writes errors (None: our standard error). It ends with this
        *thread*."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", "-m", "mapreduce.working.zygote", str(os.getpid()), stage]
        out = log if log is not None else 2
        with theirs:
            process = subprocess.Popen(
                [*command, str(theirs.fileno()), " " * TITLE],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=(theirs.fileno(),),
                env=environ,
                process_group=0,
            )
        return cls(ours, process)

    def fork(self, role: str, argument: str, title: str, fds: Sequence[int]) -> Child:
        """A child of this role: "coordinator" (a JSON list of arguments), "worker" (WorkerSettings), "slot"
        (SlotSettings), "zygote" (a stage). `fds` are handed over: the first as its output, then what the role needs."""
        answer, got = self._ask(["fork", role, argument, title[:TITLE]], fds)
        return Child(self, answer[1], got[0])

    def reap(self, pid: int) -> tuple[int, int]:
        """The end of a child that has ended: (exit code or -signal, peak resident bytes)."""
        try:
            answer, _ = self._ask(["reap", pid])
        except Gone:
            return -signal.SIGKILL, 0
        return os.waitstatus_to_exitcode(answer[1]), answer[2]

    def nest(self, stage: str, log: int) -> tuple[Child, Zygote]:
        """A zygote of another stage, forked from this one, and the connection to it. It need not have loaded yet."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                return self.fork("zygote", stage, f"daf-zygote {stage}", [log, theirs.fileno()]), Zygote(ours)
        except Gone:
            ours.close()
            raise

    def ask(self) -> int:
        """Ask whether it has loaded; returns a descriptor that is readable once `heard` will not wait."""
        try:
            socket.send_fds(self._control, [json.dumps(["ready"]).encode()], [])
        except OSError as error:
            raise Gone(f"the zygote does not answer: {error}") from error
        return self._control.fileno()

    def heard(self) -> None:
        """Take the answer to `ask`."""
        self._answer()

    def attach(self) -> socket.socket:
        """Another connection to the same zygote, for a process to be: what is forked over it ends with it. It need not
        have loaded yet."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                socket.send_fds(self._control, [json.dumps(["attach"]).encode()], [theirs.fileno()])
            except OSError as error:
                ours.close()
                raise Gone(f"the zygote does not answer: {error}") from error
        return ours

    def preload(self, modules: Sequence[str]) -> None:
        """Let what it forks from now on find these modules imported. Nobody waits for it; what cannot be imported is
        told in its log. A zygote that has children does nothing."""
        try:
            socket.send_fds(self._control, [json.dumps(["preload", list(modules)]).encode()], [])
        except OSError as error:
            raise Gone(f"the zygote does not answer: {error}") from error

    def memory(self, size: int) -> int | None:
        """A descriptor of a new memory file system for `size` bytes with large pages (see memfs.py); None where there
        can be none."""
        _, got = self._ask(["memory", size])
        return got[0] if got else None

    def _ask(self, question: list[object], fds: Sequence[int] = ()) -> tuple[list[Any], list[int]]:
        try:
            socket.send_fds(self._control, [json.dumps(question).encode()], list(fds))
        except OSError as error:
            raise Gone(f"the zygote does not answer: {error}") from error
        return self._answer()

    def _answer(self) -> tuple[list[Any], list[int]]:
        try:
            self._control.settimeout(PATIENCE)
            data, got, _, _ = socket.recv_fds(self._control, 1024, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            raise Gone(f"the zygote does not answer: {error}") from error
        if not data:
            raise Gone("the zygote has ended")
        return json.loads(data), got

    def close(self) -> None:
        """Let it go: it ends what it forked over this connection. One that was started here is killed."""
        self._control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def _kill(target: int, number: int) -> None:
    try:
        os.kill(target, number)
    except ProcessLookupError:
        return
