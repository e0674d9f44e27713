"""Which processes a program has below it, by the titles that they give themselves: daf-zygote, daf-coordinator,
daf-worker-1, daf-slot worker-1."""

from __future__ import annotations

import psutil


def named(root: int, title: str) -> list[int]:
    """Process ids below `root` of those whose title begins so, oldest first."""
    found = []
    for process in psutil.Process(root).children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE and " ".join(process.cmdline()).startswith(title):
                found.append((process.create_time(), process.pid))
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return [pid for _, pid in sorted(found)]


def slots(root: int, worker: str = "") -> list[int]:
    """The slots below `root`, of one worker or of all."""
    return named(root, f"daf-slot {worker}")
