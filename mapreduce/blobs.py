"""Blobs: immutable bytes that tasks leave behind, kept as files on the node that made them.

A node's data directory holds `<job>/<stage>/<kind>/<hash>`; (stage, kind) is a *unit*, written by the tasks of that
kind and deleted whole when the scheduler releases it. A file appears under its name only when it is complete (write,
then rename), so a reader never sees half of one, and a killed writer leaves only a `.tmp` file that goes with its unit.
Large files of a released unit are overwritten by later blobs rather than deleted, where that is safe (see recycle.py).

Reading costs no copy on the host that holds the blob: the file is mapped, and arrays decoded from it are views of the
mapping. From another host the bytes are fetched (see blobserver.py) and then mapped just the same."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .blobwriter import BlobWriter, Buffer
from .errors import DafError
from .pages import mapped
from .recycle import SMALLEST, Pool

if TYPE_CHECKING:
    from .drafts import Draft
    from .wire.messages import Node, Ref

Fetch = Callable[["Node", int, "Ref", int, int], Buffer]
Place = Callable[[int, int, int], memoryview]
"""(descriptor, offset, size) -> these bytes, mapped"""

_numbers = itertools.count()
SPARE = 3
"""Drafts that are opened beside the one that a task asks for, at most."""


class BlobLost(DafError):
    """A blob cannot be read where it should be: the node has to be given up, or the task that made the blob run
    again."""

    def __init__(self, node: str, reason: str):
        super().__init__(f"a blob of node {node!r} cannot be read: {reason}")
        self.node, self.reason = node, reason


class BlobWrong(BlobLost):
    """There are bytes, and they are not those that the reference stands for: a bad disk, or a worker that lies."""


class BlobStore:
    """The blobs of one node, below `root`."""

    def __init__(self, root: Path):
        self.root = root
        self.pool = Pool(root)
        self.private = self.pool.large
        """Whether it is the memory file system that a local engine made for its own processes. What they wrote there no
        stranger can change, nor they themselves once it has its name."""
        self._text = str(root)
        self._unit = (0, 0, 0)
        self._spare: list[Draft] = []
        """Drafts for tasks of that unit that wait in this process."""

    def unit(self, job: int, stage: int, kind: int) -> Path:
        """The folder of one unit."""
        return Path(self._folder(job, stage, kind))

    def _folder(self, job: int, stage: int, kind: int) -> str:
        """The same as text: each task and each segment that it reads asks for one."""
        return f"{self._text}/{job}/{stage}/{int(kind)}"

    def path(self, job: int, stage: int, kind: int, digest: bytes) -> Path:
        return self.unit(job, stage, kind) / digest.hex()

    def name(self, job: int, ref: Ref) -> str:
        """The path of a blob, as text."""
        return f"{self._folder(job, ref.stage, ref.kind)}/{ref.hash.hex()}"

    def writer(self, job: int, stage: int, kind: int, size: int = 0, draft: Draft | None = None) -> BlobWriter:
        """A writer of a blob of about `size` bytes; 0: unknown. What lies in `draft` already need not be copied."""
        return BlobWriter(self._folder(job, stage, kind), self.pool, size, draft)

    def draft(self, job: int, stage: int, kind: int, expected: int, waiting: int = 0) -> Draft:
        """The file of an output in the making, of about `expected` bytes. Of the tasks of the unit that are `waiting`
        in this process, a few get theirs at the same time: what an opening costs is mostly that a task's own code has
        driven ours out of the processor's caches."""
        from .drafts import Draft

        unit = (job, stage, kind)
        if unit != self._unit:
            self.tidy()
            self._unit = unit
        if self._spare:
            return self._spare.pop()
        draft = Draft(self._folder(*unit), self.pool, expected)
        with contextlib.suppress(OSError):  # nobody needs them yet
            for _ in range(min(waiting, SPARE)):
                self._spare.append(Draft(self._folder(*unit), self.pool, expected))
        return draft

    def tidy(self) -> None:
        """No task waits: drafts that none of them has taken are closed."""
        while self._spare:
            self._spare.pop().close()

    def put(
        self, job: int, stage: int, kind: int, parts: Iterable[Buffer], digest: bytes | None = None
    ) -> tuple[bytes, int]:
        """Store one blob; returns (hash, size). `digest`: its hash, where that is known."""
        parts = list(parts)
        with self.writer(job, stage, kind, sum(map(len, parts))) as writer:
            writer.write(parts, hashed=digest is None)
            return writer.commit(digest)

    def release(self, job: int, units: Iterable[tuple[int, int]] = ()) -> None:
        """Delete these units, or all of the job. Mappings of deleted files stay valid until they are dropped."""
        units = list(units)
        if not units:
            shutil.rmtree(self.root / str(job), ignore_errors=True)
        for stage, kind in units:
            folder = self.unit(job, stage, kind)
            released = folder.with_name(f"{kind}-{os.getpid()}-{next(_numbers)}")
            try:
                folder.rename(released)
            except FileNotFoundError:  # it is empty, or another worker of this node was faster
                continue
            self.pool.give(_large(released))
            shutil.rmtree(released, ignore_errors=True)

    def keep(self, below: int, jobs: Mapping[int, tuple[int, set[tuple[int, int]]]]) -> None:
        """Delete what lies here of jobs below number `below`, but for the units of `jobs`, and what is of their stage
        or a later one: (stage, units) by number."""
        for job in _numbered(self.root):
            if job >= below:
                continue
            if job not in jobs:
                self.release(job)
                continue
            floor, units = jobs[job]
            for stage in _numbered(self.root / str(job)):
                if stage >= floor:
                    continue
                for folder in (self.root / str(job) / str(stage)).iterdir():
                    if not folder.name.isdigit():  # released, by a worker that was killed over it
                        shutil.rmtree(folder, ignore_errors=True)
                    elif (stage, int(folder.name)) not in units:
                        self.release(job, [(stage, int(folder.name))])


