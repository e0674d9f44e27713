"""The journal of the scheduler, laid out in the store.

    format              version of this layout
    mark                the newest Mark
    job:<id>            Admitted
    job:<id>:log        what happened since, oldest first: one item for what one turn of the loop had to say
    nodes               name -> where a node's blobs are (a node's outputs matter before its worker has come back)
    types               name -> version of every job type that some worker ever offered
    synced              when a commit was last made only to be synced
    workers             the workers that are connected; after a restart, those to wait for

A record is packed to plain values (`scheduler.journal.pack`) and these to msgpack. All that one turn appends to a job's
log is one item, so a batch of a thousand results is one row. `Trimmed` and `Forgotten` delete what no longer matters in
the same commit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import msgspec

from ..boot import boot_id
from ..errors import StoreError
from ..scheduler.events import Accepted, Action, JobChanged
from ..scheduler.journal import Admitted, Done, Forgotten, Lasted, Mark, Record, Trimmed, pack, unpack
from ..scheduler.model import Kind
from ..store import FORMAT, Store
from ..wire.messages import Node

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_node = msgspec.msgpack.Decoder(Node).decode


class Journal:
    """Appends records to the store and reads them back. Methods raise StoreError.

    `lasted` tells how many seconds a job has lasted (None: it has ended); that is noted with what is kept of it.
    """

    def __init__(self, store: Store, lasted: Callable[[int], float | None] | None = None):
        self._store = store
        self._lasted = lasted
        self._logs: dict[int, list[object]] = {}
        self._sync = False
        self.bound = False
        """Whether there are records to commit other than results of map tasks. A map task reads nothing that another
        wrote, so it may be handed out before their results are safe: a worker keeps these until they are."""
        self.synced = True
        """Whether all that was committed survives a power cut, if the store is to survive one."""
        self.trouble = ""
        """Why the store cannot be written; empty while it can."""
        found = store.get("format")
        if found is None:
            store.set("format", b"%d" % FORMAT)
            store.commit()
        elif found != b"%d" % FORMAT:
            raise StoreError(
                f"the store has layout {found!r}, this version of DAF reads {FORMAT}: use the version that wrote it"
            )
        self.nodes = {name: _node(value) for name, value in store.hgetall("nodes").items()}
        self.workers = set(store.hgetall("workers"))
        self.types = {name: value.decode() for name, value in store.hgetall("types").items()}

    # ------------------------------------------------------------------------------------------------------ writing

    def append(self, record: Record) -> None:
        """Buffer a record for the next commit."""
        self.bound = self.bound or type(record) is not Done or record.kind != Kind.MAP
        if isinstance(record, Mark):
            self._store.set("mark", _encode(pack(record)))
        elif isinstance(record, Admitted):
            self._store.set(f"job:{record.job}", _encode(pack(record)))
        elif isinstance(record, (Trimmed, Forgotten)):
            self._logs.pop(record.job, None)
            self._store.delete(f"job:{record.job}:log")
            if isinstance(record, Forgotten):
                self._store.delete(f"job:{record.job}")
        else:
            log = self._logs.get(record.job)
            if log is None:
                log = self._logs[record.job] = []
            log.append(pack(record))

    def depends(self, action: Action) -> None:
        """What tells the world something that it may build on waits for a synced commit. A power cut may take any other
        record: its task would run again, with the same result."""
        if isinstance(action, Accepted) or (isinstance(action, JobChanged) and action.state.value in _ENDS):
            self._sync = True

    def force(self) -> None:
        """Let the next commit be a synced one, even if there is nothing else to write."""
        self._sync = True
        self._store.set("synced", b"%d" % time.time_ns())

    def remember_node(self, node: Node) -> None:
        """Keep where a node's blobs are."""
        if self.nodes.get(node.name) != node:
            self.nodes[node.name] = node
            self._store.hset("nodes", node.name, _encode(node))

    def remember_types(self, types: dict[str, str]) -> None:
        """Keep which job types there are."""
        for name, version in types.items():
            if self.types.get(name) != version:
                self.types[name] = version
                self._store.hset("types", name, version.encode())

    def expect_worker(self, name: str) -> None:
        """This worker is here: after a restart, wait a moment for it. So it gets no task before that is committed."""
        if name not in self.workers:
            self.bound = True
            self.workers.add(name)
            self._store.hset("workers", name, b"")

    def forget_worker(self, name: str) -> None:
        """This worker has gone."""
        if name in self.workers:
            self.workers.discard(name)
            self._store.hdel("workers", name)

    @property
    def dirty(self) -> bool:
        """Whether there is something to commit."""
        return bool(self._logs) or self._store.pending > 0

    @property
    def pressing(self) -> bool:
        """Whether what waits for the next commit is an acceptance or an end."""
        return self._sync

    def commit(self) -> None:
        """One transaction for all that was appended. When it raises StoreError, everything is still buffered and may be
        tried again."""
        for job, records in self._logs.items():
            seconds = self._lasted(job) if self._lasted is not None else None
            if seconds is not None:
                records.append(pack(Lasted(job, seconds, time.monotonic(), boot_id())))
            self._store.rpush(f"job:{job}:log", _encode(records))
        self._logs.clear()
        try:
            self._store.commit(sync=self._sync)
        except StoreError as error:
            self.trouble = str(error)
            raise
        self.synced = self._sync or not self._store.syncs
        self._sync = self.bound = False
        self.trouble = ""

    # ------------------------------------------------------------------------------------------------------ reading

    def read(self) -> Iterator[Record]:
        """All records that still matter: the mark, then job by job in the order of their numbers."""
        mark = self._store.get("mark")
        if mark is not None:
            yield self._record(_decode(mark))
        numbers = sorted(int(key[4:]) for key in self._store.scan("job:") if not key.endswith(":log"))
        for number in numbers:
            admitted = self._store.get(f"job:{number}")
            if admitted is not None:
                yield self._record(_decode(admitted))
            for item in self._store.lrange(f"job:{number}:log"):
                for packed in _decode(item):
                    record = self._record(packed)
                    yield record if not isinstance(record, Lasted) else _until_now(record)

    def _record(self, packed: list[object]) -> Record:
        try:
            return unpack(packed)
        except ValueError as error:
            raise StoreError(f"the store holds something this version of DAF cannot read: {error}") from error


def _until_now(record: Lasted) -> Lasted:
    """With the time that has passed since, where the clock that it was noted by still runs: that of this boot."""
    away = time.monotonic() - record.at
    if record.clock != boot_id() or away < 0:
        return record
    return Lasted(record.job, record.seconds + away, record.at, record.clock)


_ENDS = frozenset(("done", "failed", "cancelled"))
