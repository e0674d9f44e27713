"""Sort: lines, or records of a fixed size, into one file, in bounded memory.

Two stages. `sample` looks at the beginning of every range and picks boundaries that cut the data into parts of about
the same size. `sort` sorts each range, cuts it at the boundaries, and sends each piece, as one array of bytes, under
the number of its part; a reduce task joins the sorted pieces of its part. Lines come out as from `LC_ALL=C sort`, byte
for byte; records with equal keys keep their order. A part that is too large for memory all the same (one line a million
times) is merged as a stream.

Records are sorted by NumPy: by their first eight bytes as one number, and only those that are equal there by the rest.
What a task reads and what it gathers lie in two buffers that the process keeps for its next task: new memory would take
longer than the sorting.
"""

import bisect
import heapq
import os
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Annotated

import numpy as np

from mapreduce import BadInput, Job, Param, Stage, check_files, check_output, file_ranges, read_range

RANGE = 8 << 20
SAMPLE = 1 << 16
BLOCK = 1 << 18


@dataclass
class Sort(Job):
    """Sort the lines, or fixed-size records, of files into one file."""

    paths: Annotated[list[Path], Param(min_length=1, description="files to sort")]
    out: Annotated[Path, Param(description="the sorted file")] = Path("sorted.txt")
    record: Annotated[int, Param(ge=0, le=SAMPLE, description="bytes a record; 0: records are lines")] = 0
    key: Annotated[int, Param(ge=0, description="sort records by so many first bytes; 0: all")] = 0
    part: Annotated[int, Param(ge=1, description="bytes that one reduce task sorts in memory")] = 16 << 20

    def check(self):
        check_files(self.paths)
        check_output(self.out)
        if self.key > self.record:
            raise BadInput(f"a key of {self.key} bytes needs records of at least that size; record is {self.record}")
        for path in self.paths:
            if self.record and os.stat(path).st_size % self.record:
                raise BadInput(f"{path} does not hold whole records of {self.record} bytes")

    def next_stage(self, history):
        splits = list(file_ranges(self.paths, RANGE - RANGE % (self.record or 1)))
        if len(history) == 0:
            return Stage(splits, "sample", map=self.sample, combine=None, reduce=self.boundaries, reduces=1)
        if len(history) == 1:
            bounds = [bound for _, bound in history[-1].outputs]
            shared = {"bounds": bounds}
            return Stage(
                splits, "sort", map=self.cut, combine=None, reduce=self.join, reduces=len(bounds) + 1, shared=shared
            )
        return None

    def sample(self, split, ctx):
        path, start, stop = split
        records = self.read((path, start, min(stop, start + SAMPLE - SAMPLE % (self.record or 1))))
        yield 0, (stop - start, [record[: self.key or None] for record in records[:: len(records) // 64 + 1]])

    def boundaries(self, _, samples, ctx):
        keys = sorted((key, size / len(some)) for size, some in samples for key in some)
        weights = list(accumulate(weight for _, weight in keys))
        cuts = np.arange(self.part, weights[-1] if keys else 0, self.part)
        yield from ((0, bound) for bound in sorted({keys[i][0] for i in np.searchsorted(weights, cuts)}))

    def cut(self, split, ctx):
        if self.record:
            path, start, stop = split
            data = buffer(ctx, "read", stop - start)
            with open(path, "rb") as file:
                file.seek(start)
                data = data[: file.readinto(data)]
            rows = self.sorted_rows(data, ctx)
            ctx.count("records", len(rows))
            ends = places(rows[:, : self.key or None], ctx.shared["bounds"])
            for number, (begin, end) in enumerate(pairwise([0, *ends, len(rows)])):
                if end > begin:
                    yield number, rows[begin:end].reshape(-1)
            return
        records = sorted(self.read(split), key=self.order)
        ctx.count("records", len(records))
        begin = 0
        for number, bound in enumerate([*ctx.shared["bounds"], None]):
            end = len(records) if bound is None else bisect.bisect_left(records, bound, begin, key=self.order)
            if end > begin:
                yield number, self.pack(records[begin:end])
            begin = end

    def join(self, number, pieces, ctx):
        if sum(piece.nbytes for piece in pieces) <= 2 * self.part:
            if self.record:
                data = np.concatenate(pieces, out=buffer(ctx, "read", sum(map(len, pieces))))
                yield number, self.sorted_rows(data, ctx).reshape(-1)
                return
            records = [record for piece in pieces for record in self.split(piece.tobytes())]
            yield number, self.pack(sorted(records, key=self.order))
            return
        held, size = [], 0
        for record in heapq.merge(*map(self.stream, pieces), key=self.order):
            held.append(record)
            size += len(record)
            if size >= BLOCK:
                yield number, self.pack(held)
                held, size = [], 0
        if held:
            yield number, self.pack(held)

    def finish(self, results, ctx):
        with ctx.artifact(self.out) as file:
            for _, block in results:
                file.write(block)

    @property
    def order(self):
        """By what records are compared: None for all of each."""
        return itemgetter(slice(self.key)) if self.key else None

    def read(self, part):
        if not self.record:
            return self.split(read_range(part))
        path, start, stop = part
        with open(path, "rb") as file:
            file.seek(start)
            return self.split(file.read(stop - start))

    def sorted_rows(self, data, ctx):
        """The records in order, (n, record) uint8, until the next call."""
        out = buffer(ctx, "sorted", len(data)).reshape(-1, self.record)
        rows, whole = data.reshape(-1, self.record), f"V{self.record}"
        order = key_order(rows[:, : self.key or None])
        np.take(rows.view(whole)[:, 0], order, out=out.view(whole)[:, 0], mode="clip")  # others than "clip" copy twice
        return out

    def split(self, data):
        if self.record:
            return [data[at : at + self.record] for at in range(0, len(data), self.record)]
        lines = data.split(b"\n")
        return lines if lines[-1] else lines[:-1]

    def pack(self, records):
        data = b"".join(records) if self.record else b"\n".join(records) + b"\n"
        return np.frombuffer(data, np.uint8)

    def stream(self, piece):
        rest = b""
        for at in range(0, len(piece), BLOCK):
            data = rest + piece[at : at + BLOCK].tobytes()
            end = len(data) - len(data) % self.record if self.record else data.rfind(b"\n") + 1
            yield from self.split(data[:end]) if end else ()
            rest = data[end:]


def buffer(ctx, name, size):
    """`size` bytes of a buffer that this process keeps for the job: (size,) uint8."""
    kept = ctx.cached("buffers", dict)
    if len(kept.get(name, "")) < size:
        kept[name] = None  # the old one goes before the new one comes
        kept[name] = np.empty(size, np.uint8)
    return kept[name][:size]


def places(keys, bounds):
    """How many of the sorted keys, (n, width) uint8, are less than each bound, of `width` bytes."""
    heads = words(keys[:, :8])[:, 0]
    for bound in bounds:
        head = words(np.frombuffer(bound, np.uint8)[None, :8])[0, 0]
        low, high = np.searchsorted(heads, head), np.searchsorted(heads, head, "right")
        yield bisect.bisect_left(range(high), bound, low, key=lambda i: keys[i].tobytes())


def key_order(keys):
    """The stable order of rows of bytes: (n, width) uint8 -> (n,) integers."""
    first = words(keys[:, :8])[:, 0]
    if keys.shape[1] <= 8:
        return np.argsort(first, kind="stable")
    order = np.argsort(first)  # faster, and leaves what is equal in any order
    same = np.diff(first[order]) == 0
    if same.any():
        tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
        run = np.append(0, np.cumsum(~same))[tied]
        rest = words(keys[order[tied], 8:])
        order[tied] = order[tied][np.lexsort((order[tied], *rest.T[::-1], run))]
    return order


def words(keys):
    """Rows of bytes as numbers that compare as the bytes do: (n, width) uint8 -> (n, ceil(width / 8)) uint64."""
    if keys.shape[1] % 8:
        padded = np.zeros((len(keys), -(-keys.shape[1] // 8) * 8), np.uint8)
        padded[:, : keys.shape[1]] = keys
        keys = padded
    return keys.view(">u8").astype(np.uint64)
