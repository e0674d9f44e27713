"""What each key may say to the coordinator. Roles are kept apart: a worker's key speaks as a worker and nothing else, a
client's never does, and what a client may do depends on its scopes (see keys.py).

With keys, the owner of a job is the name of the key that submitted it, whatever the submission says; that key may
watch, explain and cancel it without the scope to do so with others' jobs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from ..keys import Key
from ..wire import messages as m
from ..wire.typed import clip

log = logging.getLogger("daf.coordinator")

_FROM_WORKERS = m.FromWorker.__args__


class Admission:
    """Judges messages. `owner` tells whose a job is (None: there is no such job).

    Attributes:
        refused: messages that their senders' keys did not cover.
    """

    def __init__(self, owner: Callable[[int], str | None]):
        self.refused = 0
        self._owner = owner

    def admit(self, key: Key, message: Any) -> tuple[Any, m.Message | None]:
        """(the message as it may be handled, None), or (None, the answer that says why it may not)."""
        wrong = self._wrong(key, message)
        if not wrong:
            if isinstance(message, m.Submit):
                message = msgspec.structs.replace(message, owner=key.name)
            elif isinstance(message, m.Hello):
                node = msgspec.structs.replace(message.node, key=key.public)
                message = msgspec.structs.replace(message, node=node)
            return message, None
        self.refused += 1
        text = f"the key {key.name!r} ({key.role}: {', '.join(sorted(key.scopes)) or 'no scope'}) {wrong}"
        if self.refused & (self.refused - 1) == 0:
            log.warning("refused message number %d: %s", self.refused, text)
        if isinstance(message, m.Hello | m.ClientHello) or key.role != "client":
            return None, m.Refused(clip(text))
        return None, m.Rejected(getattr(message, "token", ""), "forbidden", clip(text))

    def _wrong(self, key: Key, message: Any) -> str:
        """The end of the sentence that refuses the message, or "" when it may be said."""
        if isinstance(message, _FROM_WORKERS):
            return "" if key.role == "worker" and key.may("work") else "may not work here"
        if key.role != "client":
            return "may not speak as a client"
        if key.may("admin") or isinstance(message, m.ClientHello | m.Ping):
            return ""
        match message:
            case m.Submit():
                return "" if key.may("submit") else "may not submit jobs: it lacks the scope submit"
            case m.Cancel(job):
                mine = key.may("submit") and self._owner(job) == key.name
                return "" if mine else f"may not cancel job {job}: that takes its submitter's key, or the scope admin"
            case m.Watch(job) | m.Explain(job):
                mine = key.may("submit") and self._owner(job) == key.name
                return "" if mine or key.may("read") else f"may not see job {job}: it lacks the scope read"
            case m.ListJobs():
                return "" if key.may("read") else "may not list jobs: it lacks the scope read"
            case m.ListWorkers():
                return "" if key.may("read") or key.may("submit") else "may not list workers: it lacks the scope read"
            case m.Unwatch():
                return ""
        return "may not say that"
