"""What tasks, and what they started, use: processes, processor time and memory, seen from outside.

The kernel's own limits do not fit: RLIMIT_NPROC counts all that a user runs and exempts root, RLIMIT_CPU counts a
process from its start and not the attempt it is at, and both leave out the children or charge them to nobody. So the
worker reads /proc now and then, once for all its slots. A slot's family is whatever is
in its process group or has an ancestor there; what loses its parent becomes the slot's child (`adopt`), so a program
that puts itself into the background stays in the family."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterable
from typing import NamedTuple

from .limits import resident

_PR_SET_CHILD_SUBREAPER = 36
_TICKS = os.sysconf("SC_CLK_TCK")
LOOK, LAZY = 0.2, 2.0
"""Seconds between looks, at least: while a task takes long, and while all are short."""
COST = 100
"""A look that took a second of processor time is followed by so many without one, but never by more than `LAZY`."""


class Process(NamedTuple):
    """One line of /proc: `cpu` are the seconds of the process, and of its children that ended and were waited for."""

    pid: int
    parent: int
    group: int
    alive: bool
    cpu: float


class Usage(NamedTuple):
    """What a family uses. `others` are its processes besides the slot, `memory` the anonymous bytes of those."""

    others: tuple[int, ...]
    cpu: float
    memory: int


class Looks:
    """Looks at the families of slots now and then."""

    def __init__(self) -> None:
        self._last = self._took = 0.0

    def due(self, slots: Iterable[int], hurry: bool) -> dict[int, Usage]:
        """What the families of these processes use, by process id; nothing when it is not yet time to look again."""
        now = time.monotonic()
        if now < self._last + (min(LAZY, max(LOOK, COST * self._took)) if hurry else LAZY):
            return {}
        began = time.thread_time()
        found = look(slots)
        self._last, self._took = time.monotonic(), time.thread_time() - began
        return found


def look(slots: Iterable[int]) -> dict[int, Usage]:
    """What the families of these processes use, by process id. One that is gone uses nothing."""
    table = processes()
    usages = {}
    for slot, family in families(table, slots).items():
        others = tuple(one.pid for one in family if one.pid != slot and one.alive)
        usages[slot] = Usage(others, sum(one.cpu for one in family), sum(map(resident, others)))
    return usages


def families(table: Iterable[Process], slots: Iterable[int]) -> dict[int, list[Process]]:
    """The processes of each slot's family, by the slot's process id; the slot itself is one of them."""
    of: dict[int, int | None] = {slot: slot for slot in slots}
    known = {one.pid: one for one in table}
    found: dict[int, list[Process]] = {slot: [] for slot in of}
    for one in known.values():
        way, here = [], one
        while here.pid not in of:
            way.append(here.pid)
            if here.group in found:
                of[here.pid] = here.group
            elif here.parent not in known or here.parent in way:
                of[here.pid] = None
            else:
                here = known[here.parent]
        slot = of[here.pid]
        of.update(dict.fromkeys(way, slot))
        if slot is not None:
            found[slot].append(one)
    return found


def processes() -> list[Process]:
    """All processes of this machine that /proc shows."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb", buffering=0) as file:
                    fields = file.read(1024).rpartition(b")")[2].split()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            cpu = sum(map(int, fields[11:15])) / _TICKS
            found.append(Process(int(name), int(fields[1]), int(fields[2]), fields[0] not in b"ZX", cpu))
    return found


def proportional(pids: Iterable[int]) -> int:
    """Anonymous bytes of processes that share some, each page divided by those that have it. Slow: the kernel walks all
    their pages."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
                total += next((int(line.split()[1]) << 10 for line in file if line.startswith(b"Pss_Anon:")), 0)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return total


def adopt() -> None:
    """Be the parent of whatever a descendant of this process leaves behind."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
