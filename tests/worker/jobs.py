"""Job types that workers are tested with: some that work, and one for each way to do harm."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import stat
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from mapreduce import Job, Stage


@dataclass
class Empty(Job):
    """Tasks that do nothing."""

    count: int = 10

    def splits(self):
        return range(self.count)

    def map(self, split, ctx):
        return None


@dataclass
class Letters(Job):
    """Counts letters; each split is a text."""

    texts: list[str]
    sleep: float = 0.0

    def splits(self):
        return self.texts

    def map(self, split, ctx):
        time.sleep(self.sleep)
        ctx.count("texts")
        for letter in split:
            yield letter, 1

    def combine(self, key, values):
        return sum(values)

    def reduce(self, key, values, ctx):
        yield key, sum(values)

    def finish(self, results, ctx):
        return dict(results)


@dataclass
class Marks(Job):
    """Each task leaves its name in a file before it does anything else, so that those that ran twice show."""

    path: str
    count: int
    sleep: float = 0.0

    def splits(self):
        return range(self.count)

    def mark(self, name):
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(file, f"{name}\n".encode())
        os.close(file)

    def map(self, split, ctx):
        self.mark(f"map {split}")
        time.sleep(self.sleep)
        yield split % 10, split

    def reduce(self, key, values, ctx):
        values = list(values)
        self.mark(f"reduce {key}")
        time.sleep(self.sleep)
        yield key, sum(values)

    def finish(self, results, ctx):
        self.mark("finish")
        return dict(results)


@dataclass
class Naps(Job):
    """Each split is how long its task sleeps, in seconds."""

    naps: list[float]

    def splits(self):
        return self.naps

    def map(self, split, ctx):
        time.sleep(split)
        yield split, split


@dataclass
class Burn(Job):
    """Each split is how much processor time its task takes, in seconds."""

    seconds: list[float]

    def splits(self):
        return self.seconds

    def map(self, split, ctx):
        end = time.thread_time() + split
        while time.thread_time() < end:
            pass
        yield split, split


@dataclass
class Steps(Job):
    """One task that says how far it is."""

    steps: int = 10

    def splits(self):
        return [self.steps]

    def map(self, split, ctx):
        for step in range(split):
            ctx.progress(step, split, "step")
            time.sleep(0.1)
        yield 0, split


@dataclass
class Arrays(Job):
    """Sums `count` arrays of `size` bytes."""

    count: int = 4
    size: int = 1 << 20

    def splits(self):
        return range(self.count)

    def map(self, split, ctx):
        yield 0, np.full(self.size // 8, split, np.float64)

    def reduce(self, key, values, ctx):
        total = np.zeros(self.size // 8)
        for value in values:
            total += value
        yield key, float(total[0])

    def finish(self, results, ctx):
        return dict(results)


@dataclass
class Heavy(Job):
    """Rounds that each write two arrays of `size` bytes. Its value: the most bytes that blobs took, in rounds."""

    rounds: int = 30
    size: int = 4 << 20

    def next_stage(self, history):
        if len(history) < self.rounds:
            return Stage([0, 1], f"round {len(history)}", reduces=1)
        return None

    def map(self, split, ctx):
        root = ctx._env.store.root
        held = sum(path.stat().st_blocks for path in root.rglob("*") if path.is_file()) * 512
        ctx._env.cache["most"] = max(held, ctx._env.cache.get("most", 0))
        yield 0, np.full(self.size // 8, split, np.float64)
        time.sleep(0.05)

    def reduce(self, key, values, ctx):
        yield key, len(list(values))

    def finish(self, results, ctx):
        return ctx._env.cache["most"] / (2 * self.size)


@dataclass
class Drafted(Job):
    """A map task has its array made where it will lie if no file is ready for one. Its value: how many files without a
    name as a blob its process had open when map tasks began, at most, and in the reduce task."""

    def splits(self):
        return range(200)

    def map(self, split, ctx):
        found = self.unnamed()
        array = np.empty(1) if found else ctx.empty(1 << 15)
        array[:] = split
        yield 0, (found, array[:1].copy(), array)

    def reduce(self, key, values, ctx):
        yield max(found for found, _, _ in values), self.unnamed()

    def finish(self, results, ctx):
        return next(iter(results))

    @staticmethod
    def unnamed():
        with os.scandir("/proc/self/fd") as entries:
            return sum(os.path.realpath(entry.path).endswith(".tmp") for entry in entries)


LEFT: list[Any] = []
"""What tasks leave in their process."""


@dataclass
class Harm(Job):
    """Split 3 of `count` does harm in the way that `how` says; the others yield their number."""

    how: str = "raise"
    count: int = 8
    size: int = 0

    def splits(self):
        return range(self.count)

    def map(self, split, ctx):
        if split == 3:
            if self.how == "yield":
                yield from self.without_end()
            getattr(self, f"do_{self.how}")()
        yield split, split

    def without_end(self) -> Any:
        for number in range(self.size >> 20):
            yield number, np.full(1 << 17, number, np.float64)

    def finish(self, results, ctx):
        return sorted(key for key, _ in results)

    def do_raise(self) -> Any:
        raise ValueError("three is too many")

    def do_exit(self) -> None:
        print("my last words")
        os._exit(7)

    def do_sysexit(self) -> None:
        sys.exit("leaving")

    def do_segv(self) -> None:
        ctypes.string_at(0)

    def do_hang(self) -> None:
        while True:
            time.sleep(0.01)

    def do_memory(self) -> None:
        np.ones(self.size // 8)

    def do_greedy(self) -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        held = np.ones(self.size // 8)
        time.sleep(60)
        del held

    def do_noise(self) -> None:
        for fd in range(3, 64):
            try:
                if stat.S_ISSOCK(os.fstat(fd).st_mode):
                    os.write(fd, b"\xff" * 64)
            except OSError:
                continue
        time.sleep(60)  # the worker ends this process; it must not be at the next task by then

    def do_children(self) -> None:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print("child", child.pid, flush=True)
        os._exit(1)

    def do_bomb(self) -> None:
        """More and more processes, that leave its group, and whose parents are gone."""
        for _ in range(1000):
            if not os.fork():
                os.setsid()
                if not os.fork():
                    time.sleep(60)
                os._exit(0)
            time.sleep(0.01)
        time.sleep(60)

    def do_spin(self) -> None:
        while True:
            pass

    def do_spinning_child(self) -> None:
        subprocess.run([sys.executable, "-c", "while True: pass"], check=True)

    def do_hoard(self) -> None:
        """Children that together take more than one task may."""
        code = f"import time; held = b'x' * {self.size}; time.sleep(60)"
        for child in [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]:
            child.wait()

    def do_open(self) -> None:
        LEFT.extend(open(os.devnull) for _ in range(100_000))

    def do_threads(self) -> None:
        for daemon in (True, False):
            threading.Thread(target=time.sleep, args=(600,), daemon=daemon).start()
        raise ValueError("it left threads behind")

    def do_full(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def do_recursion(self) -> None:
        self.do_recursion()

    def do_print(self) -> None:
        for number in range(self.size // 100):
            print(f"{number:99d}")

    def do_write(self) -> None:
        with open("big", "wb") as file:
            file.write(bytes(self.size))


@dataclass
class Ahead(Job):
    """Tells in which process the module that it wants loaded ahead was imported: its own, its parent, or another."""

    preload = ("no_such_module", "tests.worker.ahead")

    def splits(self):
        return range(4)

    def map(self, split, ctx):
        from tests.worker.ahead import PROCESS

        yield {os.getpid(): "own", os.getppid(): "parent"}.get(PROCESS, "another"), 1

    def finish(self, results, ctx):
        return sorted({where for where, _ in results})


@dataclass
class AheadThreads(Ahead):
    """What it wants loaded ahead starts a thread."""

    preload = ("tests.worker.ahead", "tests.worker.aheadthread")
