"""g++: the hot kernel once more in C++ (benchmarks/radiance/twin.cpp), compiled on the spot."""

from __future__ import annotations

import subprocess
from typing import Any

from benchmarks.radiance import twin

from . import common


def missing() -> str | None:
    return None if twin.compiler() else "not installed (g++)"


def version() -> str:
    first = subprocess.run([twin.compiler() or "g++", "--version"], capture_output=True, text=True, check=True).stdout
    return first.splitlines()[0]


def kernel(data: dict[str, str], turns: int, **_: Any) -> tuple[dict[str, float], str]:
    rates = twin.compare(data["capture"], data["field"], turns, common.scratch())
    return rates["twin"], common.file_digest(data["field"])
