"""Inputs of the cases: made from a fixed seed into a cache folder, so every run and every peer reads the same bytes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any


def text(params: dict[str, Any], folder: Path) -> str:
    """ASCII prose-like text with a Zipf-like vocabulary of 50,000 words; returns the file's path."""
    path = folder / f"text-{params['bytes']}.txt"
    if path.exists():
        return str(path)
    rng = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 10))) for _ in range(50_000)]
    weights = [1.0 / (rank + 2.7) for rank in range(len(words))]
    temporary = path.with_suffix(".tmp")
    with open(temporary, "w", encoding="ascii") as file:
        written = 0
        while written < params["bytes"]:
            chunk = rng.choices(words, weights, k=200_000)
            lines = [" ".join(chunk[n : n + 12]) for n in range(0, len(chunk), 12)]
            written += file.write("\n".join(lines) + "\n")
    temporary.rename(path)
    return str(path)


def records(params: dict[str, Any], folder: Path) -> str:
    """Records of 100 bytes: a random key of 10 printable characters, a payload, a line end; returns the file's path."""
    import numpy as np

    path = folder / f"records-{params['records']}.txt"
    if path.exists():
        return str(path)
    rng = np.random.default_rng(2)
    temporary = path.with_suffix(".tmp")
    with open(temporary, "wb") as file:
        left = params["records"]
        while left:
            count = min(left, 500_000)
            block = rng.integers(33, 127, size=(count, 100), dtype=np.uint8)
            block[:, 99] = 10
            file.write(block.tobytes())
            left -= count
    temporary.rename(path)
    return str(path)


def points(params: dict[str, Any], folder: Path) -> str:
    """Points around `k` centres as a .npy file of float64; returns the file's path."""
    import numpy as np

    path = folder / f"points-{params['points']}-{params['dimensions']}-{params['k']}.npy"
    if path.exists():
        return str(path)
    rng = np.random.default_rng(3)
    centres = rng.normal(scale=5.0, size=(params["k"], params["dimensions"]))
    data = centres[rng.integers(params["k"], size=params["points"])] + rng.normal(
        size=(params["points"], params["dimensions"])
    )
    temporary = path.with_suffix(".tmp.npy")
    np.save(temporary, data)
    temporary.rename(path)
    return str(path)
