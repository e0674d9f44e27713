"""The local engine: a coordinator and some workers on this machine, for as long as the engine lives.

They are the same programs as on a cluster and talk through a socket in a private folder, so what holds for one holds
for the other: a worker that dies costs the task it ran, a coordinator that dies goes on where its store says. Workers
are started with the first job: only then is it known which job types they have to find. What they are forked from loads
as soon as the engine is entered; what this module needs only for the first job is imported meanwhile.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import sys
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadParameters, JobCancelled, JobFailed, Unreachable
from ..working.host import DataDirectory, python_path
from ..working.limits import memory_share
from .crew import Crew

if TYPE_CHECKING:
    from ..job import Job, Result
    from .cluster import OnUpdate

START = 60.0
"""Seconds that workers have to start and to offer a job's type."""
_SOCKET_PATH = 100


class LocalEngine:
    """Runs jobs on this machine. Use it as a context manager, or call `close`; `run` may be called again, and from
    any thread.

    Args:
        workers: worker processes, one task at a time each; by default as many as there are processors.
        threads: threads that numeric libraries may use in one task.
        task_memory: bytes of memory of one task; by default the machine's, shared evenly. 0 for no limit.
        task_seconds: seconds of one task, 0 for no limit.
        limits: more limits of a task, by name (see `working.settings.LIMITS`): cpu, processes, files, output,
            file-size; what is not named is as for `daf-worker`.
        data_dir: where the engine makes its temporary folder; by default in memory, when there is room.
        settings: of the coordinator's scheduler, by name (see `mapreduce.scheduler.settings`).
        state: a folder in which jobs and their blobs are kept, so that an engine on the same folder goes on with a
            job that did not end: the same type, parameters and seed mean the same job. One engine at a time.

    Raises:
        BadParameters: another engine works in `state`, or it holds something else; a limit has no such name.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        threads: int = 1,
        task_memory: int | None = None,
        task_seconds: float = 0.0,
        limits: Mapping[str, float] | None = None,
        data_dir: str | Path | None = None,
        settings: Mapping[str, float] | None = None,
        state: str | Path | None = None,
    ):
        workers = len(os.sched_getaffinity(0)) if workers is None else workers
        if workers < 1:
            raise ValueError(f"a local engine needs at least 1 worker, not {workers}")
        self.workers = workers
        self.threads = threads
        self.limits = _limits(limits or {})
        self.limits.setdefault("task_memory", memory_share(workers) if task_memory is None else task_memory)
        self.limits.setdefault("task_seconds", task_seconds)
        self._settings = dict(settings or {})
        self._offer: dict[str, str] = {}
        self._kept = state is not None
        base = None if data_dir is None else Path(data_dir).absolute()
        self._place = _Place(base) if state is None else _Kept(Path(state).absolute())
        self._crew: Crew | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> LocalEngine:
        """Loading begins."""
        with self._lock:
            self._enlist()
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
        task_memory, skip_bad.

        Ctrl-C cancels the job, unless `state` keeps it. The result's pairs stay readable after the engine is closed,
        until the Result goes.

        Raises:
            BadParameters: a parameter is wrong, or the class is defined where other processes cannot find it.
            JobFailed, JobCancelled: the job ended otherwise.
            DafError: the engine's processes keep dying; the text has their last words.
        """
        version = self._prepare(type(job))
        crew = self._crew
        assert crew is not None
        from ..client import Client
        from .cluster import follow

        with Client(self.endpoint, patience=START, keys="", check=crew.check) as client:
            try:
                if not self._kept:
                    return follow(
                        client, job, version, seed, on_update, options, keep=self._place, check=crew.check,
                        wait_for_type=START,
                    )  # fmt: skip
                ends = self._ends(job, version, job.seed if seed is None else seed)
                times = ends.stat().st_size if ends.exists() else 0
                options["token"] = f"{ends.name}-{times}"
                result = follow(
                    client, job, version, seed, on_update, options, keep=self._place, check=crew.check,
                    wait_for_type=START, cancel=False,
                )  # fmt: skip
            except (JobFailed, JobCancelled):
                if self._kept:
                    ends.write_bytes(bytes(times + 1))
                raise
            except Unreachable:
                crew.check()  # why it does not answer
                raise
            ends.write_bytes(bytes(times + 1))
            return result

    def _ends(self, job: Job, version: str, seed: int) -> Path:
        """The file that counts how often this job was run to an end in the engine's folder."""
        from .. import params

        name = f"{type(job).name} {version} {seed} "
        return self._place.path / f"ended-{hashlib.sha256(name.encode() + params.pack(job)).hexdigest()[:32]}"

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
            crew = self._enlist()
            crew.preload(tuple(cls.preload))
            from .. import plugins

            plugin = plugins.describe(plugins.adopt(cls))
            if plugin.spec in plugins.added():
                plugins.add(plugin.spec.partition(":")[0])  # and whatever else its file has
            if self._offer.get(plugin.name) != plugin.version:
                if self._offer:
                    crew.remove("worker")
                self._offer = plugins.versions()
                self._start_workers(crew, tuple(dict.fromkeys([plugin.spec, *plugins.added()])))
        return plugin.version

    @property
    def _near(self) -> str:
        """Where its workers speak to it."""
        return f"{self._place.socket}w"

    def _enlist(self) -> Crew:
        """The crew; it begins with the coordinator."""
        if self._crew is None:
            self._crew = Crew(self._place.path, self.threads, self._place.data())
            self._start_coordinator(self._crew)
        return self._crew

    def _start_coordinator(self, crew: Crew) -> None:
        store = f"sqlite:///{self._place.path / 'store.sqlite'}{'' if self._kept else '?sync=normal'}"
        arguments = ["--bind", self.endpoint, "--store", store, "--near", self._near]
        for name, value in self._settings.items():
            arguments += ["--set", f"{name}={value}"]
        crew.add("coordinator", "coordinator", json.dumps(arguments), (signal.SIGTERM,))

    def _start_workers(self, crew: Crew, specs: tuple[str, ...]) -> None:
        from ..working.settings import WorkerSettings

        for number in range(self.workers):
            name = f"worker-{number + 1}"
            settings = WorkerSettings(
                connect=self.endpoint,
                near=self._near,
                name=name,
                data_dir=self._place.path,
                plugins=specs,
                path=tuple(python_path(sys.path).split(os.pathsep)),
                offer=dict(self._offer),
                threads=self.threads,
                **self.limits,
            )
            leave = (signal.SIGTERM, signal.SIGINT)  # the second one says: at once
            crew.add(name, "worker", settings.to_json(), leave)


