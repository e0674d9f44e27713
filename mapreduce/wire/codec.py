"""User values as bytes: msgpack for structure, raw aligned frames for arrays, nothing that could run code.

A *packet* holds one value and stands alone, in a message or in a file:

    offset 0   magic b"DAF1", u32 head size, u32 number of frames, u32 flags, u64 packet size, u64 checksum: XXH3-64 of
               all that follows, with the flags as its seed. Flag 1: there is none, for the packet is part of what is
               hashed and read as a whole. Flag 2: the packet is sealed, and its header, which has the checksum, is all
               that counts for the hash of its file (see `fingerprint`)
    offset 32  one u64 a frame: its size in bytes
    then       the head: msgpack of the value, arrays replaced by extension 1 -> (dtype, shape, frame number)
    then       the frames, each aligned to 64 bytes from the start of the packet; the packet's size is a multiple of 64

A frame of 256 KiB or more begins at a page of 4 KiB of the file that the packet is written to, behind a frame of zeros
that nothing refers to, and the size of a packet with such a frame is a multiple of a page. So it can be mapped beside
others (`Outputs.side_by_side`), or be made where it lies (see `drafts.py`). In the checksum its XXH3-128 stands for it,
which can be computed before anything else of the packet is known; the same goes for a head, or a table, of that size.

An array is written from its own memory and read as a read-only view of the packet, so a memory-mapped packet costs no
copy.

What can be sent: None, bool, int (64 bits), float, complex, str, bytes, list, tuple, dict, pathlib paths, NumPy scalars
and arrays of plain dtypes. Lists and tuples keep their type. Anything else is an `Unsendable` that names the offending
type; object arrays are refused on both sides."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any

import msgpack
import numpy as np
import xxhash

MAGIC = b"DAF1"
ALIGN = 64
PAGE = 4096
LARGE = 256 << 10
"""Bytes of a frame that begins at a page of its file."""
_HEADER = struct.Struct("<4sIIIQQ")
_UNCHECKED, _SEALED = 1, 2
_ARRAY, _TUPLE, _SCALAR, _COMPLEX, _PATH = 1, 2, 3, 4, 5
_KINDS = frozenset("biufcSUMm")
_DTYPE = re.compile(r"[<>|][biufcSU][1-9]\d{0,8}|[<>][Mm]8(\[\d*[a-zA-Z]+\])?")
_ZEROS = bytes(PAGE)
_FILLER = memoryview(b"")
"""Stands for the zeros before a large frame."""
_BUFFER = 4096
"""First bytes of a packer's buffer, which grows: the default of 256 KiB goes back to the system each time."""
_small = msgpack.Packer(buf_size=_BUFFER)

MAX_DEPTH = 64
MAX_FRAMES = 1 << 20
MAX_HEAD = 1 << 30

Buffer = bytes | bytearray | memoryview


class Unsendable(TypeError):
    """A value holds something that has no place in a packet; the message names it."""


class BadPacket(ValueError):
    """Bytes that are not a packet: torn, altered, or beyond the limits. Never raised for a packet that `dumps` made."""


def digest(part: Buffer) -> bytes:
    """What stands for a part of LARGE or more in a packet's checksum: its XXH3-128."""
    return xxhash.xxh3_128_digest(part)


