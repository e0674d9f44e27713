"""A slot: the child process in which a worker runs tasks, one after the other.

It may crash, hang or run out of memory alone; its worker sees what happened and starts another. It holds no
connection to the coordinator: StageInfo and Assign messages come over a socket pair as the worker got them, results
go back the same way. Results of short tasks are sent together, when there is nothing more to run or after two
milliseconds; a second thread sends those that a long task would keep waiting.

A zygote forks it for its worker (working/zygote.py) and calls `main`.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import reprlib
import resource
import signal
import socket
import sys
import threading
import time
from collections import OrderedDict, deque
from pathlib import Path

from . import params, plugins, tasks
from .allowance import allowance
from .blobs import BlobLost, BlobStore, Reader
from .blobserver import Fetcher
from .errors import BadParameters
from .keys import load
from .roots import Roots
from .wire import messages
from .wire.messages import Assign, Done, StageInfo, TaskKey
from .wire.typed import MAX_CONTROL, encode
from .working import failure, limits
from .working.frames import Channel, Closed
from .working.gauge import Gauge, Key
from .working.settings import SlotSettings
from .working.slotwire import Loaded, Said, at_slot
from .working.usage import adopt

FLUSH_NS = 2_000_000
SAY_NS = 200_000_000
QUIET = 5
"""Looks without anything to send after which the thread of `Answers` sleeps until it is called."""
JOBS_KEPT = 4
STAGES_KEPT = 4
_PHASES = (tasks.MAP, tasks.REDUCE)

Inputs = dict[int, messages.ReduceInput]


class Slot:
    """Runs what comes over `channel` until the other end closes it."""

    def __init__(self, settings: SlotSettings, channel: Channel, gauge: Gauge):
        self.settings = settings
        self.channel = channel
        self.gauge = gauge
        self.answers = Answers(channel)
        self.store = BlobStore(Path(settings.blobs))
        self.reader = Reader(self.store, settings.host, {}, self.fetcher().fetch)
        self.roots = Roots(settings.roots)
        self.work: deque[tuple[Assign, deque[tuple[int, int]], Inputs]] = deque()
        self.stages: dict[tuple[int, int], StageInfo] = {}
        self.loaded: dict[int, tuple[StageInfo, tasks.LoadedStage]] = {}
        self.envs: OrderedDict[int, tasks.Env] = OrderedDict()
        self.dropped: set[Key] = set()
        self.memory = -1
        self.spent = False
        """A task took what the next ones need (memory, descriptors), and may not have given it back."""
        self.running: Key = (0, 0, 0, 0, 0)
        self._said = 0

    def fetcher(self) -> Fetcher:
        path = self.settings.keys
        return Fetcher(self.store, keys=lambda: load(path, "worker") if path else None)

    # ------------------------------------------------------------------------------------------------------ the loop

    def serve(self) -> None:
        """Until the worker is gone."""
        try:
            while True:
                frames = self.channel.receive()
                if not frames and not self.work:
                    self.gauge.idle()
                    self.answers.flush()
                    frames = self.channel.receive(wait=True)
                for frame in frames:
                    self.take(frame)
                self.run_some()
                if self.spent:  # what it holds beyond the answers goes to another process
                    self.store.tidy()
                    self.gauge.idle()
                    self.answers.flush()
                    return
        except Closed:
            return

    def take(self, frame: bytes) -> None:
        """One message of the worker."""
        message = at_slot(frame)
        if isinstance(message, Assign):
            self.reader.nodes.update((node.name, node) for node in message.nodes)
            self.work.append((message, deque(message.tasks), {item.index: item for item in message.inputs}))
        elif isinstance(message, StageInfo):
            self.reader.nodes.update((node.name, node) for node in message.nodes)
            key = (message.job, message.stage)
            self.stages.pop(key, None)
            self.stages[key] = message
            for old in [old for old in self.stages if old[0] == message.job][:-STAGES_KEPT]:
                del self.stages[old]
            if self.loaded.get(message.job, (message, None))[0] is not message:
                self.loaded.pop(message.job)
        elif isinstance(message, messages.Abort):
            self.dropped.update((t.job, t.stage, t.kind, t.index, t.attempt) for t in message.tasks)
        else:
            self.forget(message.job, {stage for stage, _ in message.units})

    def forget(self, job: int, stages: set[int]) -> None:
        """The job ended (no stages named), or units of these stages went: what is kept of them goes too."""
        if job in self.loaded and (not stages or self.loaded[job][0].stage in stages):
            del self.loaded[job]
        if not stages:
            self.envs.pop(job, None)
            for key in [key for key in self.stages if key[0] == job]:
                del self.stages[key]

    def run_some(self) -> None:
        """Run tasks for about two milliseconds, or one that takes longer."""
        while self.work:
            assign, waiting, inputs = self.work[0]
            while waiting:
                index, attempt = waiting.popleft()
                key = (assign.job, assign.stage, assign.kind, index, attempt)
                if key in self.dropped:
                    self.dropped.discard(key)
                    continue
                self.answers.watch()
                self.run(assign, key, inputs, len(waiting))
                if self.spent:
                    return
                if time.monotonic_ns() - self.answers.flushed > FLUSH_NS:
                    self.gauge.idle()
                    self.answers.flush()
                    return
            self.work.popleft()
            _flush_streams()
        self.dropped.clear()
        self.store.tidy()

    # ------------------------------------------------------------------------------------------------------ one task

    def run(self, assign: Assign, key: Key, inputs: Inputs, waiting: int) -> None:
        """One attempt and its answer, whatever happens in it. So many of its unit wait behind it."""
        text = _WHAT[key[2]].format(key[3])
        self.running = key
        self.gauge.begin(key, time.monotonic_ns(), text.encode())
        allowance.begin()
        try:
            info = self.stages[key[:2]]
            env = self.env(info)
            env.waiting = waiting
            if key[2] in _PHASES:
                stage = self.stage(env, info)
                text = self.describe(stage, key, inputs)
                self.gauge.begin(key, time.monotonic_ns(), text.encode("utf-8", "replace"))
                self.answers.add(key, self.run_task(env, stage, key, inputs))
            else:
                self.answers.send(fitting(self.run_edge(env, assign, key)))
        except Closed:
            raise
        except BaseException as error:  # SystemExit and KeyboardInterrupt of a task included: the slot goes on
            self.answers.send(self.failed(key, error, text))

    def run_task(self, env: tasks.Env, stage: tasks.LoadedStage, key: Key, inputs: Inputs) -> tasks.TaskResult:
        if key[2] == tasks.MAP:
            return tasks.run_map(env, stage, key[3])
        given = inputs.get(key[3])
        return tasks.run_reduce(env, stage, key[3], given.segments if given is not None else ())

    def run_edge(self, env: tasks.Env, assign: Assign, key: Key) -> messages.Planned | messages.Finished:
        """PLAN or FINISH."""
        task, number, previous = TaskKey(*key), key[1], None
        if number > 0:
            setup, inputs, outputs = assign.previous_setup, assign.previous_inputs, assign.previous
            previous = tasks.Previous(number - 1, setup, inputs, outputs, assign.previous_counters)
        if key[2] == tasks.FINISH:
            end = tasks.run_finish(env, number, previous)
            return messages.Finished(task, end.value, end.counters or None)
        plan = tasks.run_plan(env, number, previous)
        sizes = (plan.name, plan.maps, plan.reduces)
        return messages.Planned(
            task, *sizes, plan.setup, plan.splits, plan.inputs, plan.last, plan.counters or None, plan.share
        )

    def failed(self, key: Key, error: BaseException, text: str) -> messages.Failed:
        """The answer of an attempt that raised; what its frames held is let go."""
        if advice := failure.advice(error, self.settings.blobs, self.memory):
            error.add_note(advice)
        if failure.exhausted(error):
            limits.set_memory(0)
            limits.spare_files()
            self.memory, self.spent = -1, True
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        report = failure.of_exception(error, worker=self.settings.worker, text=text, peak=peak)
        error.__traceback__ = error.__context__ = error.__cause__ = None
        gc.collect()
        return messages.Failed(TaskKey(*key), report, (error.node,) if isinstance(error, BlobLost) else ())

    def env(self, info: StageInfo) -> tasks.Env:
        """What this process keeps for the job; its memory limit is set on the way."""
        limit = min(filter(None, (info.task_memory, self.settings.task_memory)), default=0)
        if limit != self.memory:
            limits.set_memory(limit)
            self.memory = limit
        env = self.envs.get(info.job)
        if env is None:
            allowed = self.settings.types
            if allowed and info.type not in allowed:
                raise BadParameters(f"this worker runs {', '.join(allowed)} and nothing else, so not {info.type}")
            job = params.unpack(plugins.load(info.type), info.params)
            self.roots.check_parameters(job)
            scratch = Path(self.settings.scratch) / str(os.getpid())
            place = (self.store, self.reader, scratch, self.settings.node)
            env = tasks.Env(job, info.job, info.seed, *place, report=self.say, roots=self.roots)
            self.envs[info.job] = env
            if len(self.envs) > JOBS_KEPT:
                oldest, _ = self.envs.popitem(last=False)
                self.loaded.pop(oldest, None)
        return env

    def stage(self, env: tasks.Env, info: StageInfo) -> tasks.LoadedStage:
        """The stage as its tasks see it. Of a job only the stage at hand is kept: its shared state may be large."""
        known = self.loaded.get(info.job)
        if known is not None and known[0] is info:
            return known[1]
        stage = tasks.LoadedStage(env, info.stage, info.setup, info.inputs, info.splits, info.reduces)
        self.loaded[info.job] = (info, stage)
        for digest in env.decoded.keys() - {ref.hash for ref in info.inputs}:
            del env.decoded[digest]
        return stage

    def describe(self, stage: tasks.LoadedStage, key: Key, inputs: Inputs) -> str:
        """The input of a task in a few words, for the error it may end with."""
        if key[2] == tasks.MAP:
            split = stage.split(key[3])
            return f"map {key[3]}: {split if type(split) is int else _short.repr(split)}"
        segments = inputs[key[3]].segments if key[3] in inputs else ()
        return f"reduce {key[3]}: {len(segments)} segments, {sum(segment[3] for segment in segments)} bytes"

    def say(self, done: float, total: float, note: str) -> None:
        """A task's progress, a few times a second."""
        now = time.monotonic_ns()
        if now - self._said > SAY_NS:
            self._said = now
            self.answers.send(Said(messages.Progress(TaskKey(*self.running), done, total, str(note)[:255])))