def _limits(named: Mapping[str, float]) -> dict[str, Any]:
    """The fields of WorkerSettings that these limits are."""
    from ..working.settings import LIMITS

    if unknown := set(named) - set(LIMITS):
        raise BadParameters(f"there is no limit {', '.join(sorted(unknown))}: there are {', '.join(LIMITS)}")
    whole = {"memory", "processes", "files", "output", "file-size"}
    return {LIMITS[name]: int(value) if name in whole else float(value) for name, value in named.items()}


class _Place:
    """The engine's folder. It is deleted when the engine is closed and no Result refers to it, or when this program
    ends."""

    _given = False

    def __init__(self, base: Path | None):
        self._directory = DataDirectory(base=base)
        self.path = self._directory.path
        self.socket = self.path / f"c-{os.getpid()}"
        if len(str(self.socket)) > _SOCKET_PATH:
            self._directory.close()
            raise ValueError(f"data_dir {self.path} is too long for a socket in it: {_SOCKET_PATH} characters at most")
        weakref.finalize(self, self._directory.close)

    def data(self) -> DataDirectory | None:
        """The workers' data directory when it is asked for first: later it has blobs."""
        given, self._given = self._given, True
        return None if given else self._directory

    def closed(self) -> None:
        """The engine ended: its socket goes at once."""
        self.socket.unlink(missing_ok=True)
        Path(f"{self.socket}w").unlink(missing_ok=True)


class _Kept(_Place):
    """A folder that stays: the store and the blobs of jobs that may be taken up again."""

    def __init__(self, path: Path):
        if path.is_dir() and any(path.iterdir()) and not (path / "store.sqlite").exists():
            raise BadParameters(f"--state {path} holds something else; give a new folder, or that of an earlier run")
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._engine = os.open(path / "engine.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BadParameters(f"--state {path} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(self._engine, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._engine)
            raise BadParameters(f"--state {path}: another run works in it; wait for its end") from error
        (path / "store.sqlite").touch(mode=0o600)
        self._directory = DataDirectory(path)
        self._sockets = DataDirectory()
        self.path = path
        self.socket = self._sockets.path / f"c-{os.getpid()}"
        weakref.finalize(self, self._sockets.close)
        weakref.finalize(self, self._directory.close)

    def closed(self) -> None:
        """The engine ended: another may have the folder."""
        super().closed()
        os.close(self._engine)
