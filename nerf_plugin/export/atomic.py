"""Files appear whole or not at all: written beside their place, flushed to the disk, then renamed."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any


class ExportError(OSError):
    """A file could not be written; the message names it, the cause and what to do."""


def write_bytes(path: str | os.PathLike[str], *chunks: bytes | memoryview) -> Path:
    """Write `chunks` one after another to `path` by atomic rename, making its folder; returns the path."""
    target = Path(path)
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(draft, "xb") as stream:
            for chunk in chunks:
                stream.write(chunk)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, target)
    except OSError as error:
        raise ExportError(
            f"cannot write {target}: {error.strerror or error}; choose a folder that is writable and has space"
        ) from error
    finally:
        # Interrupted or refused: nothing half-written stays behind.
        try:
            draft.unlink(missing_ok=True)
        except OSError:
            draft = target
    return target


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    return write_bytes(path, text.encode())


def write_json(path: str | os.PathLike[str], value: Any) -> Path:
    """Indented, keys in the order given, without NaN (JSON has none)."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
