"""Who is connected: workers and clients by routing id, and what was said to each.

A peer exists from its hello until it says goodbye, is expelled, or turns out to be gone. Whoever speaks without being
known is told to register, which is all it takes to live through a restart of the coordinator.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from ..scheduler.model import StagePlan
from ..wire import messages as m
from . import rates
from .rates import Bucket

MAX_CLIENTS = 4_096
CLIENT_SILENCE = 120.0
"""Seconds after which a client that said nothing is forgotten; its next word makes it register again."""


@dataclass(slots=True)
class WorkerPeer:
    """`told` maps a job to the stage and plan that this worker was last sent a StageInfo of. `backlog` are bundles that
    it was not ready to read, since `stuck`. `results` counts its result messages, `acked` those of them that it was
    told are safe. `name` is what the scheduler calls it."""

    id: bytes
    hello: m.Hello
    name: str
    since: float = field(default_factory=time.time)
    told: dict[int, tuple[int, StagePlan | None]] = field(default_factory=dict)
    backlog: deque[tuple[bytes, ...]] = field(default_factory=deque)
    stuck: float = 0.0
    suspect: float = 0.0
    """When it was last found unreachable; 0: it is not."""
    results: int = 0
    acked: int = 0
    memory: int = 0
    progress: tuple[m.Progress, ...] = ()

    def same_process(self, hello: m.Hello) -> bool:
        """Whether a hello comes from the process behind this peer."""
        mine = self.hello
        same_node = (mine.node.host, mine.node.name, mine.node.key) == (
            hello.node.host,
            hello.node.name,
            hello.node.key,
        )
        return same_node and mine.pid == hello.pid


@dataclass(slots=True)
class ClientPeer:
    id: bytes
    heard: float
    watching: set[int] = field(default_factory=set)
    said: Bucket = field(default_factory=lambda: Bucket(*rates.CLIENT))
    told: Bucket = field(default_factory=lambda: Bucket(*rates.ANSWERS))
    warned: float = 0.0
    """When it was last told that it says too much."""


class Peers:
    """All peers. Workers are also found by the name that the scheduler knows them by, fresh for every hello."""

    def __init__(self) -> None:
        self.workers: dict[bytes, WorkerPeer] = {}
        self.clients: dict[bytes, ClientPeer] = {}
        self.by_name: dict[str, WorkerPeer] = {}

    def add_worker(self, peer: WorkerPeer) -> None:
        self.workers[peer.id] = peer
        self.by_name[peer.name] = peer

    def drop_worker(self, peer: WorkerPeer) -> None:
        if self.workers.get(peer.id) is peer:
            del self.workers[peer.id]
        if self.by_name.get(peer.name) is peer:
            del self.by_name[peer.name]

    def fresh_name(self, wanted: str) -> str:
        """`wanted`, or with a number behind it when that name is in use."""
        number, name = 2, wanted
        while name in self.by_name:
            name = f"{wanted[:240]}~{number}"
            number += 1
        return name

    def add_client(self, id: bytes, now: float) -> list[ClientPeer]:
        """A new client. Where there are too many, the one that was silent longest goes, and is returned."""
        pushed_out = []
        while len(self.clients) >= MAX_CLIENTS:
            pushed_out.append(self.clients.pop(next(iter(self.clients))))
        self.clients[id] = ClientPeer(id, now)
        return pushed_out

    def heard(self, peer: ClientPeer, now: float) -> None:
        """Clients stay in the order of when they were last heard."""
        peer.heard = now
        self.clients[peer.id] = self.clients.pop(peer.id)

    def silent_clients(self, now: float) -> list[ClientPeer]:
        """Those to forget."""
        silent = []
        for peer in self.clients.values():
            if now - peer.heard < CLIENT_SILENCE:
                break
            silent.append(peer)
        return silent
