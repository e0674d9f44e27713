"""Where slots come from: what every slot of a worker is told, and the zygote that forks them.

A worker of a local engine gets a connection to the engine's zygote. One that runs by itself starts its own before it
loads its own half, so that both load side by side; and so does one whose zygote has died."""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import suppress

from ..errors import DafError
from .forks import Gone, Zygote, environment
from .host import DataDirectory, host_id
from .process import SlotProcess
from .settings import SlotSettings, WorkerSettings


class Nursery:
    """Holds the data directory, names the worker and its host, and starts slots.

    Args:
        zygote: where slots come from; one is started if there is none.
    """

    def __init__(self, settings: WorkerSettings, zygote: Zygote | None = None):
        self.settings = settings
        self._zygote = zygote or self._start()
        self.name = settings.name or f"{socket.gethostname()[:200]}-{os.getpid()}"
        self.host = settings.host or host_id()
        self.data = DataDirectory(settings.data_dir)
        self._slot_settings = SlotSettings(
            worker=self.name,
            host=self.host,
            node=self.data.node,
            blobs=str(self.data.blobs),
            scratch=str(self.data.scratch),
            plugins=settings.plugins,
            path=settings.path,
            types=settings.types,
            keys=settings.keys,
            roots=settings.roots,
            task_memory=settings.task_memory,
            task_output=settings.task_output or max(1 << 20, shutil.disk_usage(self.data.path).free // 2),
            task_files=settings.task_files,
            file_size=settings.file_size or max(1 << 30, self._room() // 2),
        )

    def _room(self) -> int:
        """Free bytes of the data directory or the working folder, where there is more."""
        return max(shutil.disk_usage(place).free for place in (self.data.path, os.getcwd()))

    def ask(self) -> int:
        """A descriptor that is readable when slots can be started without waiting; `heard` has to be called then."""
        try:
            return self._zygote.ask()
        except Gone:
            self._zygote.close()
            self._zygote = self._start()
            return self._zygote.ask()

    def heard(self) -> None:
        """The descriptor of `ask` has become readable."""
        with suppress(Gone):  # whoever wants a slot will notice
            self._zygote.heard()

    def slot(self) -> SlotProcess:
        """A slot of its own. Call it in the main thread: a zygote ends with the thread that started it.

        Raises:
            DafError: the zygote cannot be started.
        """
        try:
            return SlotProcess(self._slot_settings, self._zygote)
        except Gone:
            self._zygote.close()
            self._zygote = self._start()
        try:
            return SlotProcess(self._slot_settings, self._zygote)
        except Gone as error:
            raise DafError(f"task processes cannot be started (the reason stands above, on stderr): {error}") from error

    def _start(self) -> Zygote:
        return Zygote.start("slots", environment(self.settings.threads))

    def close(self) -> None:
        """Let go of the zygote, and of the data directory."""
        self._zygote.close()
        self.data.close()
