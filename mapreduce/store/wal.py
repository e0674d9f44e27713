"""Reading SQLite's write-ahead log without SQLite, to say where it is damaged (sqlite.org/fileformat2.html, section 4).

A log is a header of 32 bytes and frames, each a header of 24 bytes and a page. A frame belongs to the log when it has
the salts of the log's header, and its checksum, which runs through all frames from the first, fits. SQLite reads up to
the last frame that ends a transaction before the first that does not belong, and takes what follows for a torn end or
for what is left from before the log was last begun anew. Frames of this log that end transactions *after* such a place
say that it is neither.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

_HEADER, _FRAME = 32, 24
_MAGIC = 0x377F0682  # with the last bit set, checksums are of big-endian words
_MASK = 0xFFFFFFFF


@dataclass(frozen=True)
class Walk:
    """What is in a log.

    Attributes:
        whole: transactions that SQLite reads.
        torn: byte at which the first frame begins that does not belong to the log, though something is there; the
            length of the file where there is none.
        why: what is wrong with that frame, in words.
        after: transactions of this log that end behind it.
    """

    whole: int
    torn: int
    why: str
    after: int


def checksum(data: bytes, s0: int, s1: int, big: bool) -> tuple[int, int]:
    """The log's checksum of `data` (a multiple of 8 bytes), going on from (s0, s1)."""
    words = struct.unpack(f"{'>' if big else '<'}{len(data) // 4}I", data)
    for x, y in zip(words[::2], words[1::2]):
        s0 = (s0 + x + s1) & _MASK
        s1 = (s1 + y + s0) & _MASK
    return s0, s1


def walk(path: Path) -> Walk:
    """Read the log at `path`; one that is not there is an empty one. Raises OSError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""
    if len(data) < _HEADER:
        return Walk(0, len(data), "", 0)
    magic, _, page, _, salt0, salt1, c0, c1 = struct.unpack_from(">8I", data)
    big = magic & 1 == 1
    state = checksum(data[:24], 0, 0, big)
    if magic & ~1 != _MAGIC or state != (c0, c1) or page & (page - 1) or not 512 <= page <= 65536:
        begun = any(data[:_HEADER]) and len(data) > _HEADER + _FRAME
        return Walk(0, 0, "the header does not match its checksum", int(begun))
    whole, torn, why = 0, len(data), ""
    step = _FRAME + page
    for start in range(_HEADER, len(data), step):
        why = "the frame there is cut short"
        if len(data) < start + step:
            torn = start
            break
        _, ends, f0, f1, c0, c1 = struct.unpack_from(">6I", data, start)
        if (f0, f1) != (salt0, salt1):
            torn, why = start, "the frame there is not of this log"
            break
        state = checksum(data[start : start + 8], *state, big)
        state = checksum(data[start + _FRAME : start + step], *state, big)
        if state != (c0, c1):
            torn, why = start, "the frame there does not match its checksum"
            break
        whole += ends != 0
    after = 0
    for start in range(torn, len(data) - step + 1, step):
        _, ends, f0, f1 = struct.unpack_from(">4I", data, start)
        after += ends != 0 and (f0, f1) == (salt0, salt1)
    return Walk(whole, torn, why if torn < len(data) else "", after)
