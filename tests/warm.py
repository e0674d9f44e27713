"""`python -m tests.warm`: compile the kernels that tests use, once, before many processes want them at the same time.

Numba keeps machine code on disk, but two processes that miss the same kernel at the same moment both compile it, and
a test run has a dozen that begin together. The smallest jobs that reach the kernels run here, side by side in processes
of their own; on a machine that has the code already this takes a few seconds. Nothing depends on it but time: what is
missed is compiled where it is needed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TINY: dict[str, Any] = {"resolution": 24, "faces": 500, "texture": 64, "turntable": 2}


def simplify(folder: Path) -> None:
    """The slowest kernel, so that it is there when a whole job comes to it."""
    import numpy as np

    from nerf_plugin.mesh import Mesh
    from nerf_plugin.mesh.decimate import decimate

    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], np.int32)
    decimate(Mesh(corners, faces), 10)


def avatar(folder: Path) -> None:
    """Photos with masks and without."""
    from mapreduce import run
    from nerf_plugin.job import Nerf
    from tests.nerf_plugin.captures import ball, opaque

    masked = ball(folder / "masked", size=32, views=6, test_views=2)
    run(Nerf(masked, folder / "draft", preset="draft", effort=0.03, **TINY), engine="inline")
    run(Nerf(opaque(folder / "opaque"), folder / "grey", preset="draft", effort=0.12, **TINY), engine="inline")


def head(folder: Path) -> None:
    """A generated face."""
    from nerf_plugin.faces import generate

    generate(folder / "face", 7, size=32, views=2, test_views=1, spacing=4.0)


def words(folder: Path) -> None:
    """The compiled word count, which sorts too."""
    from mapreduce import run
    from plugins.wordcount_fast import FastWordCount

    (folder / "book.txt").write_text("the cat and the dog\nand a word that is longer than twenty-four letters\n" * 9)
    run(FastWordCount([folder / "book.txt"]), engine="inline")


PARTS: tuple[Callable[[Path], None], ...] = (simplify, avatar, words, head)


def main() -> int:
    if len(sys.argv) > 1:
        part = next(part for part in PARTS if part.__name__ == sys.argv[1])
        with tempfile.TemporaryDirectory() as folder:
            part(Path(folder))
        return 0
    began = time.monotonic()
    running = {part: subprocess.Popen([sys.executable, "-m", "tests.warm", part.__name__], cwd=ROOT) for part in PARTS}
    ended = {part.__name__: process.wait() for part, process in running.items()}
    failed = [name for name, code in ended.items() if code]
    print(f"kernels: {time.monotonic() - began:.1f} s", *(f"{name} failed: tests will say why" for name in failed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