class Answers:
    """What goes back to the worker. Results of map and reduce tasks wait for company, a few milliseconds at most.

    The thread that sees to it looks every few milliseconds while results come, rather than being woken for each: waking
    it costs as much as a small task. With nothing to do it sleeps: each look of it stops a task that is in Python.
    """

    def __init__(self, channel: Channel):
        self.flushed = 0
        """Monotonic nanoseconds of the last flush."""
        self._channel = channel
        self._lock = threading.Lock()
        self._unit: tuple[int, int, int] = (0, 0, 0)
        self._done: list[Done] = []
        self._asleep = False
        self._alarm = threading.Event()
        threading.Thread(target=self._flush_late, name="daf-answers", daemon=True).start()

    def add(self, key: Key, result: tasks.TaskResult) -> None:
        """A map or reduce task is done."""
        with self._lock:
            if self._unit != key[:3]:
                self._collect()
                self._unit = key[:3]
            self._done.append(Done(key[3], key[4], result.hash, result.size, result.sizes, result.counters or None))

    def watch(self) -> None:
        """Another task begins, however long it takes: let the thread see to what waits."""
        if self._asleep and self._done:
            self._alarm.set()

    def send(self, message: messages.Message) -> None:
        """An answer that goes at once, behind those that wait. Raises Closed."""
        frame = encode(message)
        with self._lock:
            self._collect()
            self._channel.queue(frame)
            self._channel.flush_all()

    def flush(self) -> None:
        """Send all that waits. Raises Closed."""
        with self._lock:
            self._collect()
            self._channel.flush_all()
            self.flushed = time.monotonic_ns()

    def _collect(self) -> None:
        if self._done:
            self._channel.queue(encode(messages.Results(*self._unit, tuple(self._done))))
            self._done.clear()

    def _flush_late(self) -> None:
        try:
            quiet = 0
            while True:
                time.sleep(2 * FLUSH_NS / 1e9)
                if self._done:
                    quiet = 0
                    if time.monotonic_ns() - self.flushed > FLUSH_NS:
                        self.flush()
                    continue
                quiet += 1
                if quiet > QUIET:
                    self._asleep = True
                    if not self._done:
                        self._alarm.wait()
                    self._asleep = False
                    self._alarm.clear()
                    quiet = 0
        except Closed:
            return


