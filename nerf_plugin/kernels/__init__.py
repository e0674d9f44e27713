"""Numba hot loops of the radiance field.

Every kernel is compiled by the one decorator below, so that the promises that depend on compiler flags hold in one
place:

* no `fastmath`: sums keep the order in which they are written, so the same processor gives the same bits;
* no threads: a task runs on one core, and parallelism is several tasks in several processes;
* `cache=True`: machine code is kept on disk beside the source (or in the user's cache folder where that is read-only)
  and later processes load it in a fraction of a second. Numba checks only the file of the kernel itself, so after
  editing `simd.py` delete `__pycache__` or touch the kernels.

Rows of one line (harmonics up to degree 1) and of two (degree 2) have one source. A kernel that reads rows is given
`lines`, where each line of a row begins: (0,) or (0, 16). How long a tuple is belongs to its type, so Numba compiles a
kernel for each, once that is asked for, and leaves out what only the other needs.

Each kernel has a slow, obvious NumPy twin in `nerf_plugin.reference`, and the tests hold it against that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` for one core, deterministic, cached on disk; division by zero follows IEEE."""
    compiled: Callable[..., Any] = numba.njit(
        cache=True, error_model="numpy", boundscheck=False, fastmath=False, nogil=True
    )(function)
    return compiled
