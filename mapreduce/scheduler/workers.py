"""Workers, the nodes where their outputs live, and who holds which attempt.

A worker's name is fresh for every incarnation; a node's is not. So a node whose last worker went away may come back,
with all that it held, when a worker joins under its name within a grace period. `since` orders workers by when they
were last heard, so that looking for expired leases costs nothing while there are none.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from .phase import Phase


class Batch:
    """What tasks assigned together share: when, and how many tasks deep a slot's queue was with them (0: not known). A
    backup attempt has a batch of its own, with its number; all others have the number that their phase says."""

    __slots__ = ("at", "backup", "depth")

    def __init__(self, at: float, depth: float, backup: int = 0) -> None:
        self.at, self.depth, self.backup = at, depth, backup


class Worker:
    """`held` says which attempts it has: phase -> index -> batch. `missing` are those that the last heartbeat did not
    name. While it has more than `enough` tasks it is not sent more."""

    __slots__ = (
        "aside",
        "draining",
        "enough",
        "heard",
        "held",
        "in_flight",
        "joined",
        "keys",
        "missing",
        "name",
        "node",
        "slots",
        "stuck",
        "turned",
        "types",
    )

    def __init__(self, name: str, node: str, slots: int, types: dict[str, str], now: float) -> None:
        self.name, self.node, self.slots, self.types = name, node, slots, types
        self.keys = [key for pair in types.items() for key in dict.fromkeys((pair, (pair[0], "")))]
        self.joined = self.heard = self.turned = now
        self.draining = False
        self.aside = False  # its node's bytes were wrong: see blame.py
        self.stuck = False  # behind a long task: it is sent nothing ahead of its slots until something comes back
        self.in_flight, self.enough = 0, slots - 1
        self.held: dict[Phase, dict[int, Batch]] = {}
        self.missing: set[tuple[Phase, int, int]] = set()

    def __repr__(self) -> str:
        return f"worker {self.name}"

    @property
    def resting(self) -> bool:
        """Takes no tasks."""
        return self.draining or self.aside

    def knows(self, type: str, version: str) -> bool:
        """Whether it may run jobs of this type; an empty version fits any."""
        return type in self.types and version in ("", self.types[type])

    def load(self) -> float:
        """Seconds of work it holds, over all slots, as far as known."""
        return sum(len(held) * phase.seconds for phase, held in self.held.items())

    def attempt(self, phase: Phase, index: int) -> int:
        """The number of the attempt that it holds."""
        return self.held[phase][index].backup or phase.attempts[index]

    def hold(self, phase: Phase, indexes: Iterable[int], batch: Batch) -> None:
        held = self.held.get(phase)
        if held is None:
            held = self.held[phase] = {}
        before = len(held)
        held.update(dict.fromkeys(indexes, batch))
        self.in_flight += len(held) - before

    def drop(self, phase: Phase, index: int) -> None:
        held = self.held[phase]
        del held[index]
        if not held:
            del self.held[phase]
        self.in_flight -= 1


class Node:
    """Where outputs live. `gone` is when its last worker went away; None while it has one. `wrong` counts the
    tasks that found other bytes there than they should have, `aside` is until when its workers get nothing for that
    (0: they do)."""

    __slots__ = ("aside", "gone", "name", "workers", "wrong")

    def __init__(self, name: str) -> None:
        self.name = name
        self.workers: dict[str, Worker] = {}
        self.gone: float | None = None
        self.wrong = 0
        self.aside = 0.0


class Fleet:
    """All workers and nodes. `since` maps names to workers, those longest silent first."""

    def __init__(self) -> None:
        self.since: OrderedDict[str, Worker] = OrderedDict()
        self.nodes: dict[str, Node] = {}
        self.hungry: dict[str, Worker] = {}  # has a free slot and takes tasks
        self.ahead: dict[str, Worker] = {}  # has more tasks than slots
        self.slots = 0

    def get(self, name: str) -> Worker | None:
        return self.since.get(name)

    def __iter__(self) -> Iterator[Worker]:
        return iter(self.since.values())

    def __len__(self) -> int:
        return len(self.since)

    def heard(self, worker: Worker, now: float) -> None:
        worker.heard = now
        self.since.move_to_end(worker.name)

    def join(self, worker: Worker) -> None:
        self.since[worker.name] = worker
        self.slots += worker.slots
        node = self.nodes.get(worker.node)
        if node is None:
            node = self.nodes[worker.node] = Node(worker.node)
        node.workers[worker.name] = worker
        node.gone = None
        self.weigh(worker)
        if node.aside:
            self.rest(worker, aside=True)

    def leave(self, worker: Worker, now: float) -> None:
        del self.since[worker.name]
        self.hungry.pop(worker.name, None)
        self.ahead.pop(worker.name, None)
        if not worker.resting:
            self.slots -= worker.slots
        node = self.nodes[worker.node]
        del node.workers[worker.name]
        if not node.workers:
            node.gone = now

    def drain(self, worker: Worker) -> None:
        self.rest(worker, draining=True)

    def rest(self, worker: Worker, draining: bool = False, aside: bool = False) -> None:
        """It takes no tasks from now on, for one reason or the other."""
        if not worker.resting:
            self.slots -= worker.slots
        worker.draining |= draining
        worker.aside |= aside
        self.hungry.pop(worker.name, None)

    def rouse(self, worker: Worker) -> None:
        """It is not set aside any more."""
        if worker.aside:
            worker.aside = False
            if not worker.draining:
                self.slots += worker.slots
            self.weigh(worker)

    def weigh(self, worker: Worker) -> None:
        """Call it after `in_flight` changed."""
        if worker.in_flight > worker.slots and worker.name in self.since:
            self.ahead[worker.name] = worker
        else:
            self.ahead.pop(worker.name, None)
        if worker.in_flight < worker.slots and not worker.resting and worker.name in self.since:
            self.hungry[worker.name] = worker
        else:
            self.hungry.pop(worker.name, None)

    def expect(self, node: str, now: float) -> None:
        """Outputs lie there, and no worker of it is here: after a restart, or it left before its results came."""
        if node not in self.nodes:
            self.nodes[node] = Node(node)
            self.nodes[node].gone = now

    def lives(self, node: str) -> bool:
        found = self.nodes.get(node)
        return found is not None and bool(found.workers)

    def capable(self, type: str, version: str) -> Iterator[Worker]:
        """Those that take tasks of this type."""
        return (worker for worker in self.since.values() if not worker.resting and worker.knows(type, version))
