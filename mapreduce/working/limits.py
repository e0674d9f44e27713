"""Limits of a task process: what the child sets for itself, and what its parent can see from outside.

Memory has two guards. RLIMIT_DATA makes allocations beyond the limit fail inside the child, so that Python raises
MemoryError with the user's own line; it counts address space, so the child sets it to what it has reserved already
plus the limit. The parent watches the resident anonymous memory besides and kills what got past that. RLIMIT_FSIZE
bounds each file, RLIMIT_NOFILE how many are open at once; core dumps are off. Time, processor time and the number of
processes are the parent's business (process.py, usage.py).
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from typing import NamedTuple

_PAGE = os.sysconf("SC_PAGE_SIZE")
_PR_SET_PDEATHSIG = 1
_SHARE = 0.9
_SPARE = 32


class TaskLimits(NamedTuple):
    """What one attempt may use, 0 for no limit: seconds, bytes of memory, seconds of processor time, and how many
    processes besides its own."""

    seconds: float = 0.0
    memory: int = 0
    cpu: float = 0.0
    processes: int = 0


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends. Exits at once if that has happened
    already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def resident(pid: int | None = None) -> int:
    """Anonymous resident bytes of a process; mapped files and shared memory do not count. 0 when it is gone."""
    try:
        with open(f"/proc/{pid or 'self'}/statm", "rb") as file:
            fields = file.read().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return max(0, int(fields[1]) - int(fields[2])) * _PAGE


def set_memory(limit: int) -> None:
    """Let allocations fail that would take this process `limit` bytes beyond nothing; 0 lifts the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if not limit:
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
        return
    with open("/proc/self/status", "rb") as file:
        reserved = next((int(line.split()[1]) * 1024 for line in file if line.startswith(b"VmData")), 0)
    soft = max(reserved - resident(), 0) + limit
    resource.setrlimit(resource.RLIMIT_DATA, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def set_files(size: int, count: int) -> None:
    """No core dumps; no file beyond `size` bytes, no more than `count` open at once (0: as it was). What goes beyond
    raises OSError: EFBIG, EMFILE."""
    for what, value, spare in (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_FSIZE, size or None, 0),
        (resource.RLIMIT_NOFILE, count or None, _SPARE),
    ):
        if value is not None:
            _, hard = resource.getrlimit(what)
            most = sys.maxsize if hard == resource.RLIM_INFINITY else hard
            resource.setrlimit(what, (min(value, most), min(value + spare, most)))


def spare_files() -> None:
    """A few more open files, for what has to be said of a task that opened all it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def memory_total() -> int:
    """Bytes of memory this process may use: the host's, or its control group's when that is less."""
    total = os.sysconf("SC_PHYS_PAGES") * _PAGE
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path) as file:
                text = file.read().strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text))
    return total


def memory_share(slots: int) -> int:
    """Bytes that a task may take unless somebody said otherwise: nine tenths of `memory_total`, evenly for `slots`."""
    return int(memory_total() * _SHARE) // slots
