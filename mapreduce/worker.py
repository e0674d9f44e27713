"""The worker: holds the connection and the heartbeats, and never runs plugin code.

One thread, one loop: a poller over the DEALER to the coordinator, the slots' socket pairs, their output and their
deaths. Blobs are served by a thread of its own (blobserver.py), and deleted by another, so that neither bulk data nor
a large folder holds up a heartbeat. Slots and work are the pool's business (working/pool.py); here is the
conversation with the coordinator.

Hello until Welcome; a coordinator that does not know us, or is silent beyond the lease, gets a fresh socket and a new
Hello with all attempts that we hold or have results of; then those results again. Results are forwarded as the slots
wrote them and kept until the coordinator acknowledges them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import signal
import socket
import time

import zmq

from . import __version__
from .blobs import BlobStore
from .blobserver import BlobServer
from .errors import Refused, WireError
from .keys import load
from .roots import Roots
from .wire import messages
from .wire.messages import Assign
from .wire.typed import at_worker, encode
from .working import host
from .working.janitor import Janitor
from .working.ledger import task_keys
from .working.link import Link
from .working.nursery import Nursery
from .working.pool import Pool
from .working.settings import WorkerSettings

log = logging.getLogger("daf.worker")

CHECK = 0.1
"""Seconds between looks at the limits."""
AGAIN = 0.01
"""Seconds between attempts to reach the coordinator of a local engine."""
JOIN = 2.0
"""Seconds without an answer after which a Hello is sent again."""
GOODBYE = 2.0
"""Seconds that a worker waits, when it leaves, for the coordinator to take its last results."""


class Worker:
    """One worker process. `run` returns when it has been drained, or told twice to go."""

    def __init__(self, settings: WorkerSettings, nursery: Nursery | None = None):
        self.settings = settings
        self.nursery = nursery or Nursery(settings)
        self.draining = False
        self.leaving = ""
        self._poller = zmq.Poller()
        self._signals = 0
        self._zygote = -1
        self._stop_at = 0.0
        self._released: list[messages.Release | messages.Keep] = []
        """What the janitor is told at the end of the turn."""

    # ------------------------------------------------------------------------------------------------------ the loop

    def run(self) -> None:
        """Serve until told to go. Must be called in the main thread.

        Raises:
            Refused: the coordinator does not take this worker; the text says the difference.
            DafError: task processes cannot be started.
            Insecure: blobs would be served to strangers, or the keys are not safe.
            BadInput: the keys, or a root, cannot be used.
        """
        with contextlib.ExitStack() as ending:
            ending.callback(self.nursery.close)
            Roots(self.settings.roots)
            keys = load(self.settings.keys, "worker") if self.settings.keys else None
            context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
            ending.callback(context.term)
            curve = keys.connect() if keys is not None else None
            self.link = Link(context, self._poller, self.settings.connect, curve, self.settings.near)
            ending.callback(lambda: self.link.close(200))
            self.pool = Pool(self.nursery, self._poller, self.link.outbox.add)
            ending.callback(self.pool.close)
            bind = self.settings.blob_bind or host.blob_bind(self.settings.connect, keyed=keys is not None)
            self.blobs = BlobServer(self.nursery.data.blobs, bind, keys)
            ending.callback(self.blobs.close)
            self._blob_address = host.reachable(self.blobs.address, self.settings.connect)
            self._janitor = Janitor(BlobStore(self.nursery.data.blobs))
            ending.callback(self._janitor.close)
            self._versions = self._offer()
            self._watch_signals(ending)
            self._join()
            self._zygote = self.nursery.ask()  # a zygote that has just been started takes a moment: we beat meanwhile
            self._poller.register(self._zygote, zmq.POLLIN)
            self._loop()

    def _loop(self) -> None:
        next_beat = next_check = time.monotonic()
        while not self.leaving:
            self._turn(max(0.0, min(next_beat, next_check) - time.monotonic()))
            now = time.monotonic()
            if self.link.down:
                self._join()
            if now >= next_check:
                next_check = now + CHECK
                self.pool.check(now)
            if now >= next_beat:
                next_beat = now + (self.link.welcome.heartbeat if self.link.welcome is not None else 1.0)
                self._beat(now)
            if self.draining and self.pool.idle:
                self._leave("drained", now)

    def _turn(self, seconds: float) -> None:
        """Wait for something to happen and deal with all of it; then hand out work and send results."""
        patience = AGAIN if self.link.down else seconds
        for thing, flags in self._poller.poll(int(patience * 1000) + 1):
            if self.link.is_at(thing):
                if flags & ~zmq.POLLOUT:
                    self._hear()
            elif thing == self._woken.fileno():
                self._on_signal()
            elif thing == self._zygote:
                self._poller.unregister(thing)
                self._zygote = -1
                self.nursery.heard()
                self.pool.start()
            else:
                self.pool.on_event(int(thing))
        self.pool.hand_out()
        self.pool.flush()
        self.link.flush()
        for message in self._released:  # the janitor's thread would hold up what is sent
            self._janitor.release(message)
        self._released.clear()

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
        data = self.nursery.data
        hello = messages.Hello(
            protocol=messages.PROTOCOL,
            library=__version__,
            python=platform.python_version(),
            worker=self.nursery.name,
            node=messages.Node(data.node, self.nursery.host, str(data.blobs), self._blob_address),
            slots=self.settings.slots,
            plugins=self._versions,
            pid=os.getpid(),
            running=task_keys(dict.fromkeys([*self.link.outbox.keys(), *self.pool])),
        )
        self.link.join(encode(hello), time.monotonic())

    def _beat(self, now: float) -> None:
        if self.link.welcome is None:
            if now - self.link.asked > JOIN:
                self._join()
        elif now - self.link.heard > self.link.welcome.lease:
            log.warning("the coordinator has been silent for %.0f s: joining anew", now - self.link.heard)
            self._join()
        else:
            said = tuple(self.pool.progress.values())
            self.link.say(messages.Beat(task_keys(self.pool), said, self.pool.memory()))
            self.pool.progress.clear()

    def _hear(self) -> None:
        """All messages that have come; those that the coordinator had for us at one time come as one bundle."""
        while frames := self.link.receive():
            self.link.heard = time.monotonic()
            for frame in frames:
                try:
                    message = at_worker(frame)
                except WireError as error:
                    log.error("%s", error)
                    continue
                if isinstance(message, messages.Reregister):
                    if self.link.joined:
                        self._join()
                        return
                else:
                    self._heed(message, frame)

    def _heed(self, message: messages.Message, frame: bytes) -> None:
        """Do what one message says; `frame` is that message as it came."""
        match message:
            case Assign():
                self.pool.take(message, frame)
            case messages.StageInfo():
                self.pool.learn(message, frame)
            case messages.Ack():
                self.link.outbox.acknowledge(message.results)
            case messages.Abort():
                self.pool.abort({(t.job, t.stage, t.kind, t.index, t.attempt) for t in message.tasks})
            case messages.Release():
                self._released.append(message)
                self.pool.forget(message, frame)
            case messages.Keep():
                self._released.append(message)
            case messages.Welcome():
                self._welcome(message)
            case messages.Refused():
                raise Refused(f"the coordinator at {self.settings.connect} refused this worker: {message.message}")
            case messages.Drain():
                self._drain()

    def _welcome(self, message: messages.Welcome) -> None:
        self.link.welcome = message
        log.info("%s joined %s at %s", self.nursery.name, message.coordinator, self.settings.connect)
        if self.draining:
            self.link.say(messages.Draining())

    # ------------------------------------------------------------------------------------------------------- leaving

    def _watch_signals(self, ending: contextlib.ExitStack) -> None:
        self._wake, self._woken = socket.socketpair()
        for end in (self._wake, self._woken):
            end.setblocking(False)
            ending.callback(end.close)
        signal.set_wakeup_fd(self._wake.fileno())
        ending.callback(signal.set_wakeup_fd, -1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        self._poller.register(self._woken.fileno(), zmq.POLLIN)

    def _on_signal(self) -> None:
        for number in self._woken.recv(64):
            if number in (signal.SIGTERM, signal.SIGINT):
                self._signals += 1
        if self._signals > 1:
            self._leave("told twice to go", time.monotonic())
        elif self._signals and not self.draining:
            log.info("%s finishes what it holds, then leaves (a second signal ends it at once)", self.nursery.name)
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
                self.link.say(messages.Beat(()))  # asks for an Ack
                return
        self.leaving = reason
        self.link.say(messages.Bye(reason))
