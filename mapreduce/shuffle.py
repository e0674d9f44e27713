"""The shuffle: from what map tasks yield to what reduce tasks read, in bounded memory and always in the same order.

Map side (`Collector`): values are grouped by key as they come. When they fill the memory budget, each key's values are
combined, keys are sorted within their partition, and a *run* is written. At the end the runs are merged into one blob:
partition after partition, each a *segment* of packets, each packet a chunk `[keys, counts, values]` with ascending
keys; `counts` says how many values a key has and is None when each has one. Only the sizes of the segments travel with
the blob's hash.

Reduce side (`merge`): the segments of one partition, in map order, are streamed chunk by chunk. A *slab* is all that is
known to be complete: the keys up to the smallest last key of the chunks at hand. It is grouped by appending in map
order, so a key's values come in map order however the maps were scheduled, and memory holds one chunk a segment, never
a segment.

Both sides are the same function over runs: spills of one map task are merged in the order in which they were spilled.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .blobs import map_file
from .blobwriter import BlobWriter
from .wire import codec
from .wire.codec import LARGE

Chunk = tuple[list[Any], "list[int] | None", list[Any]]
Grouped = tuple[Any, list[Any]]
Combine = Callable[[Any, list[Any]], Any]

CHUNK_VALUES = 4096
CHUNK_BYTES = 1 << 20
_SMALL = 96
"""Bytes charged for a value that is no array, bytes or str: a boxed number and its slot in a list and a dict."""
_FEW = 1024
_PLAIN = frozenset({int, float, bool, type(None)})


class BadKey(TypeError):
    """Keys of one stage cannot be ordered among themselves, or a partition number is out of range."""


class Collector:
    """Collects what one map task yields and writes it as one blob.

    Args:
        partitions: number of partitions.
        partition: (key, partitions) -> partition number.
        combine: (key, values) -> value, or None.
        folder: gives the folder for runs; called at the first spill, so a small task makes none.
        budget: bytes of values held before a run is spilled.
        weigh: value -> about how many bytes it holds; sees each value that is no plain number.
    """

    def __init__(
        self,
        partitions: int,
        partition: Callable[[Any, int], int],
        combine: Combine | None = None,
        folder: Callable[[], Path] | None = None,
        budget: int = 128 << 20,
        weigh: Callable[[Any], int] | None = None,
    ):
        self._weigh = weigh or weight
        self._partitions = partitions
        self._partition = partition
        self._combine = combine
        self._folder = folder
        self._budget = budget
        self._groups: defaultdict[Any, list[Any]] = defaultdict(list)
        self._runs: list[tuple[Path, list[int]]] = []

    def collect(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        """Take all pairs. Raises BadKey and codec.Unsendable for what cannot be shuffled."""
        groups, budget, held, weigh = self._groups, self._budget, 0, self._weigh
        for pair in pairs:
            try:
                key, value = pair
            except (TypeError, ValueError) as error:
                raise BadKey(f"map must yield (key, value) pairs, not {pair!r:.80}") from error
            try:
                groups[key].append(value)
            except TypeError as error:
                raise BadKey(
                    f"a {type(key).__name__} cannot be a key; use text, bytes, numbers or tuples of them"
                ) from error
            held += _SMALL if value.__class__ in _PLAIN else weigh(value)
            if held > budget:
                if self._combine is not None:
                    self._combine_groups()
                    held = sum(weight(value) for values in groups.values() for value in values)
                if held > budget // 2:
                    self._spill()
                    held = 0

    @property
    def empty(self) -> bool:
        """Whether the map task yielded nothing."""
        return not self._groups and not self._runs

    def expected(self) -> int:
        """About how many bytes `write` will write, where that is cheap to say and few values make many bytes: else
        0."""
        if self._runs or len(self._groups) > _FEW:
            return 0
        if self._combine is not None:
            self._combine_groups()
        if sum(map(len, self._groups.values())) > _FEW:
            return 0
        return sum(weight(value) for values in self._groups.values() for value in values)

    def write(self, writer: BlobWriter) -> tuple[int, ...]:
        """Write everything as segments into `writer`; returns each partition's size in bytes."""
        alone = self._partitions > 1  # each segment is read alone
        if not self._runs:
            return tuple(_write_groups(writer, keys, self._groups, alone) for keys in self._sorted())
        if self._groups:
            self._spill()
        sizes = []
        for number in range(self._partitions):
            segments = [_segment(path, run, number) for path, run in self._runs]
            sizes.append(_write_segment(writer, self._recombined(merge(segments)), alone))
        for path, _ in self._runs:
            path.unlink()
        self._runs.clear()
        return tuple(sizes)

    def _recombined(self, groups: Iterator[Grouped]) -> Iterator[Grouped]:
        for key, values in groups:
            yield key, [self._combine(key, values)] if self._combine and len(values) > 1 else values

    def _combine_groups(self) -> None:
        assert self._combine is not None
        for key, values in self._groups.items():
            if len(values) > 1:
                self._groups[key] = [self._combine(key, values)]

    def _sorted(self) -> Iterator[list[Any]]:
        """The keys of each partition, ascending."""
        if self._combine is not None:
            self._combine_groups()
        keys: list[list[Any]] = [[] for _ in range(self._partitions)]
        for key in self._groups:
            if key != key:
                raise BadKey("NaN cannot be a key: it has no place in any order")
            number = self._partition(key, self._partitions)
            if not 0 <= number < self._partitions:
                raise BadKey(f"partition({key!r:.80}) gave {number}, not one of 0..{self._partitions - 1}")
            keys[number].append(key)
        for some in keys:
            _sort(some)
            yield some

    def _spill(self) -> None:
        assert self._folder is not None, "a collector that spills needs a folder"
        folder = self._folder()
        with BlobWriter(folder) as writer:
            sizes = [_write_groups(writer, keys, self._groups, True) for keys in self._sorted()]
            digest, _ = writer.commit()
        path = folder / f"run-{len(self._runs)}"
        (folder / digest.hex()).rename(path)
        self._runs.append((path, sizes))
        self._groups.clear()