def _numbered(folder: Path) -> list[int]:
    """The numbers that name something in there."""
    try:
        return [int(name) for name in os.listdir(folder) if name.isdigit()]
    except FileNotFoundError:
        return []


def _large(folder: Path) -> list[tuple[str, int]]:
    """The complete blobs of a unit that are worth keeping: (path, size in bytes)."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # a writer that goes on in vain deletes what it wrote
                if not entry.name.endswith(".tmp") and (size := entry.stat().st_size) >= SMALLEST:
                    found.append((entry.path, size))
    return found


def map_file(path: Path | str, offset: int = 0, size: int | None = None, place: Place = mapped) -> memoryview:
    """A read-only view of a file's bytes [offset, offset + size), mapped by `place`.

    Raises FileNotFoundError; ValueError when it is too short."""
    fd, total = _open_named(path)
    try:
        size = total - offset if size is None else size
        if offset < 0 or size < 0 or offset + size > total:
            raise ValueError(f"{path} has {total} bytes, wanted {size} from {offset}")
        if size == 0:
            return memoryview(b"")
        return place(fd, offset, size)
    finally:
        os.close(fd)


def _open_named(path: Path | str) -> tuple[int, int]:
    """Open a file for reading by a name that it still has once it is open, for only then nobody overwrites it (see
    recycle.py). Returns its descriptor and size."""
    while True:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            about = os.fstat(fd)
            if os.path.samestat(os.stat(path), about):
                return fd, about.st_size
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # another attempt has left the same bytes under the same name


class Reader:
    """Finds the bytes behind a reference: on this host by mapping the holder's file, else through `fetch`.

    `nodes` grows as messages name holders. A node on this host whose directory is readable is mapped without asking its
    worker, so outputs of a killed worker stay readable."""

    def __init__(self, store: BlobStore, host: str, nodes: Mapping[str, Node] = {}, fetch: Fetch | None = None):
        self.store = store
        self.host = host
        self.nodes: dict[str, Node] = dict(nodes)
        self._fetch = fetch
        self._stores: dict[str, BlobStore] = {}

    def _store_of(self, node: Node) -> BlobStore:
        """The store of a node on this host."""
        store = self._stores.get(node.directory)
        if store is None:
            store = self._stores[node.directory] = BlobStore(Path(node.directory))
        return store

    def read(self, job: int, ref: Ref, offset: int = 0, size: int | None = None, place: Place = mapped) -> memoryview:
        """Bytes [offset, offset + size) of a blob, read-only, and mapped by `place` if they are on this host. They are
        compared with the reference, unless they are in a private store of our own.

        Raises:
            BlobLost: naming the node, when the bytes cannot be had from it.
            BlobWrong: ... or are not what the reference stands for.
        """
        size = ref.size - offset if size is None else size
        node = self.nodes.get(ref.node)
        names = [self.store.name(job, ref)]
        local = node is None or node.host == self.host
        if local and node is not None:
            names.append(self._store_of(node).name(job, ref))
        for candidate in dict.fromkeys(names):
            try:
                view = map_file(candidate, offset, size, place)
                return view if self.store.private and candidate == names[0] else verified(view, ref, offset)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise BlobLost(ref.node, str(error)) from error
            except (BlobWrong, ValueError) as error:
                if candidate != names[-1] or not local:  # a copy of our own says nothing about the holder's
                    continue
                raise error if isinstance(error, BlobWrong) else BlobWrong(ref.node, str(error)) from error
        if local or self._fetch is None or node is None:
            raise BlobLost(ref.node, f"{names[-1]} is not there")
        return memoryview(self._fetch(node, job, ref, offset, size))


def verified(view: memoryview, ref: Ref, offset: int) -> memoryview:
    """The bytes of `ref` from `offset` on, if they are right: a whole blob by its hash, a segment of one by the
    checksums of its packets (which finds accidents, and not who makes packets of his own). It costs about as much as
    the first touch of the pages, which it saves the decoder.

    Raises:
        BlobWrong: naming the node.
    """
    from .wire.codec import BadPacket, fingerprint, intact

    try:
        right = fingerprint(view) == ref.hash if not offset and len(view) == ref.size else intact(view)
    except BadPacket:
        right = False
    if not right:
        raise BlobWrong(ref.node, f"the bytes under {ref.hash.hex()} are not those that were made")
    return view
