"""Files appear whole or not at all, and say why when they cannot be written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mapreduce import open_artifact


class ExportError(OSError):
    """A file could not be written; the message names it, the cause and what to do."""


def write_bytes(path: str | os.PathLike[str], *chunks: bytes | memoryview) -> Path:
    """Write `chunks` one after another to `path` by atomic rename, making its folder; returns the path."""
    return write_pieces(path, chunks)


def write_pieces(path: str | os.PathLike[str], pieces: Iterable[bytes | memoryview]) -> Path:
    """As `write_bytes`, of pieces that may be made while others are written."""
    target = Path(path)
    try:
        with open_artifact(target) as file:
            for piece in pieces:
                file.write(piece)
    except OSError as error:
        raise ExportError(
            f"cannot write {target}: {error.strerror or error}; choose a folder that is writable and has space"
        ) from error
    return target


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    return write_bytes(path, text.encode())


def write_json(path: str | os.PathLike[str], value: Any) -> Path:
    """Indented, keys in the order given, without NaN (JSON has none)."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
