"""Kernels of the compiled word count: count the words of a text, add up counts, put words in order.

Words are never Python objects here. A text is an array of bytes, a word is a place in it (begin, length), and many
words with their counts are a `Words`: the bytes of all, one behind the other, and two columns.

Counting takes blocks that fit the first-level cache, each in passes that the processor need not guess about: mark the
separators (SIMD), list their places (no branch), load each word's first and last eight bytes as two numbers, and only
then look the words up. With the length, the two numbers *are* a word of up to sixteen bytes; of a longer one the second
number mixes all but the first eight, and its bytes are compared. The table is a hash index with linear probing (Knuth,
TAOCP vol. 3, section 6.4, algorithm L) over rows that stand in the order in which words were first seen: frequent words
come early, so their rows share few cache lines, and what is where depends on the text alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numba
import numpy as np

Words = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Bytes of all words in turn, uint8 (bytes,); lengths, int64 (words,); counts, int64 (words,)."""

FIRST, LAST, BEGIN, LENGTH, COUNT = range(5)
BLOCK = 1 << 12
ODD = -0x61C8864680B583EB  # 2**64 over the golden ratio, signed (Knuth, section 6.4, multiplicative hashing)
MASKS = np.array([(1 << 8 * size) - 1 for size in range(8)] + [-1], np.int64)

kernel = numba.njit(cache=True, nogil=True)


def count(text: np.ndarray) -> np.ndarray:
    """The different words of a text, uint8 (bytes,), in the order in which each is first seen: a table, int64 (words,
    5), for `cut`."""
    return _count(text, _eights(text))


def cut(text: np.ndarray, table: np.ndarray, parts: int) -> Iterator[tuple[int, Words]]:
    """(part, its words) for the parts that have any; a word goes to the same part, whatever the text."""
    part = (_mixed.py_func(table[:, FIRST], table[:, LAST]) >> 20) % parts
    for index in np.unique(part).tolist():
        yield index, _words(text, table[part == index])


def merge(some: Sequence[Words]) -> Words:
    """All different words in the order of LC_ALL=C sort, the counts of equal ones added up."""
    if not some:
        return np.empty(0, np.uint8), np.empty(0, np.int64), np.empty(0, np.int64)
    text, lengths, counts = map(np.concatenate, zip(*some, strict=True))
    text.flags.writeable = False  # as what is mapped, so that Numba compiles each kernel once
    table = _merge(text, _eights(text), np.cumsum(lengths) - lengths, lengths, counts)
    return _words(text, table[_order(text, table)])


def _words(text: np.ndarray, table: np.ndarray) -> Words:
    lengths = table[:, LENGTH].copy()
    return _gather(text, table, int(lengths.sum())), lengths, table[:, COUNT].copy()


def _eights(text: np.ndarray) -> np.ndarray:
    """_eights(text)[i] is text[i:i + 8] as a number, for all i that have eight bytes."""
    return np.ndarray((max(0, len(text) - 7),), "<i8", text, strides=(1,))


@kernel
def _count(text, eights):  # type: ignore[no-untyped-def]
    index, table, used = np.zeros(4 * BLOCK, np.int32), np.empty((2 * BLOCK, 5), np.int64), 0
    separates, ends = np.empty(BLOCK, np.uint8), np.empty(BLOCK + 1, np.int64)
    begins, lengths, ones = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64), np.ones(BLOCK, np.int64)
    begin = 0
    for start in range(0, len(text), BLOCK):
        size = min(BLOCK, len(text) - start)
        for i in range(size):
            byte = text[start + i]
            separates[i] = (byte == np.uint8(32)) | ((byte - np.uint8(9)) < np.uint8(5))
        found = 0
        for i in range(size):
            ends[found] = start + i
            found += separates[i]
        if start + size == len(text):
            ends[found] = len(text)
            found += 1
        words = 0
        for i in range(found):
            begins[words], lengths[words] = begin, ends[i] - begin
            words += ends[i] > begin
            begin = ends[i] + 1
        index, table = _room(index, table, used)
        used = _enter(text, eights, begins[:words], lengths, ones, index, table, used)
    return table[:used].copy()


@kernel
def _merge(text, eights, begins, lengths, counts):  # type: ignore[no-untyped-def]
    index, table, used = np.zeros(4 * BLOCK, np.int32), np.empty((2 * BLOCK, 5), np.int64), 0
    for start in range(0, len(begins), BLOCK):
        index, table = _room(index, table, used)
        some = slice(start, start + BLOCK)
        used = _enter(text, eights, begins[some], lengths[some], counts[some], index, table, used)
    return table[:used].copy()


