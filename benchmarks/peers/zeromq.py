"""A bare pyzmq ROUTER/DEALER loop with msgpack: no scheduling, no durability, no faults. The limit for what is built on
it."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

from . import common

WORKER = """
import sys, zmq, msgpack
socket = zmq.Context().socket(zmq.DEALER)
socket.connect(sys.argv[1])
socket.send(msgpack.packb("hello"))
while True:
    socket.send(msgpack.packb(msgpack.unpackb(socket.recv())))
"""


def missing() -> str | None:
    return common.not_installed("zmq")


def version() -> str:
    return common.version_of("pyzmq")


class Loop:
    """A ROUTER and its workers."""

    def __init__(self) -> None:
        import msgpack
        import zmq

        self.pack, self.unpack = msgpack.packb, msgpack.unpackb
        self.socket = zmq.Context().socket(zmq.ROUTER)
        port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        command = [sys.executable, "-c", WORKER, f"tcp://127.0.0.1:{port}"]
        self.children = [subprocess.Popen(command) for _ in range(common.WORKERS)]
        self.workers = [self.socket.recv_multipart()[0] for _ in self.children]

    def run(self, n: int, depth: int) -> int:
        """n tasks, `depth` in flight at each worker, one message each; returns the sum of the answers."""
        sent = total = 0
        for _ in range(depth):
            for worker in self.workers:
                if sent < n:
                    self.socket.send_multipart([worker, self.pack(sent)])
                    sent += 1
        for _ in range(n):
            worker, answer = self.socket.recv_multipart()
            total += self.unpack(answer)
            if sent < n:
                self.socket.send_multipart([worker, self.pack(sent)])
                sent += 1
        return total

    def close(self) -> None:
        for child in self.children:
            child.kill()


def start() -> tuple[dict[str, float], str]:
    begin = time.perf_counter()
    loop = Loop()
    loop.run(7, 1)
    seconds = time.perf_counter() - begin
    answer: Any = {"seconds": seconds, "idle": common.tree_memory()}
    loop.close()
    return answer, common.digest(7)


def empty_tasks(n: int) -> tuple[dict[str, float], str]:
    loop = Loop()
    loop.run(100, 16)
    seconds, result = common.timed(lambda: loop.run(n, 16))
    loop.close()
    return {"rate": n / seconds}, common.digest(result)


def round_trip(n: int) -> tuple[dict[str, float], str]:
    loop = Loop()
    loop.workers = loop.workers[:1]
    figures = common.round_trips(lambda _: loop.run(1, 1), n)
    loop.close()
    return figures, ""
