"""What a process holds between tasks, kept small: memory that malloc keeps back, and pages of mapped files.

A task's temporary arrays leave holes in the heap, which glibc keeps for the next one: 150 MiB after the step to a finer
grid. And a mapped file's pages count as resident from their first touch to the end of the mapping, although the
system would find them again at the cost of a minor fault. Only memory and time depend on anything here, never a result.
"""

from __future__ import annotations

import contextlib
import ctypes
from typing import TYPE_CHECKING, Any

from mapreduce import let_go

if TYPE_CHECKING:
    import numpy as np


def trim() -> bool:
    """Give the heap's free memory back to the system, where its library can; milliseconds, so once a stage."""
    with contextlib.suppress(AttributeError, OSError):  # not glibc
        return bool(ctypes.CDLL(None).malloc_trim(0))
    return False


def let_go_of(value: Any) -> None:
    """Pages of the arrays in (nested) dicts and lists, where those are views of mapped files; they come back when they
    are read again."""
    import numpy as np

    if isinstance(value, np.ndarray):
        if value.flags.c_contiguous:
            let_go(value.ctypes.data, value.nbytes, owner(value))
    elif isinstance(value, dict):
        for item in value.values():
            let_go_of(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            let_go_of(item)


def owner(array: np.ndarray) -> Any:
    """Whose memory an array is a view of."""
    import numpy as np

    base: Any = array
    while isinstance(base, (np.ndarray, memoryview)):
        below = base.base if isinstance(base, np.ndarray) else base.obj
        if below is None:
            break
        base = below
    return base