def fitting(answer: messages.Planned | messages.Finished) -> messages.Planned | messages.Finished:
    """The answer, if the coordinator takes a message of its size.

    Raises:
        ValueError: the plan's state, or the job's value, is too large.
    """
    size = len(encode(answer))
    if size > MAX_CONTROL:
        what = "finish()" if isinstance(answer, messages.Finished) else "next_stage()"
        raise ValueError(
            f"what {what} returned takes {size} bytes, more than the {MAX_CONTROL} that pass through the coordinator; "
            "write large results as artifacts, and hand large state on in Stage.shared"
        )
    return answer


_WHAT = ("plan of the next stage", "map {}", "reduce {}", "finish")
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 160


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # a task closed it
            continue


def main(argument: str, channel_fd: int, gauge_fd: int, dump_fd: int) -> int:
    """Be a slot until the worker is gone. `argument` is JSON of `SlotSettings`; the descriptors are its end of the
    channel, the gauge, and the file for faulthandler's dumps."""
    settings = SlotSettings.from_json(argument)
    faulthandler.enable(file=dump_fd, all_threads=True)
    faulthandler.register(signal.SIGUSR1, file=dump_fd, all_threads=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limits.set_files(settings.file_size, settings.task_files)
    adopt()
    allowance.limit = settings.task_output
    channel = Channel(socket.socket(fileno=channel_fd))
    slot = Slot(settings, channel, Gauge(gauge_fd))
    os.close(gauge_fd)
    sys.path.extend(folder for folder in settings.path if folder not in sys.path)
    for spec in settings.plugins:
        plugins.add(spec)
    slot.answers.send(Loaded())
    slot.serve()
    _flush_streams()
    os._exit(0)  # threads that a task left behind do not keep the process
