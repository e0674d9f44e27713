"""A worker that runs nothing: it answers every task at once, over the real socket with the real messages.

Its outputs are a function of the task alone, as those of a real plugin are. `Fake` is one connection, driven by whoever
calls `turn`; `run` drives it until told to stop.
"""

from __future__ import annotations

import platform
import secrets
import time
from collections.abc import Callable
from typing import Any

import zmq
from xxhash import xxh3_128_digest

from mapreduce import __version__
from mapreduce.wire import messages as m
from mapreduce.wire import sockets
from mapreduce.wire.typed import at_worker, encode

Key = tuple[int, int, int, int]


def blob(*task: int) -> bytes:
    """The hash of what a task makes."""
    return xxh3_128_digest(repr(task).encode())


class Fake:
    """A worker for the job type `type`: `stages` stages of `maps` maps and `reduces` reduces, then FINISH.

    `ran` lists the tasks that it ran, `acked` counts results that the coordinator has taken for good. With `empty` the
    tasks leave no bytes. `hold(key)` may keep a task from being answered.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        type: str = "fake",
        maps: int = 10,
        reduces: int = 2,
        stages: int = 1,
        slots: int = 1,
        name: str = "",
        node: str = "",
        version: str = "1",
        empty: bool = False,
        hwm: int = 1_000,
        hold: Callable[[Key], bool] | None = None,
        value: bytes = b"",
        **hello: Any,
    ):
        self.endpoint = endpoint
        self.maps, self.reduces, self.stages, self.slots = maps, reduces, stages, slots
        self.name = name or f"fake-{secrets.token_hex(4)}"
        self.node = m.Node(node or f"node-{self.name}", "elsewhere", "/nowhere", "tcp://127.0.0.1:9")
        self.types = {type: version}
        self.empty, self.hwm = empty, hwm
        self.hold = hold or (lambda key: False)
        self.ran: list[Key] = []
        self.kept: list[tuple[m.Assign, tuple[int, int]]] = []
        self.seen: list[m.Message] = []
        self.infos: dict[tuple[int, int], m.StageInfo] = {}
        self.welcome: m.Welcome | None = None
        self.acked = 0
        self.released: list[m.Release] = []
        self.value = value
        self._hello = hello
        self._unacked: list[tuple[bytes, tuple[m.TaskKey, ...]]] = []
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._beat_at = self._heard = 0.0
        self.connect()

    def connect(self) -> None:
        """A new incarnation: fresh socket, Hello with what is held or not acknowledged; the results follow after
        Welcome."""
        if hasattr(self, "socket"):
            self.socket.close(0)
        self.socket = sockets.dealer(self._context, self.endpoint, hwm=self.hwm)
        self.socket.linger = 0  # a test that fails leaves it, and whoever collects it must not wait for nobody to read
        self.welcome, self.acked = None, 0
        held = [m.TaskKey(a.job, a.stage, a.kind, *task) for a, task in self.kept]
        fields: dict[str, Any] = {
            "protocol": m.PROTOCOL,
            "library": __version__,
            "python": platform.python_version(),
            "worker": self.name,
            "node": self.node,
            "slots": self.slots,
            "plugins": self.types,
            "pid": id(self),
            "running": (*held, *(key for _, keys in self._unacked for key in keys)),
        }
        self._heard = time.monotonic()
        self.say(m.Hello(**fields | self._hello))

    def connect_as_client(self) -> None:
        """Speak as a client from now on."""
        self.socket.close(0)
        self.socket = sockets.dealer(self._context, self.endpoint)
        self.say(m.ClientHello(m.PROTOCOL, __version__))

    def say(self, message: m.Message) -> None:
        sockets.send(self.socket, encode(message))

    def answer(self, message: m.Message, keys: tuple[m.TaskKey, ...]) -> None:
        """Send a result, and keep it until it is acknowledged."""
        frame = encode(message)
        self._unacked.append((frame, keys))
        sockets.send(self.socket, frame)

    def close(self) -> None:
        self.socket.close(0)
        self._context.term()

    def run(self, until: Callable[[], bool], seconds: float = 60.0) -> None:
        """Turn until `until()`; fails after `seconds`."""
        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, f"{self.name} waited {seconds} s in vain"
            self.turn()

    def turn(self, seconds: float = 0.02) -> None:
        """Deal with what has come, waiting up to `seconds` for something; beat when it is time."""
        now = time.monotonic()
        if self.welcome is not None:
            if now >= self._beat_at:
                self._beat_at = now + self.welcome.heartbeat
                held = tuple([m.TaskKey(a.job, a.stage, a.kind, *task) for a, task in self.kept])
                self.say(m.Beat(held))
            if now - self._heard > self.welcome.lease:
                self.connect()
        elif now - self._heard > 2.0:
            self.connect()
        if not self.socket.poll(int(seconds * 1000)):
            return
        while (frames := sockets.receive(self.socket)) is not None:
            self._heard = time.monotonic()
            for frame in frames:
                self._take(at_worker(frame))

    def _take(self, message: Any) -> None:
        if isinstance(message, m.Assign):
            self._assigned(message)
            return
        self.seen.append(message)
        if isinstance(message, m.StageInfo):
            self.infos[message.job, message.stage] = message
        elif isinstance(message, m.Welcome):
            self.welcome = message
            for frame, _ in self._unacked:
                sockets.send(self.socket, frame)
        elif isinstance(message, m.Ack):
            del self._unacked[: message.results - self.acked]
            self.acked = message.results
        elif isinstance(message, m.Reregister):
            self.connect()
        elif isinstance(message, m.Release):
            self.released.append(message)
        elif isinstance(message, m.Abort):
            dropped = {(key.job, key.stage, key.kind, key.index, key.attempt) for key in message.tasks}
            self.kept = [(a, task) for a, task in self.kept if (a.job, a.stage, a.kind, *task) not in dropped]

    def _assigned(self, a: m.Assign) -> None:
        assert (a.job, a.stage) in self.infos, "a task came before the StageInfo of its stage"
        now = [task for task in a.tasks if not self.hold((a.job, a.stage, a.kind, task[0]))]
        self.kept.extend((a, task) for task in a.tasks if task not in now)
        self.do(a, now)

    def let_go(self) -> None:
        """Answer what was kept."""
        kept, self.kept = self.kept, []
        for a, task in kept:
            self.do(a, [task])

    def do(self, a: m.Assign, tasks: list[tuple[int, int]]) -> None:
        """Run these tasks of `a`."""
        if not tasks:
            return
        keys = tuple([m.TaskKey(a.job, a.stage, a.kind, *task) for task in tasks])
        self.ran.extend([(a.job, a.stage, a.kind, index) for index, _ in tasks])
        if a.kind == 0:
            last = a.stage >= self.stages
            sizes = (0, 0) if last else (self.maps, self.reduces)
            self.answer(m.Planned(keys[0], f"stage {a.stage}", *sizes, b"setup", None, (), last), keys)
        elif a.kind == 3:
            value = self.value or repr([None if ref is None else ref.hash.hex() for ref in a.previous]).encode()
            self.answer(m.Finished(keys[0], value), keys)
        elif self.empty:
            self.answer(m.Results(a.job, a.stage, a.kind, tuple([m.Done(i, n) for i, n in tasks])), keys)
        else:
            sizes = (10,) * self.reduces if a.kind == 1 else ()
            size = sum(sizes) or 10
            hashes = {index: blob(a.job, a.stage, a.kind, index) for index, _ in tasks}
            if a.kind == 2:
                parts = {part.index: part for part in a.inputs}
                hashes = {i: xxh3_128_digest(b"".join(s[1].hash for s in parts[i].segments)) for i in hashes}
            done = tuple([m.Done(i, n, hashes[i], size, sizes, {"tasks": 1}) for i, n in tasks])
            self.answer(m.Results(a.job, a.stage, a.kind, done), keys)