@kernel
def _room(index, table, used):  # type: ignore[no-untyped-def]
    """The table and its index, twice as large when a block of new words would not fit; the index is at most half
    full."""
    if used + BLOCK <= len(table):
        return index, table
    larger, rows = np.zeros(2 * len(index), np.int32), np.empty((2 * len(table), 5), np.int64)
    rows[:used] = table[:used]
    for row in range(used):
        at = _mixed(rows[row, FIRST], rows[row, LAST]) & (len(larger) - 1)
        while larger[at]:
            at = (at + 1) & (len(larger) - 1)
        larger[at] = row + 1
    return larger, rows


@kernel
def _enter(text, eights, begins, lengths, counts, index, table, used):  # type: ignore[no-untyped-def]
    """Add a block of words to the table; returns how many rows are used then. `index` holds row numbers plus one."""
    first, last, slots = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
    for i in range(len(begins)):
        begin, length = begins[i], lengths[i]
        if begin < len(eights):
            first[i] = eights[begin] & MASKS[min(length, 8)]
            last[i] = eights[max(begin + length - 8, 0)] & MASKS[8 * (length > 8)]
            if length > 16:
                last[i] = _mixed_middle(eights, begin, length)
        else:
            first[i], last[i] = _short(text, begin, length), 0
        slots[i] = _mixed(first[i], last[i]) & (len(index) - 1)
    for i in range(len(begins)):
        at = slots[i]
        while True:
            row = index[at] - 1
            if row < 0:
                index[at] = used + 1
                table[used, FIRST], table[used, LAST], table[used, COUNT] = first[i], last[i], counts[i]
                table[used, BEGIN], table[used, LENGTH] = begins[i], lengths[i]
                used += 1
                break
            if table[row, FIRST] == first[i] and table[row, LAST] == last[i] and table[row, LENGTH] == lengths[i]:
                if lengths[i] <= 16 or _same(text, begins[i], table[row, BEGIN], lengths[i]):
                    table[row, COUNT] += counts[i]
                    break
            at = (at + 1) & (len(index) - 1)
    return used


@kernel
def _short(text, begin, length):  # type: ignore[no-untyped-def]
    """A word of less than eight bytes as a number, where the text ends too soon to load eight."""
    number = np.int64(0)
    for i in range(length):
        number |= np.int64(text[begin + i]) << (8 * i)
    return number


@kernel
def _mixed_middle(eights, begin, length):  # type: ignore[no-untyped-def]
    """All but the first eight bytes of a word of more than sixteen, as one number."""
    mixed = eights[begin + length - 8]
    for at in range(begin + 8, begin + length - 8, 8):
        mixed = (mixed ^ (mixed >> 31) ^ eights[at]) * ODD
    return mixed


@kernel
def _mixed(first, last):  # type: ignore[no-untyped-def]
    """32 bits that depend on all of both numbers."""
    mixed = first ^ (last * ODD)
    return ((mixed ^ (mixed >> 31)) * ODD) >> 32


@kernel
def _same(text, a, b, length):  # type: ignore[no-untyped-def]
    for i in range(length):
        if text[a + i] != text[b + i]:
            return False
    return True


@kernel
def _gather(text, table, size):  # type: ignore[no-untyped-def]
    """The bytes of the table's words, one behind the other."""
    joined, end = np.empty(size, np.uint8), 0
    for row in table:
        for i in range(row[LENGTH]):
            joined[end + i] = text[row[BEGIN] + i]
        end += row[LENGTH]
    return joined


@kernel
def _order(text, table):  # type: ignore[no-untyped-def]
    """Row numbers in the order of their words' bytes: a merge sort, bottom up (Knuth, section 5.2.4), that compares the
    first eight bytes as one number, and words only where these are equal."""
    count = len(table)
    rows, other_rows = np.arange(count), np.empty(count, np.int64)
    lead, other_lead = np.zeros(count, np.uint64), np.empty(count, np.uint64)
    for row in range(count):
        for i in range(8):
            lead[row] <<= np.uint64(8)
            lead[row] |= np.uint64((table[row, FIRST] >> (8 * i)) & 255)
    width = 1
    while width < count:
        for left in range(0, count, 2 * width):
            i, j = left, min(left + width, count)
            middle, end = j, min(left + 2 * width, count)
            for k in range(left, end):
                takes = i < middle
                if takes and j < end:
                    takes = lead[i] < lead[j] or (
                        lead[i] == lead[j] and not _before(text, table[rows[j]], table[rows[i]])
                    )
                if takes:
                    other_rows[k], other_lead[k] = rows[i], lead[i]
                    i += 1
                else:
                    other_rows[k], other_lead[k] = rows[j], lead[j]
                    j += 1
        rows, other_rows, lead, other_lead = other_rows, rows, other_lead, lead
        width *= 2
    return rows


@kernel
def _before(text, a, b):  # type: ignore[no-untyped-def]
    """Whether the word of row a comes before that of row b."""
    for i in range(min(a[LENGTH], b[LENGTH])):
        if text[a[BEGIN] + i] != text[b[BEGIN] + i]:
            return text[a[BEGIN] + i] < text[b[BEGIN] + i]
    return a[LENGTH] < b[LENGTH]
