"""The worker: holds the connection and the heartbeats, and never runs plugin code.

One thread, one loop: a poller over the DEALER to the coordinator, the slots' socket pairs, their output and their
deaths. Blobs are served by a thread of its own (blobserver.py), and deleted by another, so that neither bulk data nor
a large folder holds up a heartbeat.

Work comes as the coordinator batched it and is handed on as it came; with several slots, each is given what keeps it
busy for a few milliseconds, so that long tasks wait here for whichever slot is free first. Results are forwarded as
the slots wrote them and kept until the coordinator acknowledges them.

The connection is a state machine of its own (`Link`): Hello until Welcome; a coordinator that does not know us, or is
silent beyond the lease, gets a fresh socket and a new Hello with all attempts that we hold or have results of; then
those results again. A slot that dies costs the attempt it ran, with an error that says how; what waited behind goes
to the next process, uncharged.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import queue
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterable

import zmq

from . import __version__
from .blobs import BlobStore
from .blobserver import BlobServer
from .errors import DafError, Refused, WireError
from .wire import messages, sockets
from .wire.messages import Assign, Error, TaskKey
from .wire.typed import at_worker, encode
from .working.frames import Closed
from .working.gauge import Key
from .working.ledger import Outbox, Queue, keys_of, subset, task_keys
from .working.nursery import Nursery
from .working.process import SlotProcess
from .working.settings import WorkerSettings
from .working.slotwire import Loaded, Said, from_slot

log = logging.getLogger("daf.worker")

AHEAD = 0.02
"""Seconds of work that each of several slots is given ahead."""
CHECK = 0.1
"""Seconds between looks at the limits."""
JOIN = 2.0
"""Seconds without an answer after which a Hello is sent again."""
STAGES_KEPT = 4
"""Stages of one job that are remembered; the coordinator tells of a stage again when it comes back to an earlier
one."""
STARTS = 3
"""So many processes in a row may die before they have loaded; then the worker gives up."""
GOODBYE = 2.0
"""Seconds that a worker waits, when it leaves, for the coordinator to take its last results."""


class Link:
    """The connection to the coordinator: which incarnation we are, and what has been said."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str):
        self._context = context
        self._endpoint = endpoint
        self.socket = sockets.dealer(context, endpoint)
        self.outbox = Outbox()
        self.welcome: messages.Welcome | None = None
        self.heard = self.asked = 0.0
        self._control: list[bytes] = []
        self.blocked = False

    @property
    def joined(self) -> bool:
        return self.welcome is not None

    def join(self, hello: bytes, now: float) -> None:
        """Become a new incarnation: fresh socket, Hello, and all unacknowledged results once we are welcome."""
        self.socket.close(0)
        self.socket = sockets.dealer(self._context, self._endpoint)
        self.welcome = None
        self.outbox.rewind()
        self._control = [hello]
        self.asked = now
        self.flush()

    def say(self, message: messages.Message) -> None:
        """Send a message that is worthless to another incarnation: it is dropped when we are not joined."""
        if self.joined:
            self.flush()
            self._control.append(encode(message))
            self.flush()

    def flush(self) -> None:
        """Send what there is to send, results first: a Beat must not overtake the result of a task that it no longer
        names."""
        self.blocked = True
        if self.joined:
            while (frame := self.outbox.next()) is not None:
                if not sockets.send(self.socket, frame):
                    return
                self.outbox.sent()
        while self._control:
            if not sockets.send(self.socket, self._control[0]):
                return
            self._control.pop(0)
        self.blocked = False


