"""Progress of a job on stderr: a live bar on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import click

from ..wire.messages import Update
from .output import duration, told

EVERY = 5.0
"""Seconds between plain lines."""
LONG = 32
"""Letters of a stage's name from which on it stands at the end of the live line."""
WINDOW = 10.0
"""Seconds over which a counter's rate is taken: one that a job no longer counts is soon not shown."""


class Display(Protocol):
    def update(self, update: Update) -> None: ...


@dataclass
class Pace:
    """How fast a job goes and when it will end: the whole job where it says how far it is (`Stage.share`), else the
    stage at hand. Rates of tasks are those since the stage was first seen, those of counters are of late."""

    share: float = 0.0
    rate: str = ""
    left: float | None = None
    _began: tuple[int, float, float] = (-1, 0.0, 0.0)
    _counted: deque[tuple[float, int]] = field(default_factory=deque)

    def see(self, update: Update, now: float) -> None:
        """Take an update into account."""
        whole = update.whole > 0
        self.share = max(0.0, min(1.0, update.whole if whole else update.progress))
        stage = -2 if whole else update.stage
        if stage != self._began[0] or self.share < self._began[2]:
            self._began = (stage, now, self.share)
        seconds, gained = now - self._began[1], self.share - self._began[2]
        self.left = (1 - self.share) * seconds / gained if seconds > 0 and gained > 0 else None
        tasks = (update.maps + update.reduces) * gained
        self.rate = (
            f"{tasks / seconds:.1f} tasks/s" if seconds > 0 and tasks and not whole else self._counter(update, now)
        )

    def _counter(self, update: Update, now: float) -> str:
        """The rate of the counter that the job named first."""
        name, value = next(iter(told(update.counters).items()), ("", 0))
        if not name:
            return ""
        self._counted.append((now, value))
        while len(self._counted) > 2 and now - self._counted[1][0] >= WINDOW:
            self._counted.popleft()
        then, before = self._counted[0]
        return f"{name} {short((value - before) / (now - then))}/s" if now > then and value > before else ""


def short(value: float) -> str:
    """123, 12.3k, 1.2M."""
    for unit in ("", "k", "M"):
        if value < 1000:
            return f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g}G"


def sentence(update: Update, pace: Pace) -> str:
    """Where a job is, in one line of text."""
    parts = [f"{update.type}: {update.state}"]
    if update.whole > 0:
        parts[0] = f"{update.type}: {100 * pace.share:.0f} %"
    if update.stage_name not in ("", "main"):
        parts.append(update.stage_name)
    if update.maps + update.reduces and not update.whole > 0:
        parts.append(f"{update.maps_done}/{update.maps} maps, {update.reduces_done}/{update.reduces} reduces")
    if pace.rate:
        parts.append(pace.rate)
    if pace.left is not None and pace.share < 1:
        parts.append(f"{duration(pace.left)} left" + ("" if update.whole > 0 else " in this stage"))
    if update.retries:
        parts.append(f"{update.retries} retries")
    if update.bad:
        parts.append(f"{update.bad} set aside")
    return ", ".join(parts) + (f" ({update.note})" if update.note else "") + f" [{duration(update.elapsed)}]"


class Lines:
    """A line every `EVERY` seconds, and one when a job of several stages begins another."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._told = time.monotonic() - EVERY + 1.0

    def update(self, update: Update) -> None:
        now = time.monotonic()
        self._pace.see(update, now)
        if now - self._told >= EVERY:
            self._told = now
            click.echo(sentence(update, self._pace), err=True)


class Bar:
    """One live line, drawn by rich."""

    def __init__(self, bars: Any, name: str):
        self._bars = bars
        self._task = bars.add_task(name, total=None, rate="", left="", note="")
        self._pace = Pace()

    def update(self, update: Update) -> None:
        pace = self._pace
        pace.see(update, time.monotonic())
        name = update.stage_name if update.stage_name not in ("", "main") else update.state
        long = len(name) > LONG  # at the end of the line, where a narrow terminal may cut it
        self._bars.update(
            self._task,
            description=update.type if long else f"{update.type} · {name}",
            completed=100 * pace.share,
            total=100 if pace.share else None,
            rate=pace.rate,
            left=f"{duration(pace.left)} left" if pace.left is not None and pace.share < 1 else "",
            note=f"{name} " * long
            + f"{update.retries} retries " * bool(update.retries)
            + f"{update.bad} set aside " * bool(update.bad)
            + update.note,
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
        from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]} {task.fields[note]}", markup=False),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            yield Bar(bars, name)
