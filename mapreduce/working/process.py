"""One slot as its worker sees it: how it is started, what it has been given, why it died.

It is forked by a zygote (see forks.py). The child gets an end of a socket pair, the gauge, a file for faulthandler's
dumps and a pipe for its output, of which the last lines are kept. It is a process group of its own, so Ctrl-C on the
worker's terminal does not reach it and killing it takes its own children along. Each `SlotProcess` is used up by one
death; the worker makes the next.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress

from ..wire.messages import Abort, Assign, Error
from ..wire.typed import encode
from . import failure, gauge, limits, usage
from .forks import Zygote
from .frames import Channel, Closed
from .gauge import Key
from .ledger import task_keys
from .limits import TaskLimits
from .settings import SlotSettings
from .usage import Usage

LOG_KEPT = 16_384
DUMP_KEPT = 262_144
DUMP_SECONDS = 0.3
ABORT_GRACE = 0.2
"""An attempt that nobody waits for any more and that still runs after so many seconds is killed with its process."""
YOUNG = 30.0
ROUNDS = 5
"""So often the processes that a task started are looked for and killed, since those may start others meanwhile."""


Unit = tuple[int, int, int]
"""(job, stage, kind)"""


class SlotProcess:
    """A running child. `held` maps the attempts it was given to the messages that brought them, in the order in which
    it runs them."""

    def __init__(self, settings: SlotSettings, zygote: Zygote):
        ours, theirs = socket.socketpair()
        gauge_fd, self._dump = gauge.create(), os.memfd_create("daf-dump")
        log_read, log_write = os.pipe2(os.O_CLOEXEC)
        given = (log_write, theirs.fileno(), gauge_fd, self._dump)
        try:
            self._child = zygote.fork("slot", settings.to_json(), f"daf-slot {settings.worker}", given)
        except BaseException:
            ours.close()
            for fd in (gauge_fd, self._dump, log_read):
                os.close(fd)
            raise
        finally:
            theirs.close()
            os.close(log_write)
        self.pid = self._child.pid
        self.exit_fd = self._child.pidfd
        self.log_fd = log_read
        os.set_blocking(log_read, False)
        self.channel = Channel(ours)
        self._gauge = gauge.Gauge(gauge_fd)
        os.close(gauge_fd)
        self._log = bytearray()
        self.worker = settings.worker
        self.held: dict[Key, Assign] = {}
        self.stages: set[tuple[int, int]] = set()
        self.loaded = False
        self.blocked = False
        """Whether the kernel did not take all that there is to send."""
        self.started = time.monotonic()
        self.finished = 0
        self._pace = 0.0
        self._paced: Unit | None = None
        self._answered = self.started
        self.doomed = ""
        """Why the worker killed it: timeout, cpu, memory, processes, protocol, abort; empty when it did not."""
        self.limit = ""
        self._condemned: tuple[Key, int] | None = None
        self._kill_at = 0.0
        self._stray: tuple[Key, int] | None = None
        self._stray_since = 0.0
        self._looked = 0.0
        self._attempt: tuple[Key, int] | None = None
        self._cpu = 0.0
        """The processor time of its family when `_attempt` was seen first."""

    # ------------------------------------------------------------------------------------------------------- its work

    def give(self, assign: Assign, keys: list[Key], frame: bytes) -> None:
        """Hand over attempts; `frame` is their Assign, encoded."""
        if not self.held:
            self._answered = time.monotonic()
        self.held.update(dict.fromkeys(keys, assign))
        self.tell(frame)

    def tell(self, frame: bytes) -> None:
        """Send a frame with the next `flush`."""
        self.channel.queue(frame)

    def flush(self) -> None:
        """Push what waits; a child that is gone is noticed elsewhere."""
        try:
            self.channel.flush()
        except Closed:
            return

    def abort(self, keys: Collection[Key]) -> None:
        """Forget these attempts: those that wait in the child are never run, and one that runs has `ABORT_GRACE` to
        end."""
        mine = [key for key in self.held if key in keys]
        for key in mine:
            del self.held[key]
        if mine:
            self.tell(encode(Abort(task_keys(mine))))

    def answered(self, keys: Iterable[Key]) -> list[Key]:
        """These attempts are answered; returns those of them that were still held."""
        known = [key for key in keys if self.held.pop(key, None) is not None]
        if known:
            now = time.monotonic()
            pace = (now - self._answered) / len(known)
            unit = known[-1][:3]
            self._pace = 0.7 * self._pace + 0.3 * pace if unit == self._paced else pace
            self._paced = unit
            self._answered = now
            self.finished += len(known)
        return known

    def room(self, ahead: float, unit: Unit) -> int:
        """How many more attempts of a unit to give it, so that it has work for `ahead` seconds and tasks that take long
        wait with the worker. How long they take is only known of those that it ran last: a plan of a millisecond says
        nothing of the maps that it plans."""
        wanted = 1
        if unit == self._paced:
            wanted = min(int(ahead / self._pace) + 1, 1024) if self._pace > 0 else 1024
        return max(0, wanted - len(self.held))

    def running(self) -> gauge.Reading | None:
        """What it runs now, by its gauge."""
        reading = self._gauge.read()
        return reading if reading is not None and reading.key in self.held else None

    # ----------------------------------------------------------------------------------------------------- its limits

    def lasts(self, now: float) -> bool:
        """Whether what it runs has been running for longer than the pause between looks at families."""
        reading = self._gauge.read()
        return reading is not None and now - reading.started / 1e9 > usage.LOOK

    def check(self, now: float, limits_of: Callable[[Key], TaskLimits], used: Usage | None) -> None:
        """Enforce limits; call it every tenth of a second or so. `limits_of` gives those of an attempt, `used` is what
        its family uses if somebody has just looked. A task over its time is asked for a dump of its stack, then killed;
        so is, without a dump, one that was aborted and goes on."""
        reading = self._gauge.read()
        if self._condemned is not None:
            if reading is None or (reading.key, reading.started) != self._condemned:
                self._condemned, self.doomed = None, ""  # it ended in the last moment
            elif now >= self._kill_at:
                self.doom(self.doomed, self.limit)
            return
        if reading is None:
            return
        attempt = (reading.key, reading.started)
        if reading.key not in self.held:
            if self._stray != attempt:
                self._stray, self._stray_since = attempt, now
            elif now - self._stray_since > ABORT_GRACE:
                self.doom("abort", "")
            return
        limit = limits_of(reading.key)
        if limit.seconds and now - reading.started / 1e9 > limit.seconds:
            self._condemn("timeout", f"{limit.seconds:g} s", attempt, now)
        elif limit.memory and (own := limits.resident(self.pid)) > _beyond(limit.memory):
            self.doom("memory", _of_memory(limit.memory, own))
        elif used is not None:
            self._check_family(limit, used, attempt, now)

    def _check_family(self, limit: TaskLimits, used: Usage, attempt: tuple[Key, int], now: float) -> None:
        if self._attempt != attempt:
            self._attempt, self._cpu = attempt, used.cpu
        count = len(used.others)
        if limit.cpu and used.cpu - self._cpu > limit.cpu:
            self._condemn("cpu", f"{limit.cpu:g} s", attempt, now)
        elif limit.processes and count > limit.processes:
            self.doom("processes", f"{limit.processes} ({count} ran)")
        elif limit.memory and count and used.memory + limits.resident(self.pid) > _beyond(limit.memory):
            own = usage.proportional((self.pid, *used.others))  # what forks share counts once
            if own > _beyond(limit.memory):
                self.doom("memory", f"{_of_memory(limit.memory, own)}, with {count} processes that it started")

    def _condemn(self, why: str, limit: str, attempt: tuple[Key, int], now: float) -> None:
        """It is asked for a dump of its stack, and killed soon after."""
        self.doomed, self.limit = why, limit
        self._condemned, self._kill_at = attempt, now + DUMP_SECONDS
        self._child.kill(signal.SIGUSR1)

    def doom(self, why: str, limit: str = "") -> None:
        """Kill it, and all that it started, for a reason that its error will give."""
        self.doomed, self.limit = why, limit
        self._child.kill(signal.SIGSTOP, group=True)  # so that no more is started meanwhile
        for _ in range(ROUNDS):
            others = usage.look([self.pid])[self.pid].others
            for pid in others:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not others:
                break
        self.kill()

    def kill(self) -> None:
        """Kill it and its process group."""
        self._child.kill(signal.SIGKILL, group=True)

    def stop(self) -> None:
        """Let it end by itself: it does when the other end of its channel says that nothing more will come."""
        try:
            self.channel.socket.shutdown(socket.SHUT_WR)
        except OSError:  # it is gone already
            return

    def memory(self) -> int:
        """Anonymous resident bytes, now."""
        return limits.resident(self.pid)

    def grown(self, limit: int) -> bool:
        """Whether it holds more than `limit` bytes; looks at most once a second, and gives a young process time to earn
        its start."""
        now = time.monotonic()
        if now - self._looked < 1.0 or now - self.started < YOUNG:
            return False
        self._looked = now
        return self.memory() > limit

    def read_log(self) -> int:
        """Take some of what it printed, of which the last lines are kept; returns the bytes read: 0 at the end, -1 when
        none waits."""
        try:
            data = os.read(self.log_fd, 65_536)
        except BlockingIOError:
            return -1
        self._log += data
        if len(self._log) > 2 * LOG_KEPT:
            del self._log[:-LOG_KEPT]
        return len(data)

    # ------------------------------------------------------------------------------------------------------ its death

    def end(self, *, wait: bool = True) -> tuple[int, int] | None:
        """Reap it: (exit code, or -signal; peak resident bytes), or None when it runs and `wait` is false."""
        return self._child.end(None if wait else 0)

    def post_mortem(self, status: int, peak: int) -> tuple[gauge.Reading | None, Error]:
        """Which attempt it ran when it died, and the error that this attempt ends with."""
        for _ in range(64):  # a child of its own may hold the pipe open and print for ever
            if self.read_log() <= 0:
                break
        reading = self.running()
        log = self._log[-LOG_KEPT:].decode("utf-8", "replace")
        text = reading.text if reading is not None else ""
        error = failure.of_death(
            status,
            why=self.doomed,
            limit=self.limit,
            peak=peak,
            dump=self._read_dump(),
            log=log,
            worker=self.worker,
            text=text,
        )
        return reading, error

    def _read_dump(self) -> str:
        size = os.fstat(self._dump).st_size
        data = os.pread(self._dump, DUMP_KEPT, max(0, size - DUMP_KEPT))
        return data.decode("utf-8", "replace").replace("\0", "")

    def unanswered(self) -> list[tuple[Assign, list[Key]]]:
        """The attempts it still held, by the message that brought them, in order."""
        groups: list[tuple[Assign, list[Key]]] = []
        for key, assign in self.held.items():
            if groups and groups[-1][0] is assign:
                groups[-1][1].append(key)
            else:
                groups.append((assign, [key]))
        return groups

    def close(self) -> None:
        """Free its descriptors. The child ends when it has run what it holds, or at once when it is dead already."""
        self.channel.close()
        self._child.close()
        for fd in (self.log_fd, self._dump):
            os.close(fd)


def _beyond(limit: int) -> float:
    """Bytes from which on a task has certainly passed its limit, which it is told of by MemoryError before."""
    return limit * 1.05 + (32 << 20)


def _of_memory(limit: int, used: int) -> str:
    return f"{limit / 2**20:.0f} MiB ({used / 2**20:.0f} in use)"
