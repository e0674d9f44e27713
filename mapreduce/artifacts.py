"""Artifacts: files that a job leaves for its user, whole or not at all.

The file is written beside its place under a temporary name, hashed as it is written, and renamed when the block ends
well; so a crash, a full disk or an error leaves the old file (or none), never half of a new one."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from .pages import WRITE


class ArtifactFile:
    """An open artifact: use it as a file; after its block `record()` is (absolute path, SHA-256 in hex, size in
    bytes)."""

    def __init__(self, path: Path, temporary: str, raw: IO[Any]):
        self.path = path
        self.temporary = Path(temporary)
        self._raw = raw
        self._record: tuple[str, str, int] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._raw)

    def record(self) -> tuple[str, str, int]:
        """Plain data for a value or for `ctx.keep`. Raises ValueError while the file is still open."""
        if self._record is None:
            raise ValueError(f"{self.path} is still being written; ask for its record after the with block")
        return self._record

    def seal(self) -> None:
        self._raw.flush()
        with ThreadPoolExecutor(1) as other:  # the disk writes while this core hashes
            written = other.submit(os.fsync, self._raw.fileno())
            with open(self.temporary, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            written.result()
        self._raw.close()
        self._record = (str(self.path), digest, self.temporary.stat().st_size)


class _Pieces(io.FileIO):
    """A file that takes no more at once than is good for it."""

    def write(self, data: Any) -> int:
        return super().write(memoryview(data).cast("B")[:WRITE])


@contextmanager
def open_artifact(path: Path, mode: str = "wb") -> Iterator[ArtifactFile]:
    """Open `path` for writing, atomically. `mode` is "wb" or "w" (UTF-8, no newline translation).

    Raises:
        OSError: the folder cannot be written, or the disk is full; the old file is as it was.
    """
    if mode not in ("w", "wb"):
        raise ValueError(f"an artifact is opened with mode 'w' or 'wb', not {mode!r}")
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    raw: IO[Any] = io.BufferedWriter(_Pieces(fd, "wb"))
    if mode == "w":
        raw = io.TextIOWrapper(raw, encoding="utf-8", newline="")
    file = ArtifactFile(path, temporary, raw)
    try:
        yield file
        file.seal()
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            raw.close()
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a write's error does not say where
        raise
