"""Fail points: every place between two of which a dying coordinator leaves another world behind, numbered.

A point is passed before each write to the store, before and after each commit, and before and after each message that
is sent. Off, a point is one test of an attribute for None. Switched on by the constructor's argument or by the
environment variable DAF_FAIL_AT, the process kills itself (SIGKILL: no handler, no finally, no exit hook) when it
passes the one that is named:

    17              the 17th point that this process passes
    commit:3        the third time that it passes the point `commit`
    sent assign:2   the second Assign that has left
    world:9         the 9th of the points at which the world is another than at the point before

At many points a death leaves behind what it left at the one before: what is being written is not committed yet, what is
about to be sent is not sent. The others are those after a send, those after a commit, and the next one after that (the
store has written its seal meanwhile); whoever dies at all of these has seen all worlds that there are.

With DAF_FAIL_LOG=FILE each point that is passed is also appended to that file, a line each, before anything happens at
it: a run without DAF_FAIL_AT lists the points that there are. `tests/coordinator/crashpoints.py` dies at all of them.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import msgspec

FLUSH = 0.005
"""Seconds in which a message that was sent gets out, before the process that sent it dies."""

EFFECTS = ("sent", "committed")
"""What something has just left this process before."""


class FailPoints:
    """Call it at each point. `at` as above, or "" to die at none; `log`: a file for the names of the points passed."""

    def __init__(self, at: str = "", log: str = ""):
        self.passed = self.worlds = 0
        self._before = "committed"
        self._at = at
        self._times: Counter[str] = Counter()
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if log else None

    def __call__(self, name: str, frames: tuple[bytes, ...] = ()) -> None:
        """The process is at the point `name`; with `frames`, of the messages in them."""
        if another := name in EFFECTS or self._before == "committed":
            self.worlds += 1
        self._before = name
        for frame in frames or (b"",):
            what = f"{name} {msgspec.msgpack.decode(frame)[0]}" if frame else name
            self.passed += 1
            self._times[what] += 1
            here = f"{what}:{self._times[what]}"
            if self._log is not None:
                os.write(self._log, f"{here}\n".encode())
            if self._at in (str(self.passed), here) or (another and self._at == f"world:{self.worlds}"):
                if name == "sent":
                    time.sleep(FLUSH)
                os.kill(os.getpid(), signal.SIGKILL)


def from_environment() -> FailPoints | None:
    """What DAF_FAIL_AT and DAF_FAIL_LOG ask for; None, as nearly always, when they ask for nothing."""
    at, log = os.environ.get("DAF_FAIL_AT", ""), os.environ.get("DAF_FAIL_LOG", "")
    return FailPoints(at, log) if at or log else None
