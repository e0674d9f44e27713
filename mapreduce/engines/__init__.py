"""Where tasks run: in this process, in worker processes of this machine, or on a cluster."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import BadParameters

if TYPE_CHECKING:
    from ..job import Job, Result
    from ..wire.messages import Update

J = TypeVar("J", bound="Job")


def run(
    job: Job,
    engine: Any = "local",
    *,
    workers: int | None = None,
    seed: int | None = None,
    on_update: Callable[[Update], None] | None = None,
    state: str | None = None,
    limits: Mapping[str, float] | None = None,
    **options: Any,
) -> Result:
    """Run a job to its end: `run(WordCount(paths=["book.txt"]), engine="inline")`.

    Args:
        job: an instance of a job type; its parameters are checked, and paths made absolute, before anything runs.
        engine: "inline" (this process), "local" (a coordinator and worker processes of its own), the endpoint of a
            running coordinator (tcp://HOST:PORT), or an engine that is open already.
        workers: worker processes of the local engine; by default as many as there are processors.
        seed: instead of the job's own.
        on_update: called with every `Update` of the job's progress.
        state: folder of the local engine in which an unfinished job is kept; the same call goes on with it.
        limits: of a task in the local engine, by name: memory, seconds, cpu, processes, files, output, file-size (see
            `LocalEngine`).
        options: handed to the engine's `run`: `skip_bad` (how many splits may be set aside because their task failed
            for good), and what `Client.submit` takes.

    Raises:
        BadParameters, BadInput: what the job was given cannot be used.
        JobFailed: a task failed for good; inline, the job's own error comes through as it is.
    """
    from .. import params

    job = params.normalise(job)
    job.check()
    if not isinstance(engine, str):
        return _on(engine, job, seed, on_update, options)
    with open_engine(engine, workers, state, limits) as opened:
        return _on(opened, job, seed, on_update, options)


def open_engine(
    engine: str,
    workers: int | None = None,
    state: str | None = None,
    limits: Mapping[str, float] | None = None,
) -> Any:
    """The engine that a name or endpoint means: a context manager with `run(job, seed=, on_update=) -> Result`.

    Raises:
        BadParameters: there is no such engine, or it does not take this.
    """
    if workers is not None and (engine != "local" or workers < 1):
        raise BadParameters(f"workers={workers}: the local engine takes a number from 1; the others take none")
    if state is not None and engine != "local":
        raise BadParameters("state: only the local engine keeps its jobs in a folder; a coordinator has a store")
    if limits and engine != "local":
        raise BadParameters("limits: the local engine takes them; on a cluster each daf-worker has its own")
    if engine == "inline":
        from .inline import InlineEngine

        return InlineEngine()
    if engine == "local":
        from .local import LocalEngine

        return LocalEngine(workers, state=state, limits=limits)
    if is_endpoint(engine):
        from .cluster import ClusterEngine

        return ClusterEngine(engine)
    close = difflib.get_close_matches(engine, ("inline", "local", "tcp://HOST:PORT"), 1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise BadParameters(
        f"there is no engine {engine!r}: it is inline, local, or tcp://HOST:PORT of a coordinator{hint}"
    )


def is_endpoint(text: str) -> bool:
    """Whether a coordinator could be found there: tcp://HOST:PORT or ipc:///path."""
    scheme, _, rest = text.partition("://")
    host, _, port = rest.rpartition(":")
    return bool(rest) if scheme == "ipc" else scheme == "tcp" and bool(host) and port.isdigit() and int(port) < 65_536


def _on(engine: Any, job: J, seed: int | None, on_update: Any, options: dict[str, Any]) -> Result:
    from .. import plugins
    from .inline import InlineEngine

    if not isinstance(engine, InlineEngine):
        plugins.adopt(type(job))
    result: Result = engine.run(job, seed=seed, on_update=on_update, **options)
    return result
