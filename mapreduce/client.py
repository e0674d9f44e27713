"""Submit, watch and cancel jobs from Python.

    with Client("tcp://127.0.0.1:7077") as client:
        job = client.submit("wordcount", msgspec.msgpack.encode({"paths": ["/data/book.txt"], "top": 5}))
        for update in client.watch(job):
            print(update.state, update.maps_done, "of", update.maps)

(`mapreduce.run(job, engine="tcp://127.0.0.1:7077")` does this and decodes the result.)

A client is one socket and belongs to the thread that made it; it has no thread of its own. It lives through a
coordinator that is away for a while: a request that got no answer is sent again on a fresh socket (so that a late
answer to the first one cannot be taken for the answer to the next), jobs under watch are watched anew, and only after
`patience` seconds of silence does it give up with `Unreachable`. All requests may be repeated: those that only ask,
`cancel`, and `submit`, whose random token lets the coordinator recognise a repeat."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import zmq

from . import __version__
from .errors import (
    DafError,
    JobCancelled,
    JobFailed,
    Overloaded,
    Refused,
    TimedOut,
    UnknownJob,
    UnknownJobType,
    Unreachable,
    WireError,
)
from .keys import Keys, chosen
from .wire import messages as m
from .wire import sockets, typed

ENDED = frozenset(("done", "failed", "cancelled"))
RESEND = 2.0
"""Seconds without an answer after which a request is sent again, and a watch is renewed."""

CHECK = 0.2
"""Seconds of waiting between calls of `check`."""


class Client:
    """A connection to the coordinator at `endpoint` (tcp://HOST:PORT or ipc:///path).

    Args:
        endpoint: where the coordinator listens.
        patience: seconds without any answer before `Unreachable` is raised.
        owner: under whose name jobs are submitted; a coordinator with keys takes the name of the client's key.
        keys: this client's keys, or where they are (see `mapreduce.keys`); None: what the variable DAF_KEYS says, "":
            none. With keys the connection is encrypted, and only the coordinator whose key is there is spoken to.
        check: called several times a second while an answer is awaited; what it raises ends the wait.

    Raises:
        Insecure, BadInput: the keys cannot be used.
        ValueError: `endpoint` is none.

    Every method may raise Unreachable, Refused (versions differ), and RuntimeError when called from another thread.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        patience: float = 10.0,
        owner: str = "",
        keys: Keys | str | Path | None = None,
        check: Callable[[], None] | None = None,
    ):
        self._check = check
        self.keys = chosen(keys, "client")
        self._curve = self.keys.connect() if self.keys is not None else None
        self.endpoint = endpoint
        self.patience = patience
        self.owner = owner
        self._thread = threading.get_ident()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None
        self._watched: dict[int, deque[m.Update]] = {}
        self._heard = time.monotonic()
        try:
            self._connect()
        except ValueError:
            self.close()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; jobs run on."""
        if self._socket is not None:
            self._socket.close(0)
            self._socket = None
        self._context.term()

    # ------------------------------------------------------------------------------------------------------ requests

    def submit(
        self,
        type: str,
        params: bytes,
        *,
        version: str = "",
        seed: int = 0,
        priority: int = 0,
        weight: float = 1.0,
        attempts: int = 3,
        task_seconds: float = 0.0,
        task_memory: int = 0,
        skip_bad: int = 0,
        token: str = "",
    ) -> int:
        """Run a job; returns its number once the coordinator has it safe.

        Args:
            type: name of the job type.
            params: msgpack of the validated parameters.
            version: of the job type; workers with another version do not get its tasks. "": any.
            priority: jobs of higher priority get workers first; `weight` shares them among equals.
            attempts: how often a task may fail before the job does.
            task_seconds, task_memory: limits of one task, in seconds and bytes; 0: none.
            skip_bad: how many splits may be set aside: a map task that failed all its attempts then does not fail the
                job, which goes on as if that split had nothing in it.
            token: names this request; give the same again to ask for the same job after this process was restarted.

        Raises:
            Overloaded: the coordinator takes no more jobs for now; `retry_after` says when it may.
            UnknownJobType: no worker ever offered this type.
            Refused: a value is out of range.
        """
        request = m.Submit(
            token=token or secrets.token_hex(16),
            type=type,
            params=params,
            seed=seed,
            priority=priority,
            weight=weight,
            owner=self.owner,
            version=version,
            attempts=attempts,
            task_seconds=task_seconds,
            task_memory=task_memory,
            skip_bad=skip_bad,
        )
        answer = self._request(request, lambda r: isinstance(r, m.Accepted) and r.token == request.token)
        return int(answer.job)

    def update(self, job: int) -> m.Update:
        """Where the job is now. Raises UnknownJob."""
        answer: m.Update = self._request(m.Watch(job), lambda r: isinstance(r, m.Update) and r.job == job)
        if job not in self._watched:
            self._send(m.Unwatch(job))
        return answer

    def watch(self, job: int) -> Iterator[m.Update]:
        """Where the job is now, then every change (at most about ten a second), the end last. Other calls may be made
        meanwhile.

        Raises UnknownJob.
        """
        return self._follow(job, None)

    def wait(self, job: int, timeout: float | None = None, seen: Callable[[m.Update], None] | None = None) -> m.Update:
        """Wait until the job is done and return its last update (`value`, `outputs`, `counters`). `seen` gets each
        update on the way.

        Raises:
            JobFailed, JobCancelled: it ended otherwise.
            TimedOut: it had not ended after `timeout` seconds; it runs on.
            UnknownJob: there is no such job.
        """
        for update in self._follow(job, timeout):
            if seen is not None:
                seen(update)
        return outcome(update)

    def _follow(self, job: int, timeout: float | None) -> Iterator[m.Update]:
        if job in self._watched:
            raise ValueError(f"this client watches job {job} already")
        deadline = None if timeout is None else time.monotonic() + timeout
        queue = self._watched[job] = deque()
        try:
            update: m.Update = self._request(m.Watch(job), lambda r: isinstance(r, m.Update) and r.job == job)
            queue.clear()
            while True:
                yield update
                if update.state in ENDED:
                    return
                while not queue:
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        raise TimedOut(
                            f"job {job} ({update.type}) is still {update.state} after {timeout:g} s; it runs on"
                        )
                    self._wait(m.Watch(job), left)
                update = queue.popleft()
        finally:
            del self._watched[job]
            if self._socket is not None:
                self._send(m.Unwatch(job))

    def cancel(self, job: int, reason: str = "") -> m.Update:
        """Cancel a job and return where it is then; a job that has ended stays as it ended. Raises UnknownJob."""
        answer: m.Update = self._request(
            m.Cancel(job, typed.clip(reason, typed.MAX_NAME)),
            lambda r: isinstance(r, m.Update) and r.job == job and r.state in ENDED,
        )
        return answer

    def forget(self, job: int) -> None:
        """Have nothing kept of a job that has ended: neither its value nor its outputs. Raises UnknownJob, and Refused
        for one that has not."""
        self._request(m.Forget(job), lambda r: isinstance(r, m.Forgotten) and r.job == job)

    def jobs(self, limit: int = 100) -> tuple[m.Update, ...]:
        """The newest `limit` jobs, newest first."""
        answer: m.Jobs = self._request(m.ListJobs(limit), lambda r: isinstance(r, m.Jobs))
        return answer.jobs

    def workers(self) -> tuple[m.WorkerInfo, ...]:
        """The workers that are connected."""
        answer: m.Workers = self._request(m.ListWorkers(), lambda r: isinstance(r, m.Workers))
        return answer.workers

    def explain(self, job: int) -> tuple[str, ...]:
        """Why the job is where it is: sentences, most important first. Raises UnknownJob."""
        answer: m.Explanation = self._request(m.Explain(job), lambda r: isinstance(r, m.Explanation) and r.job == job)
        return answer.lines

    def ping(self) -> m.Pong:
        """Ask whether the coordinator is there."""
        answer: m.Pong = self._request(m.Ping(), lambda r: isinstance(r, m.Pong))
        return answer

    # ---------------------------------------------------------------------------------------------------- the socket

    def _connect(self) -> None:
        """A fresh socket: what is still on its way to the old one is not ours any more."""
        if self._socket is not None:
            self._socket.close(0)
        self._socket = sockets.dealer(self._context, self.endpoint, curve=self._curve)
        self._introduce()

    def _introduce(self) -> None:
        self._send(m.ClientHello(m.PROTOCOL, __version__))
        for job in self._watched:
            self._send(m.Watch(job))

    def _send(self, message: m.Message) -> None:
        if threading.get_ident() != self._thread:
            raise RuntimeError("a Client belongs to the thread that made it: make one for each thread")
        if self._socket is None:
            raise RuntimeError("this Client is closed")
        sockets.send(
            self._socket, typed.encode(message)
        )  # a full queue is a silent coordinator: the resend or the patience ends it

    def _request(self, request: m.Message, answers: Callable[[Any], bool]) -> Any:
        """Send, wait for what `answers`, send again when there is silence."""
        self._send(request)
        self._heard = sent = began = time.monotonic()
        while True:
            message = self._receive(min(sent + RESEND, self._heard + self.patience) - time.monotonic())
            now = time.monotonic()
            if message is not None:
                self._heard = now
                if isinstance(message, m.Rejected) and message.token == getattr(request, "token", ""):
                    if message.code != "busy" or now - began + message.retry_after > self.patience:
                        raise rejection(message)
                    time.sleep(message.retry_after)  # we said too much; now it is heard
                    self._send(request)
                    self._heard = sent = time.monotonic()
                    continue
                if answers(message):
                    return message
                if isinstance(message, m.Reregister):
                    self._introduce()
                    self._send(request)
                    sent = now
            elif now - self._heard >= self.patience:
                raise self._unreachable()
            elif now - sent >= RESEND:
                self._connect()
                self._send(request)
                sent = now

    def _wait(self, renew: m.Message, limit: float | None = None) -> None:
        """Wait for one message, `limit` seconds at most; in a silence ask again, and give up when it lasts."""
        begin = time.monotonic()
        message = self._receive(RESEND if limit is None else min(RESEND, limit))
        now = time.monotonic()
        if message is not None:
            self._heard = now
            if isinstance(message, m.Reregister):
                self._introduce()
            elif isinstance(message, m.Rejected) and not message.token and message.code != "busy":
                raise rejection(message)
        elif now - self._heard >= self.patience:
            raise self._unreachable()
        elif now - begin >= RESEND:
            if now - self._heard >= 2 * RESEND:
                self._connect()
            else:
                self._send(renew)

    def _receive(self, seconds: float) -> Any:
        """One message, or None after `seconds`. Updates of watched jobs are put by as well."""
        if self._socket is None:
            raise RuntimeError("this Client is closed")
        if not self._ready(seconds):
            return None
        frames = sockets.receive(self._socket)
        if frames is None:
            return None
        if len(frames) != 1:
            raise WireError(f"the coordinator at {self.endpoint} sent {len(frames)} frames where one was due")
        message = typed.at_client(frames[0])
        if isinstance(message, m.Refused):
            raise Refused(f"the coordinator at {self.endpoint} refused this client: {message.message}")
        if isinstance(message, m.Update) and message.job in self._watched:
            self._watched[message.job].append(message)
        return message

    def _ready(self, seconds: float) -> bool:
        """Whether a message comes within so many seconds; meanwhile `check` is called now and then."""
        assert self._socket is not None
        if self._check is not None:
            while seconds > CHECK:
                if self._socket.poll(int(CHECK * 1000)):
                    return True
                self._check()
                seconds -= CHECK
        return bool(self._socket.poll(max(0, int(seconds * 1000) + 1)))

    def _unreachable(self) -> Unreachable:
        text = (
            f"no coordinator answers at {self.endpoint} (waited {self.patience:g} s): is daf-coordinator running "
            "there, and is the address right?"
        )
        if self.keys is not None:
            own = self.keys.own
            text += (
                f" It answers only those whose key it knows (this is {own.name}, {own.public}), and only if "
                f"{self.keys.directory.coordinator().name}.key in {self.keys.directory.path} is its own."
            )
        else:
            text += " One that has keys answers nobody without: --keys or DAF_KEYS."
        return Unreachable(text)


def rejection(message: m.Rejected) -> DafError:
    """The error that a Rejected stands for."""
    match message.code:
        case "full" | "busy":
            return Overloaded(message.message, retry_after=message.retry_after)
        case "unknown-job":
            return UnknownJob(message.message)
        case "unknown-type":
            return UnknownJobType(message.message)
        case _:
            return Refused(message.message)


def outcome(update: m.Update) -> m.Update:
    """A done job's update; raises JobFailed or JobCancelled for one that ended otherwise."""
    if update.state == "failed":
        if update.error is not None:
            raise JobFailed.of(update.error, job=update.job, type=update.type)
        raise JobFailed(
            f"job {update.job} ({update.type}) failed: {update.note or 'no reason was given'}", job=update.job
        )
    if update.state == "cancelled":
        reason = f": {update.note}" if update.note else ""
        raise JobCancelled(f"job {update.job} ({update.type}) was cancelled{reason}", job=update.job)
    return update
