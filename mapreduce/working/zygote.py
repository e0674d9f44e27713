"""The zygote: a process that has loaded what others need, and forks them. A fork takes milliseconds where a start takes
a quarter of a second, and what was loaded is in memory once.

What it loads comes in stages, so that nobody has what he must not have. A local engine starts one with what all share
(`base`). From that a second zygote is forked at once, which goes on to load NumPy and the slots' half (`slots`) and is
the parent of all slots, while the first loads ZeroMQ and what the coordinator and the workers need (`lean`), and forks
these. A worker that runs by itself starts a zygote of the stage `slots`.

It has one thread, no ZeroMQ context and no descriptor beyond its control sockets, so nothing is lost in a fork. Of
plugins it imports what a job type asks for (`Job.preload`), while it has no children, and runs nothing else. A child
closes what it was not given, is a process group of its own, and dies with the zygote; the zygote dies with the thread
that started it.

Whoever holds the other end of a control socket (`working.forks.Zygote`) asks:

    ["fork", role, argument, title] + descriptors   ["forked", pid] + pidfd     the first descriptor is its output
    ["reap", pid]                                   ["reaped", wait status, peak resident bytes]
    ["attach"] + a control socket                   no answer                   serve that one as well
    ["preload", modules]                            no answer                   import these, if it has no child
    ["ready"]                                       ["ready"]                   when it has loaded
    ["memory", bytes]                               ["memory"] + descriptor     a file system (memfs.py); none: no such

A child is not reaped before its owner, who sees its end by the pidfd, asks for it: so a process id means one process as
long as anybody may kill it. When an owner is gone, the zygote kills what was forked for him, and without owners it
ends."""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterable

from . import memfs
from .limits import die_with_parent

STAGES = {
    "base": ("mapreduce.blobs", "mapreduce.roots", "mapreduce.working.failure", "mapreduce.working.slotwire"),
    "lean": ("mapreduce.coordinator", "mapreduce.store.sqlite", "mapreduce.worker", "mapreduce.working.start"),
    "slots": ("mapreduce.slot",),
}
NEEDS = {"coordinator": "lean", "worker": "lean", "slot": "slots", "zygote": "base"}
"""The stage that is loaded, if it is not yet, before a process of a role is forked."""
MAX_REQUEST = 200_000
"""Bytes of one request."""
MAX_DESCRIPTORS = 8
BURY = 100
"""Milliseconds between looks at killed children of owners that are gone."""

_MALLOC = {"MMAP_THRESHOLD": (-3, 32 << 20), "TRIM_THRESHOLD": (-1, 128 << 20), "TOP_PAD": (-2, 16 << 20)}
"""mallopt: arrays of a few MiB come from memory that a slot keeps: fetching pages from the kernel for each costs more
than filling them does."""
_PR_SET_NAME = 15

Role = Callable[[], int]


