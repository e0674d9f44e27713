"""Commands that ask a running coordinator: jobs, watch, explain, cancel, forget, workers, ping."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import click

from .connect import COORDINATOR, DEFAULT, Endpoint, connect


def coordinator(command: click.Command) -> click.Command:
    """Adds the option that says which coordinator."""
    command.params.append(COORDINATOR)
    return command


def as_json(function: Any) -> Any:
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(function)


def _job(update: Any) -> dict[str, Any]:
    names = (
        "job type state stage stage_name maps maps_done reduces reduces_done running retries elapsed owner priority bad"
    )
    about = {name: getattr(update, name) for name in (*names.split(), "note")} | {"counters": dict(update.counters)}
    if update.error is not None:
        about["error"] = {"type": update.error.type, "message": update.error.message, "kind": update.error.kind}
    return about


@coordinator
@click.command()
@as_json
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="How many at most.")
def jobs(coordinator: str, as_json: bool, limit: int) -> None:
    """List the jobs of a coordinator, the newest first."""
    from .output import duration, emit, table

    with connect(coordinator) as client:
        found = client.jobs(limit)
    if as_json:
        emit({"jobs": [_job(update) for update in found]})
        return
    rows = [
        [
            str(u.job), u.type, u.state, u.stage_name, f"{u.maps_done}/{u.maps}", f"{u.reduces_done}/{u.reduces}",
            duration(u.elapsed), u.owner,
        ]
        for u in found
    ]  # fmt: skip
    table(["JOB", "TYPE", "STATE", "STAGE", "MAPS", "REDUCES", "TIME", "OWNER"], rows)


@coordinator
@click.command()
@click.argument("job", type=click.IntRange(0))
@as_json
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def watch(job: int, coordinator: str, as_json: bool, quiet: bool) -> None:
    """Follow a job until it ends; Ctrl-C ends the watching, not the job."""
    from ..client import outcome
    from ..engines.cluster import skipped
    from ..tasks import unpack_value
    from . import output, progress

    with connect(coordinator) as client, progress.display(f"job {job}", quiet) as shown:
        shown.update(client.update(job))
        client.patience = 60.0  # now that it is known to be there, it may be away for a while
        try:
            for update in client.watch(job):
                shown.update(update)
        except KeyboardInterrupt:
            click.echo(f"\njob {job} runs on; daf cancel {job} would end it", err=True)
            raise
    outcome(update)
    value, files = unpack_value(update.value) if update.value else (None, [])
    skips = [skipped(item.stage, item.index, item.error) for item in update.skipped]
    if as_json:
        artifacts = [{"path": path, "sha256": digest, "size": count} for path, digest, count in files]
        about = {"job": job, "type": update.type, "status": "done", "value": value, "artifacts": artifacts}
        about |= {"counters": dict(update.counters), "metrics": {"seconds": update.elapsed}}
        output.emit(about | {"skipped": [asdict(item) for item in skips]})
        return
    if value is not None:
        output.show(value)
    output.set_aside(skips, brief=quiet)
    for path, digest, count in files:
        click.echo(f"{path}  {output.size(count)}  sha256 {digest[:16]}…", err=True)
    click.echo(f"job {job} ({update.type}): done in {output.duration(update.elapsed)}", err=True)


@coordinator
@click.command()
@click.argument("job", type=click.IntRange(0))
@as_json
def explain(job: int, coordinator: str, as_json: bool) -> None:
    """Say why a job is where it is."""
    from .output import emit

    with connect(coordinator) as client:
        lines = client.explain(job)
    if as_json:
        emit({"job": job, "lines": list(lines)})
    else:
        click.echo("\n".join(lines))


@coordinator
@click.command()
@click.argument("job", type=click.IntRange(0), nargs=-1, required=True)
@as_json
@click.option("--reason", default="", help="Shown to whoever asks.")
def cancel(job: tuple[int, ...], coordinator: str, as_json: bool, reason: str) -> None:
    """Cancel jobs. Those that have ended stay as they are."""
    from .output import emit

    with connect(coordinator) as client:
        ended = [client.cancel(number, reason) for number in job]
    if as_json:
        emit({"jobs": [{"job": update.job, "state": update.state} for update in ended]})
    for update in ended if not as_json else ():
        said = "cancelled" if update.state == "cancelled" else f"had ended before: {update.state}"
        click.echo(f"job {update.job} ({update.type}): {said}")


@coordinator
@click.command()
@click.argument("job", type=click.IntRange(0), nargs=-1, required=True)
@as_json
def forget(job: tuple[int, ...], coordinator: str, as_json: bool) -> None:
    """Keep nothing of jobs that have ended: their values and outputs are deleted."""
    from .output import emit

    with connect(coordinator) as client:
        for number in job:
            client.forget(number)
            if not as_json:
                click.echo(f"job {number}: forgotten")
    if as_json:
        emit({"forgotten": list(job)})


@coordinator
@click.command()
@as_json
def workers(coordinator: str, as_json: bool) -> None:
    """List the workers of a coordinator."""
    from .output import emit, size, table

    with connect(coordinator) as client:
        found = client.workers()
    if as_json:
        names = ("worker", "host", "slots", "running", "memory", "state", "since", "plugins")
        emit({"workers": [{name: getattr(worker, name) for name in names} for worker in found]})
        return
    rows = [
        [w.worker, w.host, str(w.slots), str(w.running), size(w.memory), w.state, ", ".join(sorted(w.plugins))]
        for w in found
    ]
    table(["WORKER", "HOST", "SLOTS", "RUNNING", "MEMORY", "STATE", "JOB TYPES"], rows)
    if not found:
        click.echo(f"no worker is connected; start one with: daf-worker {coordinator}", err=True)


@click.command()
@click.argument("endpoint", type=Endpoint(), default=DEFAULT, envvar="DAF_COORDINATOR", metavar="[ENDPOINT]")
@as_json
@click.option("--timeout", type=click.FloatRange(0, min_open=True), default=3.0, show_default=True, help="Seconds.")
def ping(endpoint: str, as_json: bool, timeout: float) -> None:
    """Ask whether a coordinator is there; exit code 7 if not."""
    from .output import duration, emit, size

    with connect(endpoint, patience=timeout) as client:
        begin = time.perf_counter()
        pong = client.ping()
        taken = time.perf_counter() - begin
    if as_json:
        about = {name: getattr(pong, name) for name in ("coordinator", "uptime", "jobs", "workers", "memory")}
        emit({"endpoint": endpoint, "seconds": taken} | about)
        return
    up = f"up {duration(pong.uptime)}, {pong.jobs} jobs, {pong.workers} workers, {size(pong.memory)} resident"
    click.echo(f"{endpoint}: {pong.coordinator} answered in {taken * 1000:.1f} ms; {up}")
