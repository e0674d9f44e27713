"""COLMAP models, binary and text (being written)."""

from pathlib import Path


def find_models(folder: Path) -> list[Path]:
    return []
