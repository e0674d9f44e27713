"""How many bytes one task may write into its node's data directory: its output, and what it spills on the way.

Without a bound one task that yields without end would fill the disk (or, where the directory is in memory, the memory)
and take everybody's tasks along. A task that goes beyond it ends with an error that says the bound. What a process
fetches from other nodes is not the task's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import DafError


class OutputTooLarge(DafError):
    """A task has written more than it may."""


class Allowance:
    """Counts the task at hand; `limit` of 0: no bound."""

    def __init__(self) -> None:
        self.limit = self.written = 0
        self._paused = False

    def begin(self) -> None:
        """Another task."""
        self.written = 0

    def allows(self, count: int) -> bool:
        """Whether the task at hand may write so many bytes more."""
        return not self.limit or self._paused or self.written + count <= self.limit

    def spend(self, count: int) -> None:
        """So many bytes are about to be written. Raises OutputTooLarge."""
        if self.limit and not self._paused:
            self.written += count
            if self.written > self.limit:
                raise OutputTooLarge(
                    f"this task has written more than {self.limit} bytes of output and spills, which is all that one "
                    "may here (half of what the data directory had free when the worker started, unless --task-output "
                    "of daf-worker, or --limit output=... of daf run, says how much): make its split smaller, combine "
                    "what it yields, or give it more room"
                )

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is written in here is not the task's."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before


allowance = Allowance()
"""This process's."""
