"""Measure what survives, and write the table of docs/reliability.md: `python -m tests.reliability [--minutes M]`.

Every row is counted by this run on this machine; each names the command that repeats it alone. The soak runs real
processes: a local engine with two workers, a job after the other, a SIGKILL of a random process every few seconds,
results compared with the inline engine's, and descriptors, memory and disk looked at before and after.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from mapreduce.engines.local import LocalEngine
from mapreduce.wire import codec
from tests.reliability.crashpoints import crashed
from tests.reliability.detection import detected
from tests.reliability.disk import failing
from tests.reliability.frames import framed
from tests.reliability.overload import overloaded
from tests.reliability.rejoin import back
from tests.reliability.soak import soaked
from tests.reliability.torn import torn
from tests.worker.jobs import Letters

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- written by python -m tests.reliability -->", "<!-- end -->"
Row = tuple[str, str, str]


def simulated(schedules: int) -> list[Row]:
    """Schedules of the simulator, and the planted bugs that it must catch."""
    from tests.sim.planted import BUGS
    from tests.sim.schedule import simulate

    events = sum(simulate(seed).events for seed in range(schedules))
    done = subprocess.run([sys.executable, "-m", "tests.sim", "--planted", "2000"], capture_output=True, text=True)
    caught = f"{len(BUGS)} of {len(BUGS)}" if done.returncode == 0 else f"not all: {done.stdout.splitlines()[-1]}"
    return [
        (
            "schedules simulated: lost, late, doubled and reordered messages, deaths of workers, nodes and coordinator",
            f"{schedules:,} ({events:,} events), every promise kept",
            f"python -m tests.sim --seeds 0 {schedules}",
        ),
        ("bugs planted in the scheduler and caught", caught, "python -m tests.sim --planted 2000"),
    ]


def fuzzed(count: int, seed: int) -> list[Row]:
    """Packets with flipped, cut and repeated bytes: only BadPacket may come out, and memory must not grow."""
    rng = random.Random(seed)
    value = {"k": [1.5, "text", (np.arange(9, dtype="<i4"), b"x"), {1: np.float32(2)}, Path("p")], "deep": [[[[]]]]}
    packet = codec.pack(value)
    refused, before = 0, 0
    for number in range(count):
        if number == count // 10:
            before = psutil.Process().memory_info().rss
        broken = bytearray(packet)
        for _ in range(rng.randrange(1, 5)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        if rng.random() < 0.2:
            del broken[rng.randrange(len(broken)) :]
        try:
            codec.loads(broken, check=rng.random() < 0.1)
        except codec.BadPacket:
            refused += 1
    grown = (psutil.Process().memory_info().rss - before) / 2**20
    text = f"{count:,}, of which {refused:,} refused, no other error; memory grew by {max(0.0, grown):.1f} MiB"
    return [("mutated packets read", text, f"python -m tests.reliability --only fuzz --frames {count} --seed {seed}")]


def rejoined() -> list[Row]:
    """Seconds from the death of a worker, and of the coordinator, until a job that was running goes on."""
    rows = []
    for role in ("worker", "coordinator"):
        extra = []
        for _ in range(5):
            with LocalEngine(2) as engine:
                engine.run(Letters(["warm"]))
                job = Letters(["abc"] * 60, sleep=0.03)
                calm = timed(engine, job)
                timer = threading.Timer(0.4, kill_first, (engine, role))
                timer.start()
                extra.append(timed(engine, job) - calm)
                timer.join()
        extra.sort()
        text = f"{extra[2]:.2f} s more (median of 5; {extra[0]:.2f} to {extra[-1]:.2f})"
        rows.append(
            (f"a job of 1 s whose {role} is killed half-way", text, "python -m tests.reliability --only rejoin")
        )
    return rows


def timed(engine: LocalEngine, job: Letters) -> float:
    """Seconds by our own clock: the job's are counted by a coordinator that may be another at its end."""
    began = time.monotonic()
    engine.run(job)
    return time.monotonic() - began


def kill_first(engine: LocalEngine, role: str) -> None:
    os.kill(engine.pids(role)[0], signal.SIGKILL)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of the soak")
    parser.add_argument("--schedules", type=int, default=5000)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    parser.add_argument("--only", help="parts, with commas between; the page stays as it is")
    parser.add_argument("--write", action="store_true", help="with --only: put these rows into the page")
    parser.add_argument("--list", action="store_true", help="name the parts, and measure nothing")
    args = parser.parse_args()
    parts: dict[str, Any] = {
        "sim": lambda: simulated(args.schedules),
        "fuzz": lambda: fuzzed(args.frames, args.seed),
        "frames": lambda: framed(args.frames, args.seed),
        "overload": overloaded,
        "soak": lambda: soaked(args.minutes, args.seed),
        "rejoin": rejoined,
        "crashpoints": crashed,
        "torn": lambda: torn(args.seed),
        "disk": failing,
        "back": lambda: back(args.seed),
        "detection": lambda: detected(min(args.minutes, 3.0), args.seed),
    }
    if args.list:
        print(*parts)
        return 0
    wanted = args.only.split(",") if args.only else list(parts)
    if unknown := set(wanted) - set(parts):
        parser.error(f"--only {', '.join(unknown)}: there are {', '.join(parts)}")
    rows: list[Row] = []
    for name in wanted:
        rows += (found := parts[name]())
        print("\n".join(f"{what}: {figure}" for what, figure, _ in found), flush=True)
    if args.only is None or args.write:
        write(rows, keep=args.only is not None)
    return 0


def together(lines: list[str], fresh: list[str]) -> list[str]:
    """The lines of a table with these in place of those that begin alike; all where the first of those was, since they
    refer to one another."""
    names = {line.split(" | ")[0] for line in fresh}
    stale = [number for number, line in enumerate(lines) if line.split(" | ")[0] in names]
    place = stale[0] if stale else len(lines)
    kept = [line for number, line in enumerate(lines) if number not in stale]
    return kept[:place] + fresh + kept[place:]


def write(rows: list[Row], keep: bool) -> None:
    """Put the rows into the page's table, between its marks; with `keep` those that it has besides stay."""
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    old, after = rest.split(END)
    lines = [line for line in old.splitlines() if keep and line.startswith("| ") and not line.startswith("| what ")]
    said = f"{time.strftime('%Y-%m-%d')}, load {os.getloadavg()[2]:.0f}"
    fresh = [f"| {what} | {figure} | {said} | `{command}` |" for what, figure, command in rows]
    lines = together(lines, fresh)
    had = len(os.sched_getaffinity(0))
    some = f" (of which this run had {had})" if had != os.cpu_count() else ""
    machine = f"{os.cpu_count()} cores{some}, Python {platform.python_version()}"
    head = f"\n\nMeasured with {machine}; the load is the mean over the 15 minutes before.\n\n"
    table = "\n".join(["| what | figure | when | again |", "|---|---|---|---|", *lines])
    PAGE.write_text(f"{before}{BEGIN}{head}{table}\n\n{END}{after}")
    print(f"written to {PAGE}")


if __name__ == "__main__":
    sys.exit(main())
