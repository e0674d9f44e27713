"""Outputs side by side: the arrays of several blobs as parts of one array, without a copy.

Each blob is mapped behind the one before it, in one range of addresses. Large arrays begin at a page of their file (see
`wire.codec`), so within that range they are as far apart as the files are, which is a multiple of their items' size as
a rule: then one array over the whole range has all of them in it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from . import shuffle
from .pages import Span

if TYPE_CHECKING:
    from .blobs import Reader
    from .wire.messages import Ref


def side_by_side(reader: Reader, job: int, refs: Sequence[Ref]) -> tuple[np.ndarray, tuple[int, ...]] | None:
    """(array, where the array of each blob begins along its first axis); None when they have to be copied.

    Raises:
        BlobLost, BlobWrong: as `Reader.read` does.
    """
    if sys.platform != "linux":
        return None
    span = Span([ref.size for ref in refs])
    begin, end = span.address, span.address + len(span.view)
    arrays = []
    for number, ref in enumerate(refs):
        values = [value for _, value in shuffle.pairs(reader.read(job, ref, place=partial(span.place, number)))]
        if len(values) != 1 or not isinstance(values[0], np.ndarray):
            return None
        arrays.append(values[0])
    first = arrays[0]
    item = first[:1].nbytes
    places = [array.ctypes.data - begin for array in arrays]
    if not item or any(
        array.dtype != first.dtype
        or array.shape[1:] != first.shape[1:]
        or not array.flags.c_contiguous
        or not 0 <= place <= end - begin - array.nbytes
        or (place - places[0]) % item
        for array, place in zip(arrays, places, strict=True)
    ):
        return None
    start = places[0] % item  # items of the whole begin where those of the first do
    count = (len(span.view) - start) // item
    whole = np.frombuffer(span.view, first.dtype, count * item // first.itemsize, start).reshape(-1, *first.shape[1:])
    whole.flags.writeable = False
    return whole, tuple((place - start) // item for place in places)