class Worker:
    """One worker process. `run` returns when it has been drained, refused, or told twice to go."""

    def __init__(self, settings: WorkerSettings, nursery: Nursery | None = None):
        self.settings = settings
        self.nursery = nursery or Nursery(settings)
        self.name, self.data = self.nursery.name, self.nursery.data
        self.queue = Queue()
        self.slots: list[SlotProcess] = []
        self.retired: list[SlotProcess] = []
        self.stages: dict[tuple[int, int], tuple[messages.StageInfo, bytes]] = {}
        self.progress: dict[Key, messages.Progress] = {}
        self.draining = False
        self.leaving = ""
        self._poller = zmq.Poller()
        self._signals = 0
        self._stop_at = 0.0
        self._failed_starts = 0

    # ------------------------------------------------------------------------------------------------------ the loop

    def run(self) -> None:
        """Serve until told to go. Must be called in the main thread.

        Raises:
            Refused: the coordinator does not take this worker; the text says the difference.
            DafError: task processes cannot be started.
        """
        with contextlib.ExitStack() as ending:
            ending.callback(self.nursery.close)
            ending.callback(self._end_slots)
            for _ in range(self.settings.slots):
                self._start_slot()
            self._versions = self._offer()
            self.blobs = BlobServer(self.data.blobs, self.settings.blob_bind)
            ending.callback(self.blobs.close)
            self._janitor = Janitor(BlobStore(self.data.blobs))
            ending.callback(self._janitor.close)
            self._watch_signals()
            ending.callback(self._wake.close)
            ending.callback(self._woken.close)
            context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
            ending.callback(context.term)
            self.link = Link(context, self.settings.connect)
            ending.callback(lambda: self.link.socket.close(200))
            self._poller.register(self.link.socket, zmq.POLLIN)
            self._join()
            self._loop()

    def _loop(self) -> None:
        now = time.monotonic()
        next_beat = next_check = now
        while not self.leaving:
            interval = self.link.welcome.heartbeat if self.link.welcome is not None else 1.0
            wait = max(0.0, min(next_beat, next_check) - time.monotonic())
            self._turn(int(wait * 1000) + 1)
            now = time.monotonic()
            if now >= next_check:
                next_check = now + CHECK
                for slot in self.slots + self.retired:
                    slot.check(now, self._limits)
            if now >= next_beat:
                next_beat = now + interval
                self._beat(now)
            if self.draining and self._idle():
                self._leave("drained", now)

    def _turn(self, timeout: int) -> None:
        """Wait for something to happen and deal with all of it; then hand out work and send results."""
        for thing, flags in self._poller.poll(timeout):
            if thing is self.link.socket:
                if flags & zmq.POLLIN:
                    self._hear()
            elif thing == self._woken.fileno():
                self._on_signal()
            else:
                self._on_slot(int(thing))
        self._hand_out()
        self.link.flush()
        flags = zmq.POLLIN | (zmq.POLLOUT if self.link.blocked else 0)
        self._poller.modify(self.link.socket, flags)

    def _idle(self) -> bool:
        return not self.queue and not any(slot.held for slot in self.slots + self.retired)

    # ----------------------------------------------------------------------------------------------- the coordinator

    def _offer(self) -> dict[str, str]:
        if self.settings.offer:
            return self.settings.offer
        from . import plugins

        for spec in self.settings.plugins:
            plugins.add(spec)
        versions = plugins.versions()
        wanted = self.settings.types or versions
        return {name: version for name, version in versions.items() if name in wanted}

    def _join(self) -> None:
        node = messages.Node(self.data.node, self.nursery.host, str(self.data.blobs), self.blobs.address)
        hello = messages.Hello(
            protocol=messages.PROTOCOL,
            library=__version__,
            python=platform.python_version(),
            worker=self.name,
            node=node,
            slots=self.settings.slots,
            plugins=self._versions,
            pid=os.getpid(),
            running=task_keys(dict.fromkeys([*self._holding(), *self.link.outbox.keys()])),
        )
        self._poller.unregister(self.link.socket)
        self.link.join(encode(hello), time.monotonic())
        self._poller.register(self.link.socket, zmq.POLLIN)

    def _holding(self) -> Iterable[Key]:
        yield from self.queue
        for slot in self.slots + self.retired:
            yield from slot.held

    def _beat(self, now: float) -> None:
        if self.link.welcome is None:
            if now - self.link.asked > JOIN:
                self._join()
            return
        if now - self.link.heard > self.link.welcome.lease:
            log.warning("the coordinator has been silent for %.0f s: joining anew", now - self.link.heard)
            self._join()
            return
        memory = sum(slot.memory() for slot in self.slots + self.retired)
        self.link.say(messages.Beat(task_keys(self._holding()), tuple(self.progress.values()), memory))
        self.progress.clear()

    def _hear(self) -> None:
        """All messages that have come."""
        while (frames := sockets.receive(self.link.socket)) is not None:
            self.link.heard = time.monotonic()
            try:
                message = at_worker(frames[-1])
            except WireError as error:
                log.error("%s", error)
                continue
            match message:
                case Assign():
                    self._assigned(message, frames[-1])
                case messages.StageInfo():
                    self._stage(message, frames[-1])
                case messages.Ack():
                    self.link.outbox.acknowledge(message.results)
                case messages.Abort():
                    self._abort(message)
                case messages.Release():
                    self._release(message, frames[-1])
                case messages.Welcome():
                    self.link.welcome = message
                    log.info("%s joined %s at %s", self.name, message.coordinator, self.settings.connect)
                    if self.draining:
                        self.link.say(messages.Draining())
                case messages.Reregister():
                    if self.link.joined:
                        self._join()
                        return
                case messages.Refused():
                    raise Refused(f"the coordinator at {self.settings.connect} refused this worker: {message.message}")
                case messages.Drain():
                    self._drain()

    def _stage(self, info: messages.StageInfo, frame: bytes) -> None:
        key = (info.job, info.stage)
        known = self.stages.get(key)
        if known is None or known[0] != info:
            self.stages.pop(key, None)
            self.stages[key] = (info, frame)
            mine = [old for old in self.stages if old[0] == info.job]
            for old in mine[:-STAGES_KEPT]:
                del self.stages[old]
            for slot in self.slots:
                slot.stages.discard(key)

    def _assigned(self, assign: Assign, frame: bytes) -> None:
        """With one slot the message goes on as it is."""
        keys = keys_of(assign)
        if len(self.slots) == 1 and not self.queue:
            self._give(self.slots[0], assign, keys, frame)
        else:
            self.queue.add(assign, keys)

    def _abort(self, message: messages.Abort) -> None:
        keys = {(t.job, t.stage, t.kind, t.index, t.attempt) for t in message.tasks}
        self.queue.drop(keys)
        for slot in self.slots + self.retired:
            slot.abort(keys)

    def _release(self, message: messages.Release, frame: bytes) -> None:
        self._janitor.release(message)
        for slot in self.slots + self.retired:
            slot.tell(frame)
        if not message.units:
            self.stages = {key: value for key, value in self.stages.items() if key[0] != message.job}
            for slot in self.slots:
                slot.stages = {key for key in slot.stages if key[0] != message.job}

    # ----------------------------------------------------------------------------------------------------- the slots

    def _start_slot(self) -> SlotProcess:
        slot = self.nursery.slot()
        self.slots.append(slot)
        for fd in (slot.channel.fileno(), slot.log_fd, slot.exit_fd):
            self._poller.register(fd, zmq.POLLIN)
        return slot

    def _hand_out(self) -> None:
        """Give waiting attempts to slots with room."""
        while self.queue:
            rooms = [(len(slot.held), number) for number, slot in enumerate(self.slots) if slot.room(AHEAD) > 0]
            if not rooms:
                return
            slot = self.slots[min(rooms)[1]]
            share = -(-len(self.queue) // len(self.slots))
            taken = self.queue.take(min(slot.room(AHEAD), share))
            if taken is None:
                return
            assign = subset(taken[0], taken[1])
            self._give(slot, assign, taken[1], encode(assign))

    def _give(self, slot: SlotProcess, assign: Assign, keys: list[Key], frame: bytes) -> None:
        key = (assign.job, assign.stage)
        if key not in slot.stages:
            if key in self.stages:
                slot.tell(self.stages[key][1])
            slot.stages.add(key)
        slot.give(assign, keys, frame)
        self._watch_output(slot)

    def _watch_output(self, slot: SlotProcess) -> None:
        flags = zmq.POLLIN | (zmq.POLLOUT if slot.channel.unsent else 0)
        self._poller.modify(slot.channel.fileno(), flags)

    def _on_slot(self, fd: int) -> None:
        for slot in self.slots + self.retired:
            if fd == slot.channel.fileno():
                self._read(slot)
                return
            if fd == slot.log_fd:
                if slot.read_log() == 0:
                    self._poller.unregister(fd)
                return
            if fd == slot.exit_fd:
                self._died(slot)
                return

    def _read(self, slot: SlotProcess) -> None:
        try:
            slot.channel.flush()
            frames = slot.channel.receive()
        except Closed:  # its death is reported by exit_fd
            if slot.channel.fileno() in self._poller:
                self._poller.unregister(slot.channel.fileno())
            return
        self._watch_output(slot)
        for frame in frames:
            self._answer(slot, frame)
        self._maybe_recycle(slot)

    def _answer(self, slot: SlotProcess, frame: bytes) -> None:
        message = from_slot(frame)
        if isinstance(message, messages.Results):
            unit = (message.job, message.stage, message.kind)
            keys = [(*unit, done.index, done.attempt) for done in message.done]
            known = slot.answered(keys)
            if len(known) < len(keys):
                wanted = set(known)
                done = tuple(d for d, key in zip(message.done, keys, strict=True) if key in wanted)
                frame = encode(messages.Results(*unit, done))
        elif isinstance(message, Said):
            task = message.progress.task
            self.progress[(task.job, task.stage, task.kind, task.index, task.attempt)] = message.progress
            return
        elif isinstance(message, Loaded):
            slot.loaded = True
            self._failed_starts = 0
            return
        else:
            task = message.task
            known = slot.answered([(task.job, task.stage, task.kind, task.index, task.attempt)])
        for key in known:
            self.progress.pop(key, None)
        if known:
            self.link.outbox.add(frame, known)

    def _died(self, slot: SlotProcess) -> None:
        """A slot's process ended: take what it had still sent, charge the attempt it ran, give the rest to another."""
        self._read(slot)
        status, peak = slot.end()
        reading, error = slot.post_mortem(status, peak)
        expected = slot in self.retired or self.leaving
        charged: Key | None = None
        if reading is not None:
            charged = reading.key
            del slot.held[charged]
            if slot.doomed != "abort":
                self._fail(charged, error)
        for assign, keys in reversed(slot.unanswered()):
            self.queue.add(assign, keys, front=True)
        self._drop_slot(slot)
        if expected:
            return
        if not slot.loaded:
            self._failed_starts += 1
            if self._failed_starts >= STARTS:
                raise DafError(f"the task process cannot start: {error.message}\n{error.log}")
        if slot.doomed != "abort":
            log.warning("slot process %d ended: %s", slot.pid, error.message)
        self._start_slot()

    def _fail(self, key: Key, error: Error) -> None:
        self.link.outbox.add(encode(messages.Failed(TaskKey(*key), error)), [key])

    def _drop_slot(self, slot: SlotProcess) -> None:
        for fd in (slot.channel.fileno(), slot.log_fd, slot.exit_fd):
            if fd in self._poller:
                self._poller.unregister(fd)
        (self.slots if slot in self.slots else self.retired).remove(slot)
        slot.close()
        shutil.rmtree(self.data.scratch / str(slot.pid), ignore_errors=True)

    def _limits(self, key: Key) -> tuple[float, int]:
        """Seconds and bytes that an attempt may use: the job's limits and the worker's, whichever are less; 0 for
        none."""
        info = self.stages.get(key[:2])
        asked = (info[0].task_seconds, info[0].task_memory) if info is not None else (0.0, 0)
        seconds = min(filter(None, (asked[0], self.settings.task_seconds)), default=0.0)
        return seconds, min(filter(None, (asked[1], self.settings.task_memory)), default=0)

    def _maybe_recycle(self, slot: SlotProcess) -> None:
        """Replace a process that has run long enough or holds too much; it first finishes what it was given."""
        if slot not in self.slots:
            if not slot.held:
                slot.stop()
            return
        count, memory = self.settings.recycle_tasks, self.settings.recycle_memory
        if (count and slot.finished >= count) or (memory and slot.loaded and slot.grown(memory)):
            self.slots.remove(slot)
            self.retired.append(slot)
            self._start_slot()
            if not slot.held:
                slot.stop()

    # ------------------------------------------------------------------------------------------------------- leaving

    def _watch_signals(self) -> None:
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        self._poller.register(self._woken.fileno(), zmq.POLLIN)

    def _on_signal(self) -> None:
        try:
            numbers = self._woken.recv(64)
        except BlockingIOError:
            return
        for number in numbers:
            if number not in (signal.SIGTERM, signal.SIGINT):
                continue
            self._signals += 1
            if self._signals > 1:
                self._leave("told twice to go", time.monotonic())
            else:
                log.info("%s finishes what it holds, then leaves (a second signal ends it at once)", self.name)
                self._drain()

    def _drain(self) -> None:
        if not self.draining:
            self.draining = True
            self.link.say(messages.Draining())

    def _leave(self, reason: str, now: float) -> None:
        """Say goodbye; when drained, wait a little for the last results to be acknowledged."""
        if reason == "drained" and len(self.link.outbox):
            self._stop_at = self._stop_at or now + GOODBYE
            if now < self._stop_at:
                if self.link.joined:
                    self.link.say(messages.Beat(task_keys(self._holding())))
                return
        self.leaving = reason
        self.link.say(messages.Bye(reason))

    def _end_slots(self) -> None:
        for slot in self.slots + self.retired:
            slot.kill()
        for slot in self.slots + self.retired:
            slot.end()
            slot.close()
            shutil.rmtree(self.data.scratch / str(slot.pid), ignore_errors=True)


class Janitor:
    """Deletes released units in a thread: a folder with a hundred thousand files must not hold up a heartbeat."""

    def __init__(self, store: BlobStore):
        self._store = store
        self._todo: queue.SimpleQueue[messages.Release | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="daf-janitor", daemon=True)
        self._thread.start()

    def release(self, message: messages.Release) -> None:
        self._todo.put(message)

    def _run(self) -> None:
        while (message := self._todo.get()) is not None:
            self._store.release(message.job, message.units)

    def close(self) -> None:
        self._todo.put(None)
        self._thread.join()