def dumps(
    value: Any,
    *,
    checksum: bool = True,
    sealed: bool = False,
    at: int = 0,
    digest: Callable[[memoryview], bytes] = digest,
) -> list[Buffer]:
    """The parts of one packet, in order. Large arrays are parts of their own and share the array's memory: write them
    before changing it. Leave `checksum` out only of what its readers compare with a hash of the whole. `sealed`: the
    first part is all that counts for the hash of the file. `at`: where in its file the packet will begin, a multiple of
    64. `digest`: gives that of a large part, if it is known already.

    Raises:
        Unsendable: naming the type that cannot be sent.
    """
    frames: list[memoryview] = []

    def default(item: Any) -> msgpack.ExtType:
        if isinstance(item, np.ndarray):
            if item.dtype.kind not in _KINDS:
                raise Unsendable(
                    f"an array of dtype {item.dtype} cannot be sent; use numbers, bytes or fixed-width text"
                )
            array = np.ascontiguousarray(item)
            if array.nbytes >= LARGE:
                frames.append(_FILLER)
            frames.append(memoryview(array.reshape(-1).view(np.uint8).data) if array.size else memoryview(b""))
            return msgpack.ExtType(_ARRAY, _small.pack((item.dtype.str, item.shape, len(frames) - 1)))
        if isinstance(item, tuple):
            return msgpack.ExtType(_TUPLE, _pack(list(item), default))
        if isinstance(item, np.generic):
            if item.dtype.kind not in _KINDS:
                raise Unsendable(f"a scalar of dtype {item.dtype} cannot be sent")
            return msgpack.ExtType(_SCALAR, _small.pack((item.dtype.str, item.tobytes())))
        if isinstance(item, complex):
            return msgpack.ExtType(_COMPLEX, struct.pack("<dd", item.real, item.imag))
        if isinstance(item, PurePath):
            return msgpack.ExtType(_PATH, str(item).encode("utf-8", "surrogateescape"))
        if isinstance(item, int):
            raise Unsendable("an int beyond 64 bits cannot be sent; send it as text or bytes")
        raise Unsendable(
            f"a {type(item).__module__}.{type(item).__qualname__} cannot be sent; send plain data or arrays"
        )

    head = _pack(value, default)
    position = _HEADER.size + 8 * len(frames) + len(head)
    body: list[Buffer] = []
    end = ALIGN
    for number, frame in enumerate(frames):
        body.append(_ZEROS[: -position % ALIGN])
        position += len(body[-1])
        if frame is _FILLER:
            frame = frames[number] = memoryview(_ZEROS)[: -(at + position) % PAGE]
            end = PAGE
        body.append(frame)
        position += len(frame)
    body.append(_ZEROS[: -(at + position) % end])
    position += len(body[-1])
    parts: list[Buffer] = [struct.pack(f"<{len(frames)}Q", *map(len, frames)), head, *body]
    flags = _SEALED if sealed else 0
    found = xxhash.xxh3_64(seed=flags)
    for part in parts if checksum else ():
        found.update(part if len(part) < LARGE else digest(memoryview(part)))
    about = (flags, position, found.intdigest()) if checksum else (_UNCHECKED, position, 0)
    header = _HEADER.pack(MAGIC, len(head), len(frames), *about)
    frames.clear()  # `default` refers to itself: what it holds would stay until the garbage collector comes round
    return [header, *parts]


def _pack(value: Any, default: Any) -> bytes:
    try:
        return msgpack.Packer(default=default, strict_types=True, buf_size=_BUFFER).pack(value)
    except RecursionError as error:
        raise Unsendable(f"a value nested deeper than {MAX_DEPTH} levels cannot be sent") from error
    except ValueError as error:
        raise Unsendable(f"the value cannot be sent: {error}") from error


def pack(value: Any) -> bytes:
    """One packet as one bytes object, for small values."""
    return b"".join(dumps(value))


def packet_size(buffer: Buffer) -> int:
    """The size in bytes of the packet at the start of `buffer`."""
    return _header(memoryview(buffer))[2]


def loads(buffer: Buffer, *, check: bool = False) -> Any:
    """The value of the packet at the start of `buffer`; arrays are read-only views of it.

    `check` compares the checksum first: do so for whatever came over a network; pages of a file that this host wrote
    are trusted.

    Raises:
        BadPacket: the bytes are no packet, or exceed a limit.
    """
    view = memoryview(buffer)
    head_size, count, size, _, _ = _header(view)
    if check:
        _check(view)
    start = _HEADER.size + 8 * count
    frames = [view[at : at + length] for at, length in _frames(view, start + head_size, count, size)] if count else []
    return _unpack(view[start : start + head_size], frames, 0)


def packets(buffer: Buffer, *, check: bool = False) -> Iterator[Any]:
    """The values of the packets that lie one behind the other in `buffer`."""
    view = memoryview(buffer)
    while view:
        yield loads(view, check=check)
        view = view[packet_size(view) :]


def intact(buffer: Buffer) -> bool:
    """Whether `buffer` is packets, one behind the other, which have checksums, and the right ones."""
    view = memoryview(buffer)
    try:
        while view:
            view = view[_check(view) :]
    except BadPacket:
        return False
    return True


def fingerprint(buffer: Buffer) -> bytes:
    """The XXH3-128 that names these bytes as a file: of all of them, but of sealed packets the headers. A reader of one
    packet then needs no hash but its checksum, and neither its writer nor a reader of all of them hashes twice. Raises
    BadPacket for a sealed packet that is not intact."""
    view = memoryview(buffer)
    found = xxhash.xxh3_128()
    while view[:4] == MAGIC:
        _, _, size, flags, _ = _header(view)
        if flags == _SEALED:
            _check(view)
        found.update(view[: _HEADER.size if flags == _SEALED else size])
        view = view[size:]
    found.update(view)
    return found.digest()


