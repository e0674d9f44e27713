"""A TCP proxy that does to a connection what networks do, from a seed: delays, cuts, silence, single or wrong bytes.

Faults may be set while it runs. Chances are those of each piece that comes through, whose sizes are up to the kernel:
the seed makes the faults alike from run to run, not the same.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from dataclasses import dataclass
from types import TracebackType

PIECE = 16_384


@dataclass
class Faults:
    """What the network does now: `delay` seconds at most for each piece; chances of cutting both ways (`cut`), of one
    wrong byte (`corrupt`), of sending byte by byte (`slice`); `blackhole`: what comes is swallowed without a word."""

    delay: float = 0.0
    cut: float = 0.0
    corrupt: float = 0.0
    slice: float = 0.0
    blackhole: bool = False


class Proxy:
    """Forwards connections to `target` ("tcp://127.0.0.1:PORT"); `endpoint` is where. `happened` counts the faults."""

    def __init__(self, target: str, seed: int, faults: Faults | None = None):
        host, _, port = target.removeprefix("tcp://").rpartition(":")
        self.target = (host, int(port))
        self.faults = faults or Faults()
        self.happened = {"cut": 0, "corrupt": 0, "slice": 0, "swallowed": 0}
        self.connections = 0
        self._seed = seed
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """End all connections."""
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            _shut(end)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except ConnectionError:  # it went before we came
                continue
            except OSError:  # the end
                return
            try:
                server = socket.create_connection(self.target)
            except OSError:
                client.close()
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            with self._lock:
                self._open |= {client, server}
            for number, (source, sink) in enumerate(((client, server), (server, client))):
                rng = random.Random(f"{self._seed} {self.connections} {number}")
                threading.Thread(target=self._pump, args=(source, sink, rng), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, rng: random.Random) -> None:
        try:
            while piece := source.recv(PIECE):
                faults = self.faults
                if faults.blackhole:
                    self.happened["swallowed"] += len(piece)
                    continue
                time.sleep(rng.uniform(0, faults.delay))
                if rng.random() < faults.cut:
                    self.happened["cut"] += 1
                    sink.sendall(piece[: rng.randrange(len(piece))])
                    break
                if rng.random() < faults.corrupt:
                    self.happened["corrupt"] += 1
                    wrong = bytearray(piece)
                    wrong[rng.randrange(len(wrong))] ^= 1 << rng.randrange(8)
                    piece = bytes(wrong)
                if rng.random() < faults.slice:
                    self.happened["slice"] += 1
                    for byte in piece:
                        sink.sendall(bytes([byte]))
                else:
                    sink.sendall(piece)
        except OSError:
            pass  # the other way was cut
        finally:
            with self._lock:
                self._open -= {source, sink}
            _shut(source)
            _shut(sink)


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it is shut already
    end.close()
