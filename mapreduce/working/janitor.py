"""Deletes released blobs, and what has been kept of them for later ones."""

from __future__ import annotations

import queue
import threading

from ..blobs import BlobStore
from ..recycle import IDLE
from ..wire.messages import Keep, Release


class Janitor:
    """Deletes released units in a thread: a folder with a hundred thousand files must not hold up a heartbeat."""

    def __init__(self, store: BlobStore):
        self._store = store
        self._todo: queue.SimpleQueue[Release | Keep | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="daf-janitor", daemon=True)
        self._thread.start()

    def release(self, message: Release | Keep) -> None:
        """Delete what the message says, soon."""
        self._todo.put(message)

    def _run(self) -> None:
        kept = True
        while True:
            try:
                message = self._todo.get(timeout=IDLE if kept else None)
            except queue.Empty:
                kept = self._store.pool.trim()
                continue
            if message is None:
                return
            if isinstance(message, Keep):
                self._store.keep(message.below, {item.job: (item.stage, set(item.units)) for item in message.jobs})
            else:
                self._store.release(message.job, message.units)
            kept = True

    def close(self) -> None:
        self._todo.put(None)
        self._thread.join()
