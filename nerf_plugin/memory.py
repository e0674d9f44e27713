"""What a process holds between tasks, kept small: memory that malloc keeps back, and pages of mapped files.

A task's temporary arrays leave holes in the heap, which glibc keeps for the next one: 150 MiB after the step to a finer
grid. And a mapped file's pages count as resident from their first touch to the end of the mapping, although the
system would find them again at the cost of a minor fault. Only memory and time depend on anything here, never a result.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
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
    """Pages of the arrays in (nested) dicts and lists, where those are views of mapped files, and what lies between
    those of one file; they come back when they are read again."""
    spans: dict[int, tuple[Any, int, int]] = {}
    for array in _arrays(value):
        if array.flags.c_contiguous:
            whose, begin = owner(array), array.ctypes.data
            _, first, last = spans.get(id(whose), (whose, begin, begin))
            spans[id(whose)] = whose, min(first, begin), max(last, begin + array.nbytes)
    for whose, first, last in spans.values():
        let_go(first, last - first, whose)


def _arrays(value: Any) -> Iterator[np.ndarray]:
    import numpy as np

    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _arrays(item)


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
