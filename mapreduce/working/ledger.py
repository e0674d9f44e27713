"""What a worker holds: attempts that wait, attempts that a slot has, results that the coordinator has not acknowledged.

No socket, clock or process here. `Queue` hands out work in the order it came, batch by batch as the coordinator sent
it. `Outbox` keeps every result message until it is acknowledged: when the coordinator comes back from the dead, they
are what it may have lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import msgspec

from ..wire.messages import Assign, TaskKey
from .gauge import Key


def keys_of(assign: Assign) -> list[Key]:
    """The attempts that an Assign names."""
    job, stage, kind = assign.job, assign.stage, assign.kind
    return [(job, stage, kind, index, attempt) for index, attempt in assign.tasks]


def subset(assign: Assign, keys: Iterable[Key]) -> Assign:
    """The same message for some of its attempts only, with the inputs that those read."""
    tasks = tuple((key[3], key[4]) for key in keys)
    inputs = assign.inputs
    if inputs:
        wanted = {index for index, _ in tasks}
        inputs = tuple(item for item in inputs if item.index in wanted)
    return msgspec.structs.replace(assign, tasks=tasks, inputs=inputs)


class Queue:
    """Attempts that no slot has yet."""

    def __init__(self) -> None:
        self._batches: deque[tuple[Assign, deque[Key]]] = deque()
        self._held: set[Key] = set()

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._held)

    def __contains__(self, key: Key) -> bool:
        return key in self._held

    def add(self, assign: Assign, keys: Iterable[Key], *, front: bool = False) -> None:
        """Take attempts of `assign`: at the end, or at the front when they have waited before."""
        waiting = deque(keys)
        if waiting:
            self._held.update(waiting)
            (self._batches.appendleft if front else self._batches.append)((assign, waiting))

    def unit(self) -> tuple[int, int, int] | None:
        """(job, stage, kind) of what `take` gives next, or None when nothing waits."""
        while self._batches:
            assign, waiting = self._batches[0]
            while waiting and waiting[0] not in self._held:
                waiting.popleft()
            if waiting:
                return assign.job, assign.stage, assign.kind
            self._batches.popleft()
        return None

    def take(self, count: int) -> tuple[Assign, list[Key]] | None:
        """Up to `count` attempts of the first batch, or None when nothing waits."""
        while self._batches:
            assign, waiting = self._batches[0]
            keys: list[Key] = []
            while waiting and len(keys) < count:
                key = waiting.popleft()
                if key in self._held:
                    self._held.discard(key)
                    keys.append(key)
            if not waiting:
                self._batches.popleft()
            if keys:
                return assign, keys
        return None

    def drop(self, keys: Iterable[Key]) -> None:
        """Forget attempts (those that are not here are ignored)."""
        self._held.difference_update(keys)


class Outbox:
    """Result messages in the order in which they were made: those on their way, and those that wait for a
    connection."""

    def __init__(self) -> None:
        self._messages: deque[tuple[bytes, tuple[Key, ...]]] = deque()
        self._sent = 0
        self._acknowledged = 0

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, frame: bytes, keys: Iterable[Key]) -> None:
        self._messages.append((frame, tuple(keys)))

    @property
    def unsent(self) -> int:
        return len(self._messages) - self._sent

    def next(self) -> bytes | None:
        """The next message to send, or None."""
        return self._messages[self._sent][0] if self._sent < len(self._messages) else None

    def sent(self) -> None:
        """The message that `next` gave is on its way."""
        self._sent += 1

    def acknowledge(self, results: int) -> None:
        """The coordinator has handled the first `results` messages of this incarnation."""
        count = min(results - self._acknowledged, self._sent)
        for _ in range(count):
            self._messages.popleft()
        if count > 0:
            self._acknowledged += count
            self._sent -= count

    def rewind(self) -> None:
        """A new incarnation: all that was not acknowledged has to be sent again."""
        self._sent = self._acknowledged = 0

    def keys(self) -> Iterator[Key]:
        """The attempts whose results are in here."""
        for _, keys in self._messages:
            yield from keys


def task_keys(keys: Iterable[Key]) -> tuple[TaskKey, ...]:
    """As they go into messages."""
    return tuple(TaskKey(*key) for key in keys)
