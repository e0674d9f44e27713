"""Progress of a job on stderr: a live bar on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import click

from ..wire.messages import Update
from .output import duration

EVERY = 5.0
"""Seconds between plain lines."""


class Display(Protocol):
    def update(self, update: Update) -> None: ...


class Pace:
    """How fast a stage goes and when it will end, from the tasks done since it was first seen."""

    def __init__(self) -> None:
        self.stage = -1
        self.began = 0.0
        self.first = 0.0

    def see(self, update: Update, now: float) -> tuple[float, float, float, float | None]:
        """(tasks done, tasks in all, tasks a second, seconds left or None)."""
        total = float(update.maps + update.reduces)
        done, stage = max(0.0, min(1.0, update.progress)) * total, update.stage
        if update.whole > 0:
            done, total, stage = update.whole * 100, 100.0, 0
        if stage != self.stage or done < self.first:
            self.stage, self.began, self.first = stage, now, done
        rate = (done - self.first) / (now - self.began) if now > self.began else 0.0
        return done, total, rate, (total - done) / rate if rate > 0 else None


def sentence(update: Update, pace: tuple[float, float, float, float | None]) -> str:
    """Where a job is, in one line of text."""
    done, total, rate, left = pace
    parts = [f"{update.type}: {update.state}"]
    if update.stage_name not in ("", "main"):
        parts.append(update.stage_name)
    if total:
        parts.append(f"{update.maps_done}/{update.maps} maps, {update.reduces_done}/{update.reduces} reduces")
    if rate > 0 and done < total:
        parts.append(f"{rate:.1f} tasks/s")
    if left is not None and done < total:
        parts.append(f"{duration(left)} left in this stage")
    if update.retries:
        parts.append(f"{update.retries} retries")
    return ", ".join(parts) + (f" ({update.note})" if update.note else "") + f" [{duration(update.elapsed)}]"


class Lines:
    """A line every `EVERY` seconds, and one when a job of several stages begins another."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._told = time.monotonic() - EVERY + 1.0

    def update(self, update: Update) -> None:
        now = time.monotonic()
        pace = self._pace.see(update, now)
        if now - self._told >= EVERY:
            self._told = now
            click.echo(sentence(update, pace), err=True)


class Bar:
    """One live line, drawn by rich."""

    def __init__(self, bars: Any, name: str):
        self._bars = bars
        self._task = bars.add_task(name, total=None, rate="", left="", note="")
        self._pace = Pace()

    def update(self, update: Update) -> None:
        done, total, rate, left = self._pace.see(update, time.monotonic())
        name = update.stage_name if update.stage_name not in ("", "main") else update.state
        self._bars.update(
            self._task,
            description=f"{update.type} · {name}",
            completed=done,
            total=total or None,
            rate=f"{rate:.1f}/s" if rate else "",
            left=f"{duration(left)} left" if left is not None and done < total else "",
            note=f"{update.retries} retries " * bool(update.retries) + update.note,
        )


class Silence:
    def update(self, update: Update) -> None:
        return None


@contextmanager
def display(name: str, quiet: bool = False) -> Iterator[Display]:
    """What shows a job's progress; erased when the job has ended."""
    if quiet:
        yield Silence()
    elif not sys.stderr.isatty():
        yield Lines()
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]} {task.fields[note]}", markup=False),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            yield Bar(bars, name)
