"""Coordinators that start in milliseconds: `python -m tests.coordinator.forked` imports what they need, opens nothing,
and forks one for each line that it reads; the child is a process, a store and a socket like any other coordinator's.

`Forked` is the other end: `start`, `poll`, `kill`. One coordinator at a time.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

SETTINGS = {
    "heartbeat": 0.03,
    "lease": 600.0,
    "node_grace": 600.0,
    "assign_grace": 600.0,
    "speculate": False,
    "prefetch": 0,
}
"""Nobody is found lost by a clock, and nothing is called back from a worker that may have done it already."""


class Forked:
    """Coordinators at one address, whose log is in `folder`."""

    def __init__(self, folder: Path):
        self.endpoint = f"ipc://{folder}/c"
        self.log = folder / "coordinator.log"
        self.pid: int | None = None
        self._said = b""
        with open(self.log, "ab") as log:
            self._template = subprocess.Popen(
                [sys.executable, "-m", "tests.coordinator.forked"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        self._read()

    def start(self, store: str, at: str = "", points: Path | str = "") -> None:
        """Start one on `store`, which dies at the fail point `at` and lists those that it passes in `points`."""
        assert self.pid is None, "there is one"
        order = {"bind": self.endpoint, "store": store, "at": at, "log": str(points)}
        assert self._template.stdin is not None
        self._template.stdin.write(json.dumps(order).encode() + b"\n")
        self._template.stdin.flush()
        self.pid = self._read()["pid"]

    def poll(self, seconds: float = 0.0) -> int | None:
        """The signal that ended it (0: none did), or None while it runs."""
        if not self._said and not select.select([self._template.stdout], [], [], seconds)[0]:
            return None
        self.pid = None
        status: int = self._read()["status"]
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, f"it ended by itself: {self.log.read_text()}"
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0

    def wait(self, seconds: float) -> None:
        """Until it ends or the time is over."""
        if not self._said:
            select.select([self._template.stdout], [], [], seconds)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it, if it has not ended."""
        if self.pid is not None:
            with suppress(ProcessLookupError):  # it died at a fail point just now
                os.kill(self.pid, number)
            assert self.poll(30.0) is not None, "it did not end"

    def close(self) -> None:
        self.kill()
        assert self._template.stdin is not None and self._template.stdout is not None
        self._template.stdin.close()
        self._template.wait()
        self._template.stdout.close()

    def _read(self) -> Any:
        """The next line of the template."""
        assert self._template.stdout is not None
        while b"\n" not in self._said:
            data = os.read(self._template.stdout.fileno(), 4096)
            assert data, f"the template died: {self.log.read_text()}"
            self._said += data
        line, _, self._said = self._said.partition(b"\n")
        return json.loads(line)


def main() -> None:
    from mapreduce import coordinator
    from mapreduce.coordination import promises
    from mapreduce.scheduler.settings import Settings
    from mapreduce.store import sqlite  # noqa: F401  imported before the fork

    promises.RELEASE, promises.LATER = 0.02, 0.005  # type: ignore[assignment]
    print("{}", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.environ["DAF_FAIL_AT"], os.environ["DAF_FAIL_LOG"] = order["at"], order["log"]
            os.dup2(os.open(os.devnull, os.O_RDWR), 0)
            os.dup2(2, 1)
            try:
                coordinator.serve(order["bind"], order["store"], Settings(**SETTINGS), keys="")
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        print(json.dumps({"pid": pid}), flush=True)
        print(json.dumps({"status": os.waitpid(pid, 0)[1]}), flush=True)


if __name__ == "__main__":
    main()
