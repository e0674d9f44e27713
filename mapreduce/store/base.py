"""The store: what the coordinator must still know after it was killed.

A small part of what Redis offers, so that Redis can be one of the stores: strings, hashes and lists under text keys,
values of bytes. Writes are buffered and take effect together in `commit`, as in MULTI/EXEC; reads see what was
committed. A commit either happened whole or not at all, and when it fails the buffer stays, so it can be tried again
once there is room on the disk.

A key keeps the type of its first write until it is deleted. One process at a time owns a store. A method may raise
`StoreError`, whose text says what to do; nothing else leaves a store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

FORMAT = 1
"""Version of what the coordinator keeps in a store. Raised when an older version of DAF could no longer read it."""


class Store(ABC):
    """Keys are text, fields are text, values are bytes.

    `passing` is called, where a test set it, with the name of each point of a commit at which the process may die.
    """

    passing: Callable[[str], None] | None = None
    syncs = True
    """Whether a commit that is to be synced waits for the disk. If not, there is nothing that a power cut may not
    take."""

    def __init__(self) -> None:
        self._pending: list[tuple[str, str, tuple[object, ...]]] = []

    # ------------------------------------------------------------------------------------------------------- writes

    def set(self, key: str, value: bytes) -> None:
        """Set a string."""
        self._pending.append(("set", key, (value,)))

    def hset(self, key: str, field: str, value: bytes) -> None:
        """Set one field of a hash."""
        self._pending.append(("hset", key, (field, value)))

    def hdel(self, key: str, *fields: str) -> None:
        """Delete fields of a hash; those that are not there do not matter."""
        self._pending.append(("hdel", key, fields))

    def rpush(self, key: str, *values: bytes) -> None:
        """Append to a list."""
        if values:
            self._pending.append(("rpush", key, values))

    def delete(self, *keys: str) -> None:
        """Delete whatever stands under these keys."""
        self._pending.extend(("delete", key, ()) for key in keys)

    @property
    def pending(self) -> int:
        """How many writes wait for `commit`."""
        return len(self._pending)

    @abstractmethod
    def commit(self, sync: bool = True) -> None:
        """Make the buffered writes happen, all or none. With `sync` they survive a power cut once this returns (where
        the store was opened to promise that); without, they survive the death of this process, and a power cut may take
        the last of them.

        Raises StoreError when they could not be written; they stay buffered.
        """

    # -------------------------------------------------------------------------------------------------------- reads

    @abstractmethod
    def get(self, key: str) -> bytes | None:
        """A string, or None."""

    @abstractmethod
    def hget(self, key: str, field: str) -> bytes | None:
        """One field of a hash, or None."""

    @abstractmethod
    def hgetall(self, key: str) -> dict[str, bytes]:
        """A whole hash; empty when there is none."""

    @abstractmethod
    def llen(self, key: str) -> int:
        """Length of a list; 0 when there is none."""

    @abstractmethod
    def lrange(self, key: str, start: int = 0, stop: int = -1) -> list[bytes]:
        """Items start to stop of a list, `stop` included; negative numbers count from the end, as in Redis."""

    @abstractmethod
    def scan(self, prefix: str = "") -> Iterator[str]:
        """All keys that begin with `prefix`, of whatever type, in order."""

    @abstractmethod
    def close(self) -> None:
        """Give the store back. What was not committed is lost. Closing twice does no harm."""


def span(start: int, stop: int, length: int) -> range:
    """The positions that Redis' LRANGE start stop means for a list of `length`."""
    start = max(start + length, 0) if start < 0 else start
    stop = stop + length if stop < 0 else stop
    return range(start, min(stop + 1, length))