def _check(view: memoryview) -> int:
    """Compare the checksum of the packet in front; returns the packet's size. Raises BadPacket."""
    head_size, count, size, flags, expected = _header(view)
    if flags == _UNCHECKED:
        raise BadPacket("the packet has no checksum")
    found, done = xxhash.xxh3_64(seed=flags), _HEADER.size
    if size >= LARGE:
        head = done + 8 * count
        parts = [(done, 8 * count), (head, head_size), *_frames(view, head + head_size, count, size)]
        for start, length in parts:
            if length >= LARGE:
                found.update(view[done:start])
                found.update(digest(view[start : start + length]))
                done = start + length
    found.update(view[done:size])
    if found.intdigest() != expected:
        raise BadPacket("checksum differs: the packet was altered or torn")
    return size


def _frames(view: memoryview, position: int, count: int, size: int) -> list[tuple[int, int]]:
    """(start, size) of each frame of the packet in front, whose head ends at `position`. Raises BadPacket when one
    reaches beyond the packet."""
    places = []
    for length in struct.unpack_from(f"<{count}Q", view, _HEADER.size):
        position += -position % ALIGN
        if position + length > size:
            raise BadPacket("a frame reaches beyond its packet")
        places.append((position, length))
        position += length
    return places


def _header(view: memoryview) -> tuple[int, int, int, int, int]:
    """(head size, frames, packet size, flags, checksum)"""
    if len(view) < _HEADER.size:
        raise BadPacket(f"{len(view)} bytes are too few for a packet")
    magic, head_size, count, flags, size, digest = _HEADER.unpack_from(view)
    if magic != MAGIC or flags not in (0, _UNCHECKED, _SEALED):
        raise BadPacket("this is not a packet (wrong magic)")
    if count > MAX_FRAMES or head_size > MAX_HEAD or _HEADER.size + 8 * count + head_size > size or size % ALIGN:
        raise BadPacket("the packet's header contradicts itself")
    if size > len(view):
        raise BadPacket(f"the packet is cut off: {len(view)} of {size} bytes")
    return head_size, count, size, flags, digest


def _unpack(data: Buffer, frames: list[memoryview], depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise BadPacket(f"tuples nested deeper than {MAX_DEPTH}")

    def extension(code: int, payload: bytes) -> Any:
        if code == _TUPLE:
            value = _unpack(payload, frames, depth + 1)
            if not isinstance(value, list):
                raise BadPacket("a tuple must hold a list")
            return tuple(value)
        if code == _ARRAY:
            return _array(msgpack.unpackb(payload, use_list=False), frames)
        if code == _SCALAR:
            text, raw = msgpack.unpackb(payload, use_list=False)
            return np.frombuffer(raw, _dtype(text), 1)[0]
        if code == _COMPLEX:
            return complex(*struct.unpack("<dd", payload))
        if code == _PATH:
            return Path(payload.decode("utf-8", "surrogateescape"))
        raise BadPacket(f"unknown extension {code}")

    try:
        return msgpack.unpackb(data, ext_hook=extension, strict_map_key=False)
    except BadPacket:
        raise
    except (ValueError, TypeError, KeyError, struct.error, msgpack.exceptions.UnpackException, RecursionError) as error:
        raise BadPacket(f"the packet's head is broken: {error}") from error


def _array(spec: Any, frames: list[memoryview]) -> np.ndarray:
    text, shape, number = spec
    dtype = _dtype(text)
    if not isinstance(number, int) or not 0 <= number < len(frames):
        raise BadPacket("an array names a frame that is not there")
    if len(shape) > 32 or any(not isinstance(n, int) or n < 0 for n in shape):
        raise BadPacket("an array's shape is broken")
    frame = frames[number]
    if math.prod(shape) * dtype.itemsize != len(frame):
        raise BadPacket(f"an array of shape {shape} and dtype {dtype} does not fill its frame of {len(frame)} bytes")
    array = np.frombuffer(frame, dtype) if len(frame) else np.empty(0, dtype)
    array = array.reshape(shape)
    array.flags.writeable = False
    return array


def _dtype(text: Any) -> np.dtype:
    if not isinstance(text, str) or not _DTYPE.fullmatch(text):
        raise BadPacket(f"dtype {text!r} is not allowed")
    try:
        return np.dtype(text)
    except TypeError as error:
        raise BadPacket(f"unknown dtype {text!r}") from error
