"""Deletes released blobs."""

from __future__ import annotations

import queue
import threading

from ..blobs import BlobStore
from ..wire.messages import Release


class Janitor:
    """Deletes released units in a thread: a folder with a hundred thousand files must not hold up a heartbeat."""

    def __init__(self, store: BlobStore):
        self._store = store
        self._todo: queue.SimpleQueue[Release | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="daf-janitor", daemon=True)
        self._thread.start()

    def release(self, message: Release) -> None:
        self._todo.put(message)

    def _run(self) -> None:
        while (message := self._todo.get()) is not None:
            self._store.release(message.job, message.units)

    def close(self) -> None:
        self._todo.put(None)
        self._thread.join()
