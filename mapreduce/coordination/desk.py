"""The clients' desk: submissions, watching, questions.

What a client is told never runs ahead of the store: an acceptance, an end or a list waits for the commit of its turn.
While the store cannot be written, submissions, cancellations and lists are refused with the reason; progress and
explanations, which promise nothing, are still given.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

from .. import __version__
from ..errors import WireError
from ..scheduler import events as ev
from ..scheduler.core import Scheduler
from ..scheduler.queries import UnknownJob
from ..scheduler.table import ENDED
from ..wire import messages as m
from ..wire.typed import clip, encode
from . import inbound, watchers
from .journal import Journal
from .peers import ClientPeer, Peers
from .post import Post

RETRY_AFTER = 5.0
_ENDED = frozenset(state.value for state in ENDED)


class Desk:
    """Answers clients. `handle` lets the scheduler handle an event; `refusals` are the sentences that say which workers
    were turned away and why."""

    def __init__(
        self,
        name: str,
        scheduler: Scheduler,
        journal: Journal,
        peers: Peers,
        post: Post,
        watching: watchers.Watchers,
        handle: Callable[[ev.Event, float], None],
        refusals: Mapping[str, str],
    ):
        self.name = name
        self.watchers = watching
        self._refusals = refusals
        self._scheduler = scheduler
        self._journal = journal
        self._peers = peers
        self._post = post
        self._handle = handle
        self._started = time.monotonic()

    def welcome(self, peer: bytes, hello: m.ClientHello, now: float) -> None:
        """A client's first message."""
        wrong = inbound.difference(hello)
        if wrong:
            self._post.say(peer, m.Refused(clip(wrong)), now)
            return
        if peer not in self._peers.clients:
            for pushed_out in self._peers.add_client(peer, now):
                self.watchers.drop(pushed_out)
        self._post.say(peer, m.Ready(self.name, __version__), now)

    def forget(self, client: ClientPeer) -> None:
        """The client is gone, or was silent for long."""
        self.watchers.drop(client)
        self._peers.clients.pop(client.id, None)

    def take(self, client: ClientPeer, message: m.Message, now: float) -> None:
        """Deal with one message. Raises WireError for one that only workers send."""
        peer, say = client.id, self._post.say
        match message:
            case m.Submit():
                self._submit(peer, message, now)
            case m.Watch(job) | m.Cancel(job) | m.Forget(job) | m.Explain(job) if job not in self._scheduler.state.jobs:
                text = f"there is no job {job}: it never was, or it ended long ago and was forgotten"
                say(peer, m.Rejected("", "unknown-job", text), now)
            case m.Cancel() | m.Forget() | m.ListJobs() if self._journal.trouble:
                self.refuse(peer, "", now)
            case m.Watch(job):
                self.watchers.add(job, client)
                self.watchers.changed(job)
            case m.Unwatch(job):
                self.watchers.remove(job, client)
            case m.Cancel(job, reason):
                self._handle(ev.CancelRequested(job, reason or "cancelled by a client"), now)
                self._post.later(peer, self._update(job))
            case m.Forget(job):
                view = self._scheduler.snapshot(job)
                if view.state not in ENDED:
                    text = (
                        f"job {job} is {view.state.value}; only a job that has ended can be forgotten: cancel it first"
                    )
                    say(peer, m.Rejected("", "bad-request", text), now)
                    return
                self._handle(ev.ForgetRequested(job), now)
                self._post.later(peer, m.Forgotten(job))
            case m.ListJobs(limit):
                views = self._scheduler.jobs()[::-1][:limit]
                self._post.later(peer, m.Jobs(tuple([watchers.brief(view, self._peers) for view in views])))
            case m.ListWorkers():
                say(peer, m.Workers(self._worker_infos()), now)
            case m.Explain(job):
                say(peer, m.Explanation(job, self._explanation(job, now)), now)
            case m.Ping():
                say(peer, self._pong(now), now)
            case m.ClientHello():
                self.welcome(peer, message, now)
            case _:
                raise WireError(f"a client sent a {type(message).__name__}, which only workers send")

    def _submit(self, peer: bytes, message: m.Submit, now: float) -> None:
        wrong = inbound.unfit(message)
        known = self._journal.types
        if wrong:
            self._post.say(peer, m.Rejected(message.token, "bad-request", wrong), now)
        elif self._journal.trouble:
            self.refuse(peer, message.token, now)
        elif known and message.type not in known:
            text = f"no worker here ever offered job type {message.type!r}; there are {', '.join(sorted(known))}"
            self._post.say(peer, m.Rejected(message.token, "unknown-type", clip(text)), now)
        else:
            self._handle(inbound.submitted(peer, message, time.time()), now)

    def refuse(self, peer: bytes, token: str, now: float) -> None:
        """The store cannot be written, so nothing can be promised."""
        text = f"not while the coordinator cannot write its store: {self._journal.trouble}"
        self._post.say(peer, m.Rejected(token, "full", clip(text), RETRY_AFTER), now)

    def tell_watchers(self, now: float) -> None:
        """Send the Updates that are due. The end of a job waits until it is safe; until then its watchers hear that we
        live."""
        for job, clients in self.watchers.due(now):
            try:
                update = self._update(job)
            except UnknownJob:
                self.watchers.ended(job)
                continue
            ended = update.state in _ENDED
            unsafe = ended and bool(self._journal.trouble)
            frame = encode(self._pong(now) if unsafe else update)
            for client in clients:
                self._post.send(client.id, (frame,), now)
            if unsafe:
                self.watchers.progressed(job)
            elif ended:
                self.watchers.ended(job)

    def _update(self, job: int) -> m.Update:
        return watchers.update(self._scheduler.snapshot(job), self._peers, self._journal.nodes)

    def _explanation(self, job: int, now: float) -> tuple[str, ...]:
        lines = list(self._scheduler.explain(job, now))
        if self._journal.trouble:
            lines.insert(0, f"nothing is handed out while the store cannot be written: {self._journal.trouble}")
        return tuple(map(clip, (*lines, *self._refusals.values())))

    def _worker_infos(self) -> tuple[m.WorkerInfo, ...]:
        infos = []
        for view in self._scheduler.workers():
            peer = self._peers.by_name.get(view.worker)
            if peer is not None:
                resting = "set aside" if view.aside else "draining" if view.draining else ""
                state = resting or ("busy" if view.running else "idle")
                infos.append(
                    m.WorkerInfo(
                        worker=view.worker,
                        host=peer.hello.node.host,
                        slots=view.slots,
                        running=view.running,
                        memory=peer.memory,
                        state="unreachable" if peer.suspect else state,
                        since=peer.since,
                        plugins=view.types,
                    )
                )
        return tuple(infos)

    def _pong(self, now: float) -> m.Pong:
        state = self._scheduler.state
        live = len(state.jobs) - len(state.ended)
        return m.Pong(self.name, now - self._started, live, len(self._peers.workers), resident())


def resident() -> int:
    """Resident bytes of this process; 0 where /proc does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
