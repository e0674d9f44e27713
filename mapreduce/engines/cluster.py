"""The cluster engine: hands a job to a running coordinator and waits for it.

The result's pairs are read where they lie: mapped when a holder's directory is on this host, else fetched from its
worker. They stay readable as long as the coordinator retains the job.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import params, plugins, tasks
from ..blobs import BlobLost, BlobStore, Place, Reader
from ..blobserver import Fetcher
from ..client import Client
from ..errors import EngineFailed, JobCancelled, JobFailed, Overloaded, Refused, TimedOut, UnknownJobType, Unreachable
from ..job import Artifact, Job, Result, Skipped
from ..keys import Keys
from ..pages import mapped
from ..wire.messages import Ref, Update
from ..working.host import host_id

OnUpdate = Callable[[Update], None]
FULL = 60.0
"""Seconds for which a submission is repeated, when it is told to, to a coordinator that takes no more for now."""
LOOK = 1.0
"""Seconds between looks at whatever else may have gone wrong."""


class ClusterEngine:
    """Runs jobs on the coordinator at `endpoint`. `run` may be called again, and from any thread.

    Args:
        patience: seconds without an answer before Unreachable is raised.
        owner: under whose name jobs are submitted.
        keys: as for `Client`.
    """

    def __init__(
        self, endpoint: str, *, patience: float = 10.0, owner: str = "", keys: Keys | str | Path | None = None
    ):
        self.keys = keys
        self.endpoint = endpoint
        self.patience = patience
        self.owner = owner

    def __enter__(self) -> ClusterEngine:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, job: Job, *, seed: int | None = None, on_update: OnUpdate | None = None, **options: Any) -> Result:
        """Run `job` to its end. `options` are those of `Client.submit`: priority, weight, attempts, task_seconds,
        task_memory, skip_bad.

        Ctrl-C cancels the job.

        Raises:
            JobFailed, JobCancelled: it ended otherwise.
            UnknownJobType: no worker offers this type in this version.
            Unreachable, Refused, Overloaded: the coordinator does not answer, or says no.
        """
        name = type(job).name
        version = plugins.version(name)
        with Client(self.endpoint, patience=self.patience, owner=self.owner, keys=self.keys) as client:
            began = False

            def seen(update: Update) -> None:
                nonlocal began
                began = began or update.running > 0 or update.maps > 0
                if on_update is not None:
                    on_update(update)

            def check() -> None:
                if began:
                    return
                offered = {worker.plugins[name] for worker in client.workers() if name in worker.plugins}
                if offered and version not in offered:
                    raise Refused(
                        f"no worker of {self.endpoint} has version {version} of {name}, which this program has; they "
                        f"have {', '.join(sorted(offered))}. Bring both to the same version."
                    )

            check()
            return follow(client, job, version, seed, seen, options, check=check)


def follow(
    client: Client,
    job: Job,
    version: str,
    seed: int | None,
    on_update: OnUpdate | None,
    options: dict[str, Any],
    *,
    keep: Any = None,
    check: Callable[[], None] = lambda: None,
    wait_for_type: float = 0.0,
    cancel: bool = True,
) -> Result:
    """Submit a job, wait for its end, and wrap what it left. Whatever interrupts the wait (Ctrl-C, an error of
    `on_update`) cancels it, unless `cancel` says that it waits to be taken up again.

    `check` is called now and then and may raise; `wait_for_type` is how many seconds workers have to offer the type.
    """
    number = _submit(client, job, version, seed, options, check, wait_for_type)
    try:
        while True:
            try:
                return result_of(client.wait(number, timeout=LOOK, seen=on_update), keep, client.keys)
            except TimedOut:
                check()
    except (JobFailed, JobCancelled, Unreachable, EngineFailed):
        raise
    except BaseException as error:
        if cancel:
            client.cancel(number, f"{type(error).__name__} in the submitting program")
        raise


def _submit(
    client: Client,
    job: Job,
    version: str,
    seed: int | None,
    options: dict[str, Any],
    check: Callable[[], None],
    wait_for_type: float,
) -> int:
    packed, name = params.pack(job), type(job).name
    deadline, full_until = time.monotonic() + wait_for_type, time.monotonic() + FULL
    while True:
        try:
            return client.submit(name, packed, version=version, seed=job.seed if seed is None else seed, **options)
        except Overloaded as full:
            if not full.retry_after or time.monotonic() + full.retry_after > full_until:
                raise
            time.sleep(full.retry_after)
            continue
        except UnknownJobType:
            if time.monotonic() >= deadline:
                raise
        check()
        time.sleep(0.005)


def result_of(update: Update, keep: Any = None, keys: Keys | None = None) -> Result:
    """The Result of a done job. `keep` is something that must live as long as its pairs are read; `keys` are those to
    fetch them with."""
    cache = _Cache()
    store = BlobStore(cache.path)
    reader = _ResultReader(
        store, host_id(), {node.name: node for node in update.nodes}, Fetcher(store, keys=lambda: keys).fetch
    )
    value, files = tasks.unpack_value(update.value)
    outputs = tasks.outputs_of(reader, update.job, update.outputs)
    artifacts = [Artifact(Path(path), digest, size) for path, digest, size in files]
    metrics = {"seconds": update.elapsed, "stages": update.stage, "retries": update.retries}
    metrics |= {"diverged": len(update.diverged)} if update.diverged else {}
    return Result(
        update.job, update.type, value, outputs, artifacts, dict(update.counters), metrics, (keep, cache),
        tuple([skipped(item.stage, item.index, item.error) for item in update.skipped]),
    )  # fmt: skip


def skipped(stage: int, index: int, error: Any) -> Skipped:
    """A split that was set aside, as the Result lists it. `error` has the fields of scheduler.model.TaskError."""
    return Skipped(stage, index, error.input, error.type, error.message, error.traceback)


class _ResultReader(Reader):
    """Reads what a job left, and says what that means where it cannot be had: nobody makes it again any more."""

    def read(self, job: int, ref: Ref, offset: int = 0, size: int | None = None, place: Place = mapped) -> memoryview:
        try:
            return super().read(job, ref, offset, size, place)
        except BlobLost as error:
            text = f"{error.reason}. Job {job} has ended, so nobody makes its outputs again: run the job again"
            raise type(error)(error.node, text) from error


class _Cache:
    """Where pairs that had to be fetched from another host are kept while their Result lives; made when the first one
    comes."""

    def __init__(self) -> None:
        self.path = Path(tempfile.gettempdir()) / f"daf-result-{os.getpid()}-{secrets.token_hex(6)}"
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
