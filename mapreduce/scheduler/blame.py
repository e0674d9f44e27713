"""Nodes whose bytes are wrong.

A reader that finds other bytes than a reference stands for says so (`input-wrong`), and what the node held for the job
is made again: there is nothing to wait for, as there is with a node that does not answer. Bytes rot now and then; a
node of which it is told `max_wrong` times has a bad disk, or a worker that lies. Its workers then get nothing for
`quarantine` seconds, and what they hold goes to others; unless there is a job type that nobody else can run, for a
cluster that stands still is no better. They stay connected, and `daf workers` and `daf explain` say why they are idle.

Who accuses may be the liar, and nobody can tell: of two that contradict each other one is set aside for a while, and
the job ends with the right bytes either way, or fails.
"""

from __future__ import annotations

from .events import Abort
from .state import State
from .workers import Node, Worker


def blame(s: State, name: str) -> None:
    """A task found wrong bytes on this node."""
    node = s.fleet.nodes.get(name)
    if node is None:
        return
    node.wrong += 1
    if node.wrong < s.settings.max_wrong:
        return
    node.wrong = 0
    if replaceable(s, node):
        node.aside = s.now + s.settings.quarantine
        for worker in list(node.workers.values()):
            set_aside(s, worker)


def replaceable(s: State, node: Node) -> bool:
    """Whether others offer all job types that this node's workers do."""
    others = [worker for worker in s.fleet if worker.node != node.name and not worker.resting]
    wanted = {item for worker in node.workers.values() for item in worker.types.items()}
    return all(any(worker.knows(*item) for worker in others) for item in wanted)


def set_aside(s: State, worker: Worker) -> None:
    """What it holds goes back to the queue, uncharged; it gets nothing."""
    s.fleet.rest(worker, aside=True)
    held = [(phase, index) for phase, indexes in worker.held.items() for index in indexes]
    if not held:
        return
    tasks = tuple((phase.id(index), worker.attempt(phase, index)) for phase, index in held)
    s.out.append(Abort(worker.name, tasks))
    for phase, index in held:
        s.return_attempt(worker, phase, index)
    for phase, _ in held:
        s.policy.update(s.jobs[phase.job])
    s.fresh = True


def forgive(s: State) -> None:
    """The time of nodes that were set aside is over: they are tried again."""
    for node in s.fleet.nodes.values():
        if node.aside and s.now >= node.aside:
            node.aside = 0.0
            for worker in node.workers.values():
                s.fleet.rouse(worker)
            s.fresh = True
