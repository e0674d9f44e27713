"""The slots of a worker: who gets which attempt, what they answer, and what becomes of the work of one that dies.

With one slot, work is handed on as it came. With several, each is given what keeps it busy for a few milliseconds, so
that long tasks wait here for whichever slot is free first. A slot that dies costs the attempt that it ran, which ends
with an error that says how; what waited behind it goes to the next process, uncharged.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Collection, Iterator
from itertools import zip_longest

import zmq

from ..errors import DafError, WireError
from ..wire import messages
from ..wire.messages import Assign, StageInfo, TaskKey
from ..wire.typed import encode
from .frames import Closed
from .gauge import Key
from .ledger import Queue, keys_of, subset
from .limits import TaskLimits
from .nursery import Nursery
from .process import SlotProcess
from .slotwire import Loaded, Said, from_slot
from .usage import Looks

log = logging.getLogger("daf.worker")

_BOTH = zmq.POLLIN | zmq.POLLOUT

AHEAD = 0.02
"""Seconds of work that each of several slots is given ahead."""
STAGES_KEPT = 4
"""Stages of one job that are remembered; the coordinator tells of a stage again when it comes back to an earlier
one."""
STARTS = 3
"""So many processes in a row may die before they have loaded, or with work that they have not begun, none of which ran
anything; then the worker gives up."""


class Pool:
    """Runs slots and watches them through `poller`; `answer` gets each result message with the attempts that it
    answers.

    Attributes:
        progress: what running tasks said of their progress since somebody last cleared it.
    """

    def __init__(self, nursery: Nursery, poller: zmq.Poller, answer: Callable[[bytes, list[Key]], None]):
        self.progress: dict[Key, messages.Progress] = {}
        self._nursery = nursery
        self._settings = nursery.settings
        self._poller = poller
        self._answer = answer
        self._queue = Queue()
        self._slots: list[SlotProcess] = []
        self._retired: list[SlotProcess] = []
        self._full: set[SlotProcess] = set()
        self._stages: dict[tuple[int, int], tuple[StageInfo, bytes]] = {}
        self._failed_starts = 0
        self._looks = Looks()

    def start(self) -> None:
        """Start the slots; what is taken before waits. Raises DafError."""
        for _ in range(self._settings.slots):
            self._start()

    def __iter__(self) -> Iterator[Key]:
        """The attempts that run or wait here, in about the order in which they will end: a coordinator that hears of
        them for the first time calls back the last ones when others have nothing to do."""
        for row in zip_longest(*(slot.held for slot in self._all())):
            yield from filter(None, row)
        yield from self._queue

    @property
    def idle(self) -> bool:
        return not self._queue and not any(slot.held for slot in self._all())

    def memory(self) -> int:
        """Anonymous resident bytes of all slots."""
        return sum(slot.memory() for slot in self._all())

    def _all(self) -> list[SlotProcess]:
        return self._slots + self._retired

    # ------------------------------------------------------------------------------------------------------- its work

    def learn(self, info: StageInfo, frame: bytes) -> None:
        """Tasks of this stage may come; slots are told when they get their first."""
        key = (info.job, info.stage)
        known = self._stages.pop(key, None)
        self._stages[key] = (info, frame)
        if known is None or known[0] != info:
            for slot in self._slots:
                slot.stages.discard(key)
        for old in [old for old in self._stages if old[0] == info.job][:-STAGES_KEPT]:
            del self._stages[old]

    def take(self, assign: Assign, frame: bytes) -> None:
        """Run these attempts; `frame` is the message as it came."""
        keys = keys_of(assign)
        if len(self._slots) == 1 and not self._queue:
            self._give(self._slots[0], assign, keys, frame)
        else:
            self._queue.add(assign, keys)

    def abort(self, keys: Collection[Key]) -> None:
        """Nobody waits for these attempts any more."""
        self._queue.drop(keys)
        for slot in self._all():
            slot.abort(keys)
            self._full.add(slot)

    def forget(self, message: messages.Release, frame: bytes) -> None:
        """Blobs of a job go: so does what the slots keep of them."""
        for slot in self._all():
            slot.tell(frame)
            self._full.add(slot)
        if not message.units:
            for key in [key for key in self._stages if key[0] == message.job]:
                del self._stages[key]
            for slot in self._slots:
                slot.stages = {key for key in slot.stages if key[0] != message.job}

    def hand_out(self) -> None:
        """Give waiting attempts to slots with room."""
        while (unit := self._queue.unit()) is not None:
            rooms = [(len(slot.held), number) for number, slot in enumerate(self._slots) if slot.room(AHEAD, unit) > 0]
            if not rooms:
                return
            slot = self._slots[min(rooms)[1]]
            share = -(-len(self._queue) // len(self._slots))
            taken = self._queue.take(min(slot.room(AHEAD, unit), share))
            if taken is None:
                return
            assign = subset(*taken)
            self._give(slot, assign, taken[1], encode(assign))

    def _give(self, slot: SlotProcess, assign: Assign, keys: list[Key], frame: bytes) -> None:
        key = (assign.job, assign.stage)
        if key not in slot.stages and key in self._stages:
            slot.tell(self._stages[key][1])
            slot.stages.add(key)
        slot.give(assign, keys, frame)
        self._full.add(slot)

    def flush(self) -> None:
        """Send the slots what this turn had for them: one write, and one waking, for each."""
        for slot in self._full:
            slot.flush()
            self._watch(slot)
        self._full.clear()

    # ------------------------------------------------------------------------------------------------- what they say

    def on_event(self, fd: int) -> None:
        """The poller saw something at one of our descriptors."""
        for slot in self._all():
            if fd == slot.channel.fileno():
                self._read(slot)
            elif fd == slot.exit_fd:
                self._died(slot)
            elif fd == slot.log_fd:
                if slot.read_log() == 0:
                    self._poller.unregister(fd)
            else:
                continue
            return

    def _read(self, slot: SlotProcess) -> None:
        try:
            slot.channel.flush()
            frames = slot.channel.receive()
            self._watch(slot)
            for frame in frames:
                self._on_answer(slot, frame)
        except WireError as error:
            log.error("%s", error)
            slot.doom("protocol")
        except Closed:  # its death is reported by exit_fd
            self._unwatch(slot.channel.fileno())
            return
        self._recycle(slot)

    def _on_answer(self, slot: SlotProcess, frame: bytes) -> None:
        message = from_slot(frame)
        if isinstance(message, Loaded):
            slot.loaded = True
            return
        self._failed_starts = 0
        if isinstance(message, Said):
            self.progress[_key(message.progress.task)] = message.progress
            return
        if isinstance(message, messages.Results):
            unit = (message.job, message.stage, message.kind)
            keys = [(*unit, done.index, done.attempt) for done in message.done]
            known = slot.answered(keys)
            if len(known) < len(keys):  # some were aborted
                wanted = set(known)
                done = tuple(item for item, key in zip(message.done, keys, strict=True) if key in wanted)
                frame = encode(messages.Results(*unit, done))
        else:
            known = slot.answered([_key(message.task)])
        for key in known:
            self.progress.pop(key, None)
        if known:
            self._answer(frame, known)

    # --------------------------------------------------------------------------------------------------- their lives

    def check(self, now: float) -> None:
        """Enforce the limits of what runs; call it every tenth of a second or so."""
        used = self._looks.due([slot.pid for slot in self._all()], any(slot.lasts(now) for slot in self._all()))
        for slot in self._all():
            slot.check(now, self._limits, used.get(slot.pid))

    def _limits(self, key: Key) -> TaskLimits:
        """What an attempt may use: of time and memory the job's limits or the worker's, whichever is less."""
        info, ours = self._stages.get(key[:2]), self._settings
        asked = (info[0].task_seconds, info[0].task_memory) if info is not None else (0.0, 0)
        seconds = min(filter(None, (asked[0], ours.task_seconds)), default=0.0)
        memory = min(filter(None, (asked[1], ours.task_memory)), default=0)
        return TaskLimits(seconds, memory, ours.task_cpu, ours.task_processes)

    def _start(self) -> None:
        slot = self._nursery.slot()
        self._slots.append(slot)
        for fd in (slot.channel.fileno(), slot.log_fd, slot.exit_fd):
            self._poller.register(fd, zmq.POLLIN)

    def _died(self, slot: SlotProcess) -> None:
        """A process ended: take what it had still sent, charge the attempt it ran, give the rest to another."""
        ended = slot.end(wait=False)
        if ended is None:
            return
        self._read(slot)
        reading, error = slot.post_mortem(*ended)
        failed = not slot.loaded or (reading is None and not slot.doomed and bool(slot.held))
        if reading is not None and slot.doomed != "abort":
            del slot.held[reading.key]
            self._answer(encode(messages.Failed(TaskKey(*reading.key), error)), [reading.key])
        for assign, keys in reversed(slot.unanswered()):
            self._queue.add(assign, keys, front=True)
        retired = slot in self._retired
        self._drop(slot)
        if retired:
            return
        if failed:
            self._failed_starts += 1
            if self._failed_starts >= STARTS:
                what = "ends before it begins a task" if slot.loaded else "cannot start"
                raise DafError(f"the task process {what}: {error.message}\n{error.log}")
        if slot.doomed != "abort" and reading is not None:
            log.warning("slot process %d ended: %s", slot.pid, error.message)
        self._start()

    def _recycle(self, slot: SlotProcess) -> None:
        """Replace a process that has run long enough or holds too much; it first finishes what it was given."""
        if slot in self._slots:
            count, memory = self._settings.recycle_tasks, self._settings.recycle_memory
            if not (count and slot.finished >= count) and not (memory and slot.grown(memory)):
                return
            self._slots.remove(slot)
            self._retired.append(slot)
            self._start()
        if not slot.held:
            slot.stop()

    def _drop(self, slot: SlotProcess) -> None:
        for fd in (slot.channel.fileno(), slot.log_fd, slot.exit_fd):
            self._unwatch(fd)
        (self._slots if slot in self._slots else self._retired).remove(slot)
        self._full.discard(slot)
        slot.close()
        shutil.rmtree(self._nursery.data.scratch / str(slot.pid), ignore_errors=True)

    def _watch(self, slot: SlotProcess) -> None:
        blocked = slot.channel.unsent > 0
        if blocked != slot.blocked:
            slot.blocked = blocked
            self._poller.modify(slot.channel.fileno(), _BOTH if blocked else zmq.POLLIN)

    def _unwatch(self, fd: int) -> None:
        if fd in self._poller:
            self._poller.unregister(fd)

    def close(self) -> None:
        """Kill all slots."""
        for slot in self._all():
            slot.kill()
        for slot in self._all():
            slot.end()
            self._drop(slot)


def _key(task: TaskKey) -> Key:
    return (task.job, task.stage, task.kind, task.index, task.attempt)
