"""The seal: how far a store had come, written beside it after each commit, so that nothing can be missing in silence.

SQLite's log tells a torn end by its checksums, and drops it. It cannot tell a torn end from damage: a bit that flipped
in the log, a log that was deleted, a file that was put back from a backup all look like a store that had not come as
far. The store therefore counts its commits, in the transaction itself, and once that has returned notes the number in
`STORE.seal`: one line, overwritten in place, never synced, so it costs a microsecond.

What the line says can be relied on, because it is written later than what it speaks of. A process that is killed
between the two leaves a line that is one behind, which harms nothing. As long as the machine was not booted since, all
that was committed has to be there: the kernel writes what a killed process gave it. After another boot (perhaps after
a power cut) all that was synced has to be there; the line may itself have been lost or be old, never ahead.

    daf-seal 1 STORE BOOT COMMITTED SYNCED CRC
"""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..boot import boot_id

_LENGTH = 90


@dataclass(frozen=True)
class Mark:
    """What a seal says: of the store with the id `store`, at the boot `boot`, the newest commit and the newest synced
    one."""

    store: str
    boot: str
    committed: int
    synced: int

    def due(self) -> int:
        """The commit that has to be there."""
        return self.committed if self.boot and self.boot == boot_id() else self.synced


class Seal:
    """The seal of the store at `path`. It is made with the first `write`."""

    def __init__(self, path: Path):
        self.path = path.with_name(path.name + ".seal")
        self._file: int | None = None

    def read(self) -> Mark | None:
        """What it says; None where there is none, or it is damaged itself."""
        try:
            line = self.path.read_bytes()[:_LENGTH]
            text, _, crc = line.decode("ascii").rstrip().rpartition(" ")
            name, version, store, boot, committed, synced = text.split(" ")
            if (name, version) == ("daf-seal", "1") and int(crc, 16) == zlib.crc32(text.encode()):
                return Mark(store, boot.strip("-"), int(committed), int(synced))
        except (OSError, ValueError):
            return None
        return None

    def write(self, mark: Mark) -> None:
        """Note it. On a disk that takes nothing the old line stays, which claims less."""
        text = f"daf-seal 1 {mark.store} {mark.boot or '-'} {mark.committed:018d} {mark.synced:018d}"
        line = f"{text} {zlib.crc32(text.encode()):08x}".ljust(_LENGTH - 1).encode() + b"\n"
        with suppress(OSError):
            if self._file is None:
                self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            os.pwrite(self._file, line, 0)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
