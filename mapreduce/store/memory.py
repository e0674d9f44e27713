"""The store that forgets: dictionaries, for the local engine and for tests. It ends with its process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .base import Store, span


class MemoryStore(Store):
    """A store in dictionaries."""

    syncs = False

    def __init__(self) -> None:
        super().__init__()
        self._data: dict[str, Any] = {}

    def commit(self, sync: bool = True) -> None:
        for operation, key, args in self._pending:
            getattr(self, f"_{operation}")(key, *args)
        self._pending.clear()

    def _set(self, key: str, value: bytes) -> None:
        self._data[key] = bytes(value)

    def _hset(self, key: str, field: str, value: bytes) -> None:
        self._data.setdefault(key, {})[field] = bytes(value)

    def _hdel(self, key: str, *fields: str) -> None:
        here = self._data.get(key, {})
        for field in fields:
            here.pop(field, None)
        if not here:
            self._data.pop(key, None)

    def _rpush(self, key: str, *values: bytes) -> None:
        self._data.setdefault(key, []).extend(map(bytes, values))

    def _delete(self, key: str) -> None:
        self._data.pop(key, None)

    def get(self, key: str) -> bytes | None:
        return self._data.get(key)

    def hget(self, key: str, field: str) -> bytes | None:
        return self._data.get(key, {}).get(field)

    def hgetall(self, key: str) -> dict[str, bytes]:
        return dict(self._data.get(key, {}))

    def llen(self, key: str) -> int:
        return len(self._data.get(key, ()))

    def lrange(self, key: str, start: int = 0, stop: int = -1) -> list[bytes]:
        items = self._data.get(key, [])
        return [items[index] for index in span(start, stop, len(items))]

    def scan(self, prefix: str = "") -> Iterator[str]:
        yield from sorted(key for key in self._data if key.startswith(prefix))

    def close(self) -> None:
        self._pending.clear()
        self._data.clear()
