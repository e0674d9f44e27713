"""Limits of a task process: what the child sets for itself, and what its parent can see from outside.

Memory has two guards. RLIMIT_DATA makes allocations beyond the limit fail inside the child, so that Python raises
MemoryError with the user's own line; it counts address space, so the child sets it to what it has reserved already
plus the limit. The parent watches the resident anonymous memory besides and kills what got past that. RLIMIT_FSIZE
bounds each file; core dumps are off.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal

_PAGE = os.sysconf("SC_PAGE_SIZE")
_PR_SET_PDEATHSIG = 1
_SHARE = 0.9


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


def set_files(size: int) -> None:
    """No core dumps; no file beyond `size` bytes (0: no limit). A write beyond it raises OSError (EFBIG)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if size:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard))


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
