"""Run the commands as a user does: as processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("DAF_")} | {"COLUMNS": "120"}

Daf = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def daf(tmp_path: Path) -> Daf:
    """daf("run", "wordcount", …) in an empty folder."""

    def run(*args: str | Path, program: str = "daf", **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(BIN / program), *map(str, args)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=ENVIRONMENT | env,
            stdin=subprocess.DEVNULL,
            timeout=90,
        )

    return run


@pytest.fixture
def start(tmp_path: Path) -> Any:
    """Popen of a daf command, with pipes; ended with the test."""
    running: list[subprocess.Popen[str]] = []

    def begin(*args: str | Path, program: str = "daf", **options: Any) -> subprocess.Popen[str]:
        defaults = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path}
        defaults["env"] = ENVIRONMENT
        command = [str(BIN / program), *map(str, args)]
        process = subprocess.Popen(command, **(defaults | options))
        running.append(process)
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.txt"
    path.write_text("the cat and the dog\nand the end\n")
    return path


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """A job type in a file of the user's own; while a map task naps there is a file `begun` beside it."""
    path = tmp_path / "slow.py"
    path.write_text(
        textwrap.dedent(
            """
            import time
            from dataclasses import dataclass
            from pathlib import Path
            from mapreduce import BadInput, Job

            @dataclass
            class Slow(Job):
                '''Sleep, and count the naps.'''

                naps: int
                seconds: float = 0.0
                fail: bool = False
                stubborn: bool = False

                def check(self):
                    if self.naps > 1000:
                        raise BadInput("nobody is that tired")

                def splits(self):
                    return range(self.naps)

                def map(self, split, ctx):
                    end = time.monotonic() + self.seconds
                    while time.monotonic() < end:
                        try:
                            Path(BEGUN).touch()
                            time.sleep(0.05)
                        except KeyboardInterrupt:
                            if not self.stubborn:
                                raise
                    if self.fail:
                        raise RuntimeError(f"woken from nap {split}")
                    ctx.count("naps")
                    yield "nap", split

                def reduce(self, key, values, ctx):
                    yield key, sum(values)
            """
        ).replace("BEGUN", repr(str(tmp_path / "begun")))
    )
    return path


def one_object(text: str) -> dict[str, Any]:
    """The one JSON object that stdout holds, and nothing else."""
    value = json.loads(text)
    assert isinstance(value, dict)
    return value
