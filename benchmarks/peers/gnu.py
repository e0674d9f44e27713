"""GNU coreutils."""

from __future__ import annotations

import os
import shutil
import subprocess
import time

from . import common


def missing() -> str | None:
    return None if shutil.which("sort") else "GNU coreutils are not installed"


def version() -> str:
    return subprocess.run(["sort", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def wordcount(bytes: int, data: str) -> tuple[dict[str, float], str]:
    out = common.scratch() / "counts"
    command = f"tr -s '[:space:]' '\\n' < {data} | sort --parallel={common.WORKERS} | uniq -c > {out}"
    with common.Peak() as peak:
        begin = time.perf_counter()
        subprocess.run(["sh", "-c", command], check=True, env=os.environ | {"LC_ALL": "C"})
        seconds = time.perf_counter() - begin
    counts = {word: int(count) for count, word in (line.split() for line in out.read_text().splitlines())}
    return {"seconds": seconds, "peak": peak.mebibytes}, common.word_digest(counts)


def sort(records: int, data: str) -> tuple[dict[str, float], str]:
    out = common.scratch() / "sorted"
    command = ["sort", f"--parallel={common.WORKERS}", "-S", "256M", "-T", str(common.scratch()), "-o", str(out), data]
    with common.Peak() as peak:
        begin = time.perf_counter()
        subprocess.run(command, check=True, env=os.environ | {"LC_ALL": "C"})
        seconds = time.perf_counter() - begin
    return {"seconds": seconds, "peak": peak.mebibytes}, common.file_digest(out)