class Zygote:
    """Serves control sockets until there are none left."""

    def __init__(self, control: socket.socket):
        self._poll = select.poll()
        self._owners: dict[int, tuple[socket.socket, set[int]]] = {}
        self._orphans: set[int] = set()
        self._attach(control)

    def serve(self) -> Role | None:
        """Answer questions. Returns None when all owners are gone; and in each child that is forked what it has to
        do."""
        while self._owners:
            for fd, _ in self._poll.poll(BURY if self._orphans else None):
                role = self._hear(fd)
                if role is not None:
                    return role
            self._bury()
        return None

    def _attach(self, control: socket.socket) -> None:
        self._owners[control.fileno()] = (control, set())
        self._poll.register(control, select.POLLIN)

    def _hear(self, fd: int) -> Role | None:
        """One question of the owner at `fd`, or his end."""
        control, children = self._owners[fd]
        try:
            data, fds, _, _ = socket.recv_fds(control, MAX_REQUEST, MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            data = b""
        if not data:
            self._abandon(fd)
            return None
        answer: list[object]
        given: list[int] = []
        what, *rest = json.loads(data)
        if what == "fork":
            load(NEEDS[rest[0]])
            parent = os.getpid()  # the child could come too late to ask who it was
            pid = os.fork()
            if not pid:
                return _child(rest[0], rest[1], rest[2], fds, parent)
            children.add(pid)
            given = [os.pidfd_open(pid)]
            answer = ["forked", pid]
        elif what == "reap":
            _, status, usage = os.wait4(rest[0], 0)
            children.discard(rest[0])
            answer = ["reaped", status, usage.ru_maxrss * 1024]
        elif what == "ready":
            answer = ["ready"]
        elif what == "memory":
            answer, given = ["memory"], memfs.made(rest[0])
        elif what == "preload":
            if not self._orphans and not any(forked for _, forked in self._owners.values()):
                preload(rest[0])
            return None
        else:
            self._attach(socket.socket(fileno=fds[0]))
            return None
        try:
            socket.send_fds(control, [json.dumps(answer).encode()], given)
        except (BrokenPipeError, ConnectionResetError):  # the next look finds him gone
            pass
        for passed in (*fds, *given):
            os.close(passed)
        return None

    def _abandon(self, fd: int) -> None:
        """An owner is gone: end what was forked for him."""
        control, children = self._owners.pop(fd)
        self._poll.unregister(fd)
        control.close()
        for pid in children:
            kill_group(pid)
        self._orphans |= children

    def _bury(self) -> None:
        for pid in list(self._orphans):
            if os.waitpid(pid, os.WNOHANG)[0]:
                self._orphans.discard(pid)


def kill_group(pid: int) -> None:
    """Kill a child and what it started, also when it has not come so far as to lead its group."""
    for target in (-pid, pid):
        try:
            os.kill(target, signal.SIGKILL)
        except ProcessLookupError:
            continue


def load(stage: str) -> None:
    """Import what the children of this stage share, and keep the collector from touching (thus copying) it."""
    if all(module in sys.modules for module in STAGES[stage]):
        return
    if stage == "slots":
        library = ctypes.CDLL(None)
        for name, (option, size) in _MALLOC.items():
            if f"MALLOC_{name}_" not in os.environ and hasattr(library, "mallopt"):
                library.mallopt(option, size)
    for module in STAGES[stage]:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()


def preload(modules: Iterable[str]) -> None:
    """Import what a job type wants its slots to find. A module that cannot be imported is told of, and left to the task
    that needs it: its attempt fails then, and says why. If there are threads afterwards, which forks would lose, this
    process ends and its owners go without. They are counted after a fork, before which OpenBLAS ends its own."""
    for module in modules:
        try:
            importlib.import_module(module)
        except BaseException:  # whatever it raises, SystemExit included: the zygote goes on
            print(f"{module} cannot be loaded ahead:\n{traceback.format_exc()}", file=sys.stderr, flush=True)
    gc.collect()
    gc.freeze()
    if len(os.listdir("/proc/self/task")) > 1:
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)
        if len(os.listdir("/proc/self/task")) > 1:
            print(f"loading {', '.join(modules)} ahead started threads: not done again", file=sys.stderr, flush=True)
            os._exit(1)


def title(text: str) -> None:
    """What ps and top show. The command line is overwritten where it lies, so `text` is cut to its length."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, text.encode()[:15], 0, 0, 0)
    with open("/proc/self/stat", "rb") as file:
        start, end = map(int, file.read().rpartition(b")")[2].split()[45:47])
    if start:
        ctypes.memset(start, 0, end - start)
        ctypes.memmove(start, text.encode()[: end - start - 1], min(len(text.encode()), end - start - 1))


def _child(role: str, argument: str, name: str, fds: list[int], parent: int) -> Role:
    """Right after the fork, in the child: a process of its own, with what it was given and nothing else."""
    os.setpgid(0, 0)
    die_with_parent(parent)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    _speak_into(fds[0])
    given = fds[1:]
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2 and fd not in given:
            _close(fd)
    title(name)
    random = sys.modules.get("numpy.random")
    if random is not None:  # the standard library's generator sees to itself
        random.seed()
    return lambda: _ROLES[role](argument, given)


def _speak_into(fd: int) -> None:
    """Let standard output and error be `fd`, line by line; the zygote's streams were made for what it had there."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(fd, number)
        encoding = getattr(sys, name).encoding
        stream = open(number, "w", buffering=1, encoding=encoding, errors="backslashreplace", closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:  # the folder that was listed
        return


def _coordinator(argument: str, fds: list[int]) -> int:
    from ..coordinator import main

    return main(json.loads(argument))


def _worker(argument: str, fds: list[int]) -> int:
    from .forks import Zygote as Handle
    from .start import main

    return main(argument, Handle(socket.socket(fileno=fds[0])))


def _slot(argument: str, fds: list[int]) -> int:
    from ..slot import main

    return main(argument, *fds)


def _zygote(argument: str, fds: list[int]) -> int:
    return run(argument, fds[0])


_ROLES = {"coordinator": _coordinator, "worker": _worker, "slot": _slot, "zygote": _zygote}


def run(stage: str, fd: int) -> int:
    """Be a zygote of this stage until nobody needs it. In its children: be what they are to be."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends with its owners, after they have
    load(stage)
    role = Zygote(socket.socket(fileno=fd)).serve()
    return role() if role is not None else 0


def main() -> int:
    """`python -m mapreduce.working.zygote PARENT STAGE DESCRIPTOR PADDING`"""
    die_with_parent(int(sys.argv[1]))
    stage, fd = sys.argv[2], int(sys.argv[3])
    sys.argv = ["daf"]
    title(f"daf-zygote {stage}")
    return run(stage, fd)


if __name__ == "__main__":
    sys.exit(main())