def merge(segments: Sequence[Iterator[Chunk]]) -> Iterator[Grouped]:
    """Merge sorted segments: (key, values) with keys ascending, values in the order of the segments.

    Memory: a chunk a segment, and the values of one key (arrays are mapped and cost nothing).
    """
    cursors = [cursor for cursor in map(_Cursor, segments) if cursor.keys]
    while cursors:
        groups: defaultdict[Any, list[Any]] = defaultdict(list)
        open_ends = [cursor.keys[-1] for cursor in cursors if cursor.more]
        try:
            limit = min(open_ends) if open_ends else None
            for cursor in cursors:
                cursor.take(limit, not open_ends, groups)
        except TypeError as error:
            raise BadKey(f"keys of one stage must be of one kind that can be ordered: {error}") from error
        keys = list(groups)
        _sort(keys)
        for key in keys:
            yield key, groups.pop(key)
        cursors = [cursor for cursor in cursors if cursor.keys]


class _Cursor:
    """One segment's position: the chunk at hand, and whether another follows."""

    def __init__(self, chunks: Iterator[Chunk]):
        self._chunks = chunks
        self._next = next(chunks, None)
        self.keys: list[Any] = []
        self._advance()

    def _advance(self) -> None:
        chunk, self._next = self._next, next(self._chunks, None) if self._next is not None else None
        self.keys, self._counts, self._values = chunk if chunk is not None else ([], None, [])
        self._key = self._value = 0

    @property
    def more(self) -> bool:
        return self._next is not None

    def take(self, limit: Any, everything: bool, groups: defaultdict[Any, list[Any]]) -> None:
        """Move all values with keys <= limit into `groups`; a key that goes on in the next chunk is followed there."""
        while self.keys:
            end = len(self.keys) if everything else bisect_right(self.keys, limit)
            position = self._value
            if self._counts is None:
                for key in self.keys[self._key : end]:
                    groups[key].append(self._values[position])
                    position += 1
            else:
                for number in range(self._key, end):
                    count = self._counts[number]
                    groups[self.keys[number]] += self._values[position : position + count]
                    position += count
            self._key, self._value = end, position
            if end < len(self.keys):
                return
            self._advance()


