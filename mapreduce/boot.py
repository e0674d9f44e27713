"""Which boot of the machine this is: within one, the monotonic clock of all processes is the same, and what the kernel
took from a process that was killed it still writes."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def boot_id() -> str:
    """Twelve letters that change with every boot; "" where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")[:12]
    except OSError:
        return ""
