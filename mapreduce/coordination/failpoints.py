"""Fail points: every place between two of which a dying coordinator leaves another world behind, numbered.

A point is passed before each write to the store, before and after each commit, and before and after each message that
is sent. Off, a point is one test of an attribute for None. Switched on by the constructor's argument or by the
environment variable DAF_FAIL_AT, the process kills itself (SIGKILL: no handler, no finally, no exit hook) when it
passes the one that is named:

    17              the 17th point that this process passes
    commit:3        the third time that it passes the point `commit`
    sent assign:2   the second Assign that has left

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


class FailPoints:
    """Call it at each point. `at` as above, or "" to die at none; `log`: a file for the names of the points passed."""

    def __init__(self, at: str = "", log: str = ""):
        self.passed = 0
        self._at = at
        self._times: Counter[str] = Counter()
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if log else None

    def __call__(self, name: str, frames: tuple[bytes, ...] = ()) -> None:
        """The process is at the point `name`; with `frames`, of the messages in them."""
        for frame in frames or (b"",):
            what = f"{name} {msgspec.msgpack.decode(frame)[0]}" if frame else name
            self.passed += 1
            self._times[what] += 1
            here = f"{what}:{self._times[what]}"
            if self._log is not None:
                os.write(self._log, f"{here}\n".encode())
            if self._at in (str(self.passed), here):
                if name == "sent":
                    time.sleep(FLUSH)
                os.kill(os.getpid(), signal.SIGKILL)


def from_environment() -> FailPoints | None:
    """What DAF_FAIL_AT and DAF_FAIL_LOG ask for; None, as nearly always, when they ask for nothing."""
    at, log = os.environ.get("DAF_FAIL_AT", ""), os.environ.get("DAF_FAIL_LOG", "")
    return FailPoints(at, log) if at or log else None