def chunks(buffer: codec.Buffer, *, check: bool = False) -> Iterator[Chunk]:
    """The chunks of one segment's bytes. Raises codec.BadPacket for bytes that are none."""
    for packet in codec.packets(buffer, check=check):
        if not isinstance(packet, list) or len(packet) != 3:
            raise codec.BadPacket("this is not a chunk of a segment")
        yield packet[0], packet[1], packet[2]


def pairs(buffer: codec.Buffer, *, check: bool = False) -> Iterator[tuple[Any, Any]]:
    """The (key, value) pairs of a segment, in the order they were written."""
    for keys, counts, values in chunks(buffer, check=check):
        if counts is None:
            yield from zip(keys, values, strict=True)
        else:
            position = 0
            for key, count in zip(keys, counts, strict=True):
                for value in values[position : position + count]:
                    yield key, value
                position += count


def write_pairs(writer: BlobWriter, stream: Iterable[tuple[Any, Any]]) -> int:
    """Write pairs in the order they come (a reduce task's output, which is always read as a whole); returns the size in
    bytes."""
    return _write_segment(writer, ((key, [value]) for key, value in stream), False)


def _write_groups(writer: BlobWriter, keys: list[Any], groups: Mapping[Any, list[Any]], alone: bool) -> int:
    """Write the groups of these keys. The usual case, one plain value a key, takes whole chunks at once."""
    some = [groups[key] for key in keys]
    values = [value for (value,) in some] if max(map(len, some), default=0) == 1 else [some]
    if not _PLAIN.issuperset(map(type, values)):
        return _write_segment(writer, zip(keys, some, strict=True), alone)
    size = 0
    for start in range(0, len(keys), CHUNK_VALUES):
        chunk = slice(start, start + CHUNK_VALUES)
        size += _write_chunk(writer, [keys[chunk], None, values[chunk]], alone)
    return size


def _write_segment(writer: BlobWriter, groups: Iterable[Grouped], alone: bool) -> int:
    keys: list[Any] = []
    counts: list[int] = []
    values: list[Any] = []
    size = held = 0

    def flush() -> int:
        chunk = [keys, None if all(count == 1 for count in counts) else counts, values]
        return _write_chunk(writer, chunk, alone or held >= LARGE)

    for key, some in groups:
        for start in range(0, len(some), CHUNK_VALUES):
            part = some[start : start + CHUNK_VALUES]
            keys.append(key)
            counts.append(len(part))
            values += part
            held += weight(part[0]) * len(part)
            if len(values) >= CHUNK_VALUES or held >= CHUNK_BYTES:
                size += flush()
                keys, counts, values, held = [], [], [], 0
    if keys:
        size += flush()
    return size


def _write_chunk(writer: BlobWriter, chunk: list[Any], sealed: bool) -> int:
    """`sealed`: with a checksum, which is what the blob's hash is of. So are chunks that may be read without the rest
    of their blob, and those with arrays whose hash may be known (see `BlobWriter.digest`)."""
    parts = codec.dumps(chunk, checksum=sealed, sealed=sealed, at=writer.size, digest=writer.digest)
    return writer.write(parts, sealed=sealed)


def _segment(path: Path, sizes: Sequence[int], number: int) -> Iterator[Chunk]:
    offset = sum(sizes[:number])
    return chunks(map_file(path, offset, sizes[number]))


def _sort(keys: list[Any]) -> None:
    try:
        keys.sort()
    except TypeError as error:
        raise BadKey(f"keys of one stage must be of one kind that can be ordered: {error}") from error


def weight(value: Any) -> int:
    """A cheap estimate of the bytes a value holds."""
    size = getattr(value, "nbytes", None)
    if size is not None:
        return int(size) + _SMALL
    if type(value) in (bytes, str, bytearray, memoryview):
        return len(value) + _SMALL
    if type(value) in (tuple, list):
        return _SMALL + sum(map(weight, value))
    if type(value) is dict:
        return _SMALL + sum(map(weight, value.values()))
    return _SMALL
