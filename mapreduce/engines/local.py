"""The local engine: a coordinator and some workers on this machine, for as long as the engine lives.

They are the same programs as on a cluster and talk through a socket in a private folder, so what holds for one holds
for the other: a worker that dies costs the task it ran, a coordinator that dies goes on where its store says. Nothing
is started before the first job: only then is it known which job types the workers have to find.
"""

from __future__ import annotations

import os
import signal
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import plugins
from ..client import Client
from ..job import Job, Result
from ..working.host import DataDirectory
from ..working.limits import memory_total
from ..working.settings import WorkerSettings
from .cluster import OnUpdate, follow
from .crew import Crew

START = 60.0
"""Seconds that workers have to start and to offer a job's type."""
MEMORY_SHARE = 0.9
_SOCKET_PATH = 100


class LocalEngine:
    """Runs jobs on this machine. Use it as a context manager, or call `close`; `run` may be called again, and from
    any thread.

    Args:
        workers: worker processes, one task at a time each; by default as many as there are processors.
        threads: threads that numeric libraries may use in one task.
        task_memory: bytes of memory of one task; by default the machine's, shared evenly. 0 for no limit.
        task_seconds: seconds of one task, 0 for no limit.
        data_dir: where the engine makes its temporary folder; by default in memory, when there is room.
        settings: of the coordinator's scheduler, by name (see `mapreduce.scheduler.settings`).
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        threads: int = 1,
        task_memory: int | None = None,
        task_seconds: float = 0.0,
        data_dir: str | Path | None = None,
        settings: Mapping[str, float] | None = None,
    ):
        workers = len(os.sched_getaffinity(0)) if workers is None else workers
        if workers < 1:
            raise ValueError(f"a local engine needs at least 1 worker, not {workers}")
        self.workers = workers
        self.threads = threads
        self.task_memory = int(memory_total() * MEMORY_SHARE) // workers if task_memory is None else task_memory
        self.task_seconds = task_seconds
        self._settings = dict(settings or {})
        self._offer: dict[str, str] = {}
        self._specs: tuple[str, ...] = ()
        self._place = _Place(None if data_dir is None else Path(data_dir).absolute())
        self._crew: Crew | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def endpoint(self) -> str:
        """Where the engine's coordinator listens."""
        return f"ipc://{self._place.socket}"

    def pids(self, role: str = "") -> list[int]:
        """Process ids of the engine's processes; `role` is "coordinator", "worker" or empty for all."""
        return self._crew.pids(role) if self._crew is not None else []

    def run(self, job: Job, *, seed: int | None = None, on_update: OnUpdate | None = None, **options: Any) -> Result:
        """Run `job` to its end. `options` are those of `Client.submit`: priority, weight, attempts, task_seconds,
        task_memory.

        Ctrl-C cancels the job. The result's pairs stay readable after the engine is closed, until the Result goes.

        Raises:
            BadParameters: a parameter is wrong, or the class is defined where other processes cannot find it.
            JobFailed, JobCancelled: the job ended otherwise.
            DafError: the engine's processes keep dying; the text has their last words.
        """
        version = self._prepare(type(job))
        crew = self._crew
        assert crew is not None
        with Client(self.endpoint, patience=START, keys="") as client:
            return follow(
                client,
                job,
                version,
                seed,
                on_update,
                options,
                keep=self._place,
                check=crew.check,
                wait_for_type=START,
            )

    def close(self) -> None:
        """End the processes. Blobs go when nobody can ask for them any more."""
        with self._lock:
            crew, self._crew = self._crew, None
        if crew is not None:
            crew.close()
        self._place.closed()

    def _prepare(self, cls: type[Job]) -> str:
        """Make sure that the crew runs and finds `cls`; returns the type's version. The workers know all job types
        that this process knows, so they are replaced only when a later job brings a type of its own."""
        with self._lock:
            if self._crew is None:
                self._crew = Crew()
                self._start_coordinator(self._crew)  # it takes longest: looking for job types goes on meanwhile
            plugin = plugins.describe(plugins.adopt(cls))
            if plugin.spec in plugins.added():
                plugins.add(plugin.spec.partition(":")[0])  # and whatever else its file has
            if self._offer.get(plugin.name) != plugin.version:
                if self._offer:
                    self._crew.remove("worker")
                self._offer = plugins.versions()
                self._specs = tuple(dict.fromkeys([plugin.spec, *plugins.added()]))
                self._start_workers(self._crew)
        return plugin.version

    def _start_coordinator(self, crew: Crew) -> None:
        store = f"sqlite:///{self._place.path / 'store.sqlite'}"
        arguments = ["--bind", self.endpoint, "--store", store]
        for name, value in self._settings.items():
            arguments += ["--set", f"{name}={value}"]
        crew.add(
            "coordinator", "mapreduce.coordinator", arguments, self._place.path / "coordinator.log", (signal.SIGTERM,)
        )

    def _start_workers(self, crew: Crew) -> None:
        for number in range(self.workers):
            name = f"worker-{number + 1}"
            settings = WorkerSettings(
                connect=self.endpoint,
                name=name,
                data_dir=self._place.path,
                plugins=self._specs,
                offer=dict(self._offer),
                threads=self.threads,
                task_memory=self.task_memory,
                task_seconds=self.task_seconds,
            )
            leave = (signal.SIGTERM, signal.SIGINT)  # the second one says: at once
            crew.add(name, "mapreduce.working.start", [settings.to_json()], self._place.path / f"{name}.log", leave)


class _Place:
    """The engine's folder. It is deleted when the engine is closed and no Result refers to it, or when this program
    ends."""

    def __init__(self, base: Path | None):
        self._directory = DataDirectory(base=base)
        self.path = self._directory.path
        self.socket = self.path / f"c-{os.getpid()}"
        if len(str(self.socket)) > _SOCKET_PATH:
            self._directory.close()
            raise ValueError(f"data_dir {self.path} is too long for a socket in it: {_SOCKET_PATH} characters at most")
        weakref.finalize(self, self._directory.close)

    def closed(self) -> None:
        """The engine ended: its socket goes at once."""
        self.socket.unlink(missing_ok=True)
