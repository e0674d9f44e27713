"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Any

EVERY = 5.0


class Progress:
    """Counts work done out of `total`; to be used in a `with`. Safe to advance from several threads."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done = what, total, 0
        self._lock, self._start, self._told = threading.Lock(), time.monotonic(), time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich import progress as bars
            from rich.console import Console

            columns = (
                bars.TextColumn("{task.description}"),
                bars.BarColumn(),
                bars.TaskProgressColumn(),
                bars.TimeRemainingColumn(),
            )
            self._bar = bars.Progress(*columns, console=Console(stderr=True))
            self._bar.start()
            self._task = self._bar.add_task(self.what, total=self.total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, count: int = 1) -> None:
        """`count` more are done."""
        with self._lock:
            self.done += count
            now = time.monotonic()
            if self._bar is not None:
                self._bar.update(self._task, completed=self.done)
            elif now - self._told >= EVERY:
                self._told = now
                left = (now - self._start) / self.done * (self.total - self.done)
                share = f"{100 * self.done / self.total:.0f} %"
                print(f"{self.what}: {share} done, about {left:.0f} s left", file=sys.stderr, flush=True)

    def say(self, line: str) -> None:
        """A line of result, to standard output."""
        print(line, flush=True)
