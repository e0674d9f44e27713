"""What waits for the commit: the end of a turn of the loop.

What has to last was buffered while the turn's messages were handled. Here it is committed, once, and only then does
anything leave that depends on it: acceptances, tasks, ends of jobs, acknowledgements, the word that blobs may go. A
turn in which nothing was said that depends on its records leaves them to the next, for `LATER` seconds at most: until
then nobody was told, and who brought the results keeps them. Map tasks are among what does not depend: they read
nothing that others wrote, so they go out before a commit that has nothing but results of maps.

When the store fails (a full disk), all of that goes on waiting; new submissions are refused with the reason, jobs that
were acknowledged are kept, and the commit is tried again every second.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..errors import StoreError
from ..scheduler import events as ev
from ..scheduler.core import Scheduler
from ..wire import messages as m
from . import outbound
from .desk import Desk
from .journal import Journal
from .peers import Peers
from .post import Post
from .roster import Roster

log = logging.getLogger("daf.coordinator")

LATER = 0.05
"""Seconds that records wait for a commit on which something depends."""
RETRY_STORE = 1.0
"""Seconds between attempts to commit to a store that failed."""
RELEASE = 1.0
"""Seconds that the deletion of blobs waits for a commit that is synced anyhow, before it asks for one."""
PAUSE = 0.02
"""Seconds between two words that blobs may go: each wakes a thread of every worker."""


class Promises:
    """`handle` lets the scheduler handle an event.

    Attributes:
        wake_at: when there is something to do though nothing comes (0: there is not).
    """

    def __init__(
        self,
        scheduler: Scheduler,
        journal: Journal,
        peers: Peers,
        post: Post,
        roster: Roster,
        desk: Desk,
        handle: Callable[[ev.Event, float], None],
    ):
        self._commit_at = 0.0
        """When records that nothing depends on are committed all the same."""
        self._scheduler = scheduler
        self._journal = journal
        self._peers = peers
        self._post = post
        self._roster = roster
        self._desk = desk
        self._handle = handle
        self._accepted: list[ev.Accepted] = []
        self._releases: list[ev.Release | ev.Keep] = []
        self._release_at = self._released_at = self._retry_at = 0.0

    @property
    def wake_at(self) -> float:
        free = self._releases and self._journal.synced and not self._journal.dirty
        return min(filter(None, (self._commit_at, self._released_at + PAUSE if free else 0.0)), default=0.0)

    def accept(self, action: ev.Accepted) -> None:
        """A job is to be acknowledged."""
        self._accepted.append(action)

    def release(self, action: ev.Release | ev.Keep, now: float) -> None:
        """Blobs may go."""
        self._releases.append(action)
        self._release_at = self._release_at or now + RELEASE

    def keep(self, now: float) -> None:
        """The end of a turn: commit, if it is time, and send what may be sent."""
        if self._journal.dirty and not (self._journal.trouble and now < self._retry_at) and self._pressing(now):
            self.commit(now)
        if self._releases and not self._journal.trouble:
            self._release(now)
        safe = not self._journal.trouble
        if safe:
            accepted, self._accepted = self._accepted, []
            for action in accepted:
                self._post.say(action.client, m.Accepted(action.token, action.job), now)
            self._post.flush(now)
        self._roster.acknowledge(safe, now)
        self._desk.tell_watchers(now)

    def _pressing(self, now: float) -> bool:
        """Whether something depends on the records at hand, or they have waited long enough."""
        self._commit_at = self._commit_at or now + LATER
        return bool(
            self._post.bound or self._accepted or self._roster.beats or self._journal.pressing or now >= self._commit_at
        )

    def _release(self, now: float) -> None:
        """Let the nodes delete what nothing refers to. What a power cut could bring back must not be deleted; but no
        round of a job should wait for a disk's fsync only because blobs of the last one may go. Where no power cut is
        to be survived they go at once: the next round overwrites their files (see recycle.py) instead of taking as many
        new pages as one second's rounds fill."""
        if now < self._released_at + PAUSE:
            return
        if self._journal.dirty or not self._journal.synced:
            if now < self._release_at:
                return
            self._journal.force()
            self.commit(now)
            if self._journal.trouble:
                return
        releases, self._releases = self._releases, []
        self._release_at, self._released_at = 0.0, now
        for action in releases:
            if isinstance(action, ev.Keep):
                if action.worker in self._peers.by_name:
                    self._post.later(self._peers.by_name[action.worker].id, outbound.keep(self._scheduler))
                continue
            for peer in self._peers.workers.values():
                if not action.units:
                    peer.told.pop(action.job, None)
                self._post.later(peer.id, m.Release(action.job, action.units))

    def commit(self, now: float) -> None:
        """Write what there is to the store. Where that fails, it is tried again later, and nothing is promised."""
        before, self._commit_at = self._journal.trouble, 0.0
        try:
            self._journal.commit()
        except StoreError as error:
            if not before:
                log.error("%s", error)
            self._retry_at = now + RETRY_STORE
            self._take_back(now)
            return
        if before:
            log.warning("the store can be written again")

    def _take_back(self, now: float) -> None:
        """Submissions that could not be committed were never acknowledged: refuse and cancel them."""
        accepted, self._accepted = self._accepted, []
        for action in accepted:
            self._desk.refuse(action.client, action.token, now)
            reason = f"refused, since the coordinator could not write its store: {self._journal.trouble}"
            self._handle(ev.CancelRequested(action.job, reason), now)
