"""What commands print: one JSON object, or text for people. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ..errors import JobCancelled, JobFailed
from ..job import Result

SHOWN, SHOWN_LINES = 10, 12
"""Splits that were set aside which are named, and lines of each traceback."""


def emit(value: Any) -> None:
    """One JSON object on stdout."""
    click.echo(json.dumps(value, default=plain, ensure_ascii=False))


def plain(value: Any) -> Any:
    """What JSON has no word for: arrays and NumPy scalars as lists and numbers, bytes and paths as text."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return str(value)


def failure(error: BaseException, code: int) -> str:
    """The JSON object of a command that failed."""
    message = error.format_message() if isinstance(error, click.ClickException) else str(error)
    about: dict[str, Any] = {"type": type(error).__name__, "message": message, "exit_code": code}
    detail = getattr(error, "error", None)
    if isinstance(error, JobFailed) and detail is not None:
        for name in ("kind", "traceback", "worker", "input", "exit_code", "signal", "peak_memory", "log"):
            about["task_exit_code" if name == "exit_code" else name] = getattr(detail, name, None)
        about["message"] = f"{detail.type}: {detail.message}"
    status = "cancelled" if isinstance(error, JobCancelled) else "failed"
    return json.dumps({"status": status, "job": getattr(error, "job", None), "error": about}, default=plain)


def result(done: Result, as_json: bool, quiet: bool) -> None:
    """A job's result: its value on stdout, or, when it has neither value nor artifacts, its pairs."""
    if as_json:
        emit(done.to_dict())
        return
    if done.value is not None:
        show(done.value)
    elif not done.artifacts:
        for key, value in done:
            click.echo(f"{_word(key)}\t{_word(value)}")
    sys.stdout.flush()
    set_aside(done.skipped, brief=quiet)
    if done.metrics.get("diverged"):
        text = f"warning: {done.metrics['diverged']:.0f} tasks gave other bytes when they were run again; another run "
        text += "may end otherwise, for the job type is not deterministic (daf explain names the tasks)"
        click.echo(text, err=True)
    if not quiet:
        for artifact in done.artifacts[:20]:
            click.echo(f"{artifact.path}  {size(artifact.size)}  sha256 {artifact.sha256[:16]}…", err=True)
        if len(done.artifacts) > 20:
            click.echo(f"… and {len(done.artifacts) - 20} files more (--json names all)", err=True)
        counters = "".join(f", {count:,} {name}" for name, count in sorted(told(done.counters).items()))
        bad = f", {len(done.skipped)} set aside" if done.skipped else ""
        click.echo(f"{done.type}: done in {duration(done.metrics.get('seconds', 0.0))}{bad}{counters}", err=True)


def told(counters: Mapping[str, int]) -> dict[str, int]:
    """The counters that people are shown: all but those whose names begin with an underscore, which a job keeps for
    itself."""
    return {name: count for name, count in counters.items() if not name.startswith("_")}


def set_aside(skipped: Sequence[Any], brief: bool = False) -> None:
    """The splits that the result is without: never silent."""
    if not skipped:
        return
    many = len(skipped)
    click.echo(f"{many} split{'s were' if many > 1 else ' was'} set aside; the result is without them:", err=True)
    for item in skipped[:SHOWN]:
        where = f"stage {item.stage}, " if item.stage else ""
        click.echo(f"  {where}{item.input or f'map {item.task}'}: {item.type}: {item.message}", err=True)
        for line in () if brief else item.traceback.rstrip().splitlines()[:SHOWN_LINES]:
            click.echo(f"    {line}", err=True)
    if many > SHOWN:
        click.echo(f"  … and {many - SHOWN} more (--json names all)", err=True)


def show(value: Any) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            click.echo(f"{name}: {_row(item) if isinstance(item, dict) else _word(item)}")
    elif isinstance(value, list | tuple):
        for item in value:
            click.echo("\t".join(map(_word, item)) if isinstance(item, list | tuple) else _word(item))
    else:
        click.echo(_word(value))


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return json.dumps(value, default=plain, ensure_ascii=False)


def _row(item: dict[str, Any]) -> str:
    """One of several named things, in a line: what is known of it, figures short."""
    short = {key: f"{value:.4g}" if isinstance(value, float) else _word(value) for key, value in item.items()}
    return ", ".join(f"{key} {short[key]}" for key, value in item.items() if value is not None)


def size(count: float) -> str:
    """Bytes for people: 1.4 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """Seconds for people: 0.42 s, 12 s, 3:05, 2:03:05."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def table(head: list[str], rows: list[list[str]]) -> None:
    """Aligned columns on stdout."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        click.echo("  ".join(word.ljust(width) for word, width in zip(row, widths)).rstrip())
