"""Where slots come from: what every slot of a worker is told, and the first ones, which start before the worker has
loaded its own half.

Starting a slot takes a quarter of a second (it loads NumPy), and so does loading the worker's messages and sockets;
done side by side, a worker is ready in half the time. So this module loads little, and `main` makes a Nursery before
it imports the worker.
"""

from __future__ import annotations

import os
import socket

from .host import DataDirectory, host_id
from .process import SlotProcess, environment
from .settings import SlotSettings, WorkerSettings


class Nursery:
    """Holds the data directory, names the worker and its host, and starts slots."""

    def __init__(self, settings: WorkerSettings):
        self.settings = settings
        self.name = settings.name or f"{socket.gethostname()[:200]}-{os.getpid()}"
        self.host = settings.host or host_id()
        self.data = DataDirectory(settings.data_dir)
        self.slot_settings = SlotSettings(
            parent=os.getpid(),
            worker=self.name,
            host=self.host,
            node=self.data.node,
            blobs=str(self.data.blobs),
            scratch=str(self.data.scratch),
            plugins=settings.plugins,
            types=settings.types,
            keys=settings.keys,
            roots=settings.roots,
            task_memory=settings.task_memory,
            file_size=settings.file_size,
        )
        self._environment = environment(settings.threads)
        self._early = [self._start() for _ in range(settings.slots)]

    def slot(self) -> SlotProcess:
        """A slot of its own, started now unless one is waiting. Call it in the main thread: slots end with the thread
        that started them."""
        return self._early.pop() if self._early else self._start()

    def _start(self) -> SlotProcess:
        return SlotProcess(self.slot_settings, self._environment)

    def close(self) -> None:
        """End slots that nobody took, and let go of the data directory."""
        for slot in self._early:
            slot.kill()
            slot.end()
            slot.close()
        self.data.close()
