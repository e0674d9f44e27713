"""Coordinators for tests: in a thread of this process, or as a process of its own that can be killed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mapreduce.coordinator import Coordinator
from mapreduce.keys import Keys
from mapreduce.scheduler.settings import Settings
from mapreduce.store import Store, open_store
from tests.coordinator.fakes import Fake

QUICK = Settings(heartbeat=0.2, lease=600.0, node_grace=600.0, speculate=False)
"""Leases that never end in a test, and no backups: whatever is found lost was found in another way."""


@contextmanager
def coordinator(
    store: Store | str = "memory://",
    settings: Settings = QUICK,
    bind: str = "tcp://127.0.0.1:0",
    keys: Keys | None = None,
) -> Iterator[Coordinator]:
    """A coordinator that serves in a thread."""
    made = Coordinator(bind, open_store(store) if isinstance(store, str) else store, settings, keys=keys)
    thread = threading.Thread(target=made.run, name="coordinator", daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.stop()
        thread.join(30)
        assert not thread.is_alive(), "it does not stop"
        made.close()


class Working(threading.Thread):
    """Fakes that turn in a thread until the block ends. An error of theirs fails the test."""

    def __init__(self, *fakes: Fake):
        super().__init__(name="fakes")
        self.fakes = fakes
        self._stop_now = threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._stop_now.is_set():
                for fake in self.fakes:
                    fake.turn(0.005)
        except BaseException as error:
            self._error = error

    def __enter__(self) -> Working:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_now.set()
        self.join(30)
        for fake in self.fakes:
            fake.close()
        if self._error is not None:
            raise self._error


class Process:
    """`python -m mapreduce.coordinator` on a store, at an address that stays the same when it is started again."""

    def __init__(self, store: str, folder: Path, *settings: str, env: dict[str, str] | None = None, bind: str = ""):
        self.endpoint = bind or f"ipc://{folder}/c"
        self._command = [sys.executable, "-m", "mapreduce.coordinator", "--bind", self.endpoint, "--store", store]
        self._command += ["--announce", *(part for setting in settings for part in ("--set", setting))]
        self._log = open(folder / "coordinator.log", "ab")
        self._env = env
        self.starts = 0
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=self._log, env=self._env)
        self.starts += 1
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the coordinator did not start; see coordinator.log"
        assert json.loads(line)["pid"] == self.process.pid

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def close(self) -> None:
        self.kill()
        self._log.close()
