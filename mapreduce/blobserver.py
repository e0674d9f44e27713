"""Blobs between hosts: a node serves its files, whoever needs one pulls it chunk by chunk.

The server is a thread with a ROUTER of its own, so bulk data never stands before a heartbeat. It answers each `Fetch`
with a `Chunk` and the bytes; it keeps no state, so a fetch resumes anywhere. The fetcher has a few requests under way
(its credit: what it can hold, not what the network can), asks again for what did not come, and gives the node up
after `patience` seconds without a byte.

A blob that is wanted whole, or nearly, is stored under its own name in the fetching node's store, once its hash is
right: the next task maps it, and it goes with its unit. Of a large map output only the partition's segment is
fetched, and not kept; its packets carry checksums.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .allowance import allowance
from .blobs import BlobLost, BlobStore, BlobWrong, Buffer, map_file, verified
from .wire.messages import Chunk, Fetch, Node, Ref
from .wire.typed import at_blobserver, at_fetcher, encode

if TYPE_CHECKING:
    import zmq

    from .keys import Key, Keys
    from .wire.gate import Gate

CHUNK = 1 << 20
SMALL = 1 << 14
CREDIT = 4
WHOLE = 1 << 20
"""Blobs up to this size are always fetched whole."""
_OPEN = 64


class BlobServer:
    """Serves the blobs below `root` until `close`; `address` is where.

    With `keys` it serves workers and clients that may read, and nobody else.

    Raises:
        Insecure: `bind` can be reached from other hosts, and there are no keys.
        OSError: `bind` cannot be listened on.
    """

    def __init__(self, root: Path, bind: str, keys: Keys | None = None):
        import zmq

        from .wire import sockets
        from .wire.gate import Gate

        self._store = BlobStore(root)
        self._context = zmq.Context()
        self._gate = Gate(self._context, keys, _may_fetch) if keys is not None else None
        try:
            curve = keys.listen() if keys is not None else None
            self._socket, self.address = sockets.router(self._context, bind, limit=4096, curve=curve)
        except BaseException:
            if self._gate is not None:
                self._gate.close()
            self._context.term()
            raise
        self._stop = threading.Event()
        self._open: OrderedDict[Path, tuple[memoryview, float]] = OrderedDict()
        self._thread = threading.Thread(target=self._serve, name="daf-blobs", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._stop.set()
        self._thread.join()
        self._context.term()

    def _serve(self) -> None:
        """Until `close`, whose wait for the context would have no end if an error left a socket open here."""
        try:
            self._answer_all()
        finally:
            self._socket.close(0)
            if self._gate is not None:
                self._gate.close()

    def _answer_all(self) -> None:
        import zmq

        from .errors import WireError
        from .wire import sockets

        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        if self._gate is not None:
            poller.register(self._gate.socket, zmq.POLLIN)
        while not self._stop.is_set():
            if not poller.poll(200):
                self._open.clear()  # the mappings of released blobs must not stay
                continue
            frames = sockets.receive(self._socket) if self._gate is None else self._admitted(self._gate)
            if frames is None:
                continue
            peer, *body = frames
            with contextlib.suppress(WireError):  # a stranger's noise is not answered
                request = at_blobserver(body[-1] if body else b"")
                chunk, data = self._answer(request)
                sockets.send_to(self._socket, peer, encode(chunk), data)

    def _admitted(self, gate: Gate) -> list[bytes] | None:
        """The next message of somebody whose key may fetch."""
        gate.serve()
        known = gate.receive(self._socket)
        return known[0] if known is not None and known[1] is not None else None

    def _answer(self, request: Fetch) -> tuple[Chunk, bytes]:
        path = self._store.path(request.job, request.stage, request.kind, request.hash)
        try:
            view = self._view(path)
        except (OSError, ValueError):
            return Chunk(request.hash, request.offset, 0), b""
        data = bytes(view[request.offset : request.offset + min(request.size, CHUNK)])
        return Chunk(request.hash, request.offset, len(view)), data

    def _view(self, path: Path) -> memoryview:
        view, _ = self._open.get(path, (None, 0.0))
        if view is None or not path.exists():
            self._open.pop(path, None)
            view = map_file(path)
            self._open[path] = (view, time.monotonic())
            if len(self._open) > _OPEN:
                self._open.popitem(last=False)
        return view


def _may_fetch(key: Key) -> bool:
    return key.may("work") or key.may("read") or key.may("admin")


class Fetcher:
    """Pulls blobs from other hosts into `store`. One thread uses it; sockets are made when first needed. `keys` says
    whose keys to use: called then, since most never fetch."""

    def __init__(
        self,
        store: BlobStore,
        patience: float = 15.0,
        retry: float = 2.0,
        keys: Callable[[], Keys | None] = lambda: None,
    ):
        self._store = store
        self._find_keys = keys
        self._keys: Keys | None = None
        self._patience = patience
        self._retry = retry
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None

    def fetch(self, node: Node, job: int, ref: Ref, offset: int, size: int) -> Buffer:
        """Bytes [offset, offset + size) of a blob that `node` holds.

        Raises:
            BlobLost: the node does not answer, or no longer has the blob.
            BlobWrong: it has other bytes under its name.
        """
        if ref.size > WHOLE and size < ref.size // 2:
            return self._right(node, job, ref, offset, size)
        data = self._right(node, job, ref, 0, ref.size)
        with allowance.paused():
            self._store.put(job, ref.stage, ref.kind, [data], ref.hash)
        return map_file(self._store.path(job, ref.stage, ref.kind, ref.hash), offset, size)

    def _right(self, node: Node, job: int, ref: Ref, offset: int, size: int) -> Buffer:
        """The bytes, checked. Wrong ones are asked for once more: it may have been the network."""
        into = bytearray(size)
        self._pull(node, job, ref, offset, size, into)
        try:
            return verified(memoryview(into), ref, offset)
        except BlobWrong:
            self._pull(node, job, ref, offset, size, into)
        try:
            return verified(memoryview(into), ref, offset)
        except BlobWrong as wrong:
            raise BlobWrong(node.name, f"{node.address} sent twice what {ref.hash.hex()} does not stand for") from wrong

    def _pull(self, node: Node, job: int, ref: Ref, offset: int, size: int, into: bytearray) -> None:
        """Fill `into` with the blob's bytes from `offset` on. A silent server gets a fresh connection every `retry`
        seconds; if nothing at all came it is asked for less at a time: on a slow link no large chunk might ever arrive
        whole."""
        chunk = CHUNK
        missing = _cut({0: size}, chunk)
        heard = time.monotonic()
        while missing:
            before = len(missing)
            self._attempt(node, job, ref, offset, missing, into)
            now = time.monotonic()
            if len(missing) < before:
                heard = now
                continue
            if now - heard > self._patience:
                raise BlobLost(node.name, f"{node.address} has not answered for {self._patience:g} s")
            chunk = max(chunk // 4, SMALL)
            missing = _cut(missing, chunk)

    def _attempt(self, node: Node, job: int, ref: Ref, offset: int, missing: dict[int, int], into: bytearray) -> None:
        """One connection: ask for what is missing until all has come or the server has been silent for `retry`
        seconds."""
        import zmq

        from .wire import sockets

        if self._context is None:
            self._keys = self._find_keys()
            self._context = zmq.Context()
        curve = None
        if self._keys is not None:
            if not node.key:
                raise BlobLost(node.name, f"{node.address} has no key, and with keys none is asked for blobs without")
            curve = self._keys.connect(node.key)
        todo = list(missing)
        asked = 0
        waiting: set[int] = set()
        socket = sockets.dealer(self._context, node.address, limit=2 * CHUNK, curve=curve)
        try:
            while missing:
                while asked < len(todo) and len(waiting) < CREDIT:
                    start = todo[asked]
                    sockets.send(
                        socket, encode(Fetch(job, ref.stage, ref.kind, ref.hash, offset + start, missing[start]))
                    )
                    waiting.add(start)
                    asked += 1
                if not socket.poll(int(self._retry * 1000)):
                    return
                frames = socket.recv_multipart()
                chunk, data = at_fetcher(frames[0]), frames[-1]
                start = chunk.offset - offset
                if chunk.hash != ref.hash or start not in missing:
                    continue
                if chunk.total not in (0, ref.size):
                    raise BlobWrong(node.name, f"{node.address} has {chunk.total} bytes where {ref.size} were made")
                if chunk.total != ref.size or len(data) != missing[start]:
                    raise BlobLost(node.name, f"{node.address} no longer has the blob {ref.hash.hex()} of job {job}")
                into[start : start + len(data)] = data
                del missing[start]
                waiting.discard(start)
        finally:
            socket.close(0)

    def close(self) -> None:
        if self._context is not None:
            self._context.term()
            self._context = None


def _cut(ranges: dict[int, int], size: int) -> dict[int, int]:
    """These ranges (start: length) in pieces of at most `size` bytes."""
    return {
        at: min(size, start + length - at)
        for start, length in ranges.items()
        for at in range(start, start + length, size)
    }
