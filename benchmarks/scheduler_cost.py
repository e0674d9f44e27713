"""What a task costs the scheduler alone: seconds a task and bytes a queued task, as the queue grows; no sockets, no
store.

    taskset -c 2 python -m benchmarks.scheduler_cost [--tasks 10000 1000000] [--workers 2 1000]

Simulated workers hold what they are sent and give it back in batches, with an output of `--sizes` partitions (0: no
output) each. The clock is simulated: a task takes 25 microseconds of it, as an empty task does.
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
from collections import deque

from mapreduce.scheduler.core import Scheduler
from mapreduce.scheduler.events import Assign, Heartbeat, PlanDone, Submitted, TasksDone, Tick, WorkerJoined
from mapreduce.scheduler.journal import pack
from mapreduce.scheduler.model import Blob, JobSpec, Kind, Output, StagePlan, TaskId

TASK = 25e-6


def run(tasks: int, workers: int, sizes: int, batch: int, part: int | None = None) -> tuple[float, float, int]:
    """(seconds a task in handle, seconds a task to pack the journal, actions); `part`: stop after so many results."""
    scheduler = Scheduler()
    spent = packing = 0.0
    now = 0.0
    queues: dict[str, deque[tuple[int, int]]] = {}
    actions_seen = 0

    def handle(event: object) -> None:
        nonlocal spent, packing, actions_seen
        began = time.thread_time()
        actions = scheduler.handle(event, now)  # type: ignore[arg-type]
        spent += time.thread_time() - began
        for action in actions:
            actions_seen += 1
            if isinstance(action, Assign):
                queues[action.worker].extend(action.tasks)
            elif hasattr(action, "record"):
                began = time.thread_time()
                pack(action.record)
                packing += time.thread_time() - began

    handle(Submitted(b"c", "t", JobSpec(0, "x", b"")))
    for n in range(workers):
        queues[f"w{n}"] = deque()
        handle(WorkerJoined(f"w{n}", f"n{n % 8}", 1, {"x": "1"}))
    planner = next(name for name, queue in queues.items() if queue)
    (_, attempt) = queues[planner].popleft()
    handle(PlanDone(planner, TaskId(1, 0, Kind.PLAN, 0), attempt, StagePlan("s", tasks, 0, b"")))
    spent = 0.0
    output = Output(Blob(b"0123456789abcdef", 8 * sizes), "n0", (8,) * sizes, 0, 1) if sizes else Output()
    done, goal = 0, part or tasks
    beat = 1.0
    while done < goal:
        for name, queue in queues.items():
            n = min(batch, len(queue))
            if not n:
                continue
            now += TASK * n / workers
            results = tuple([(*queue.popleft(), output) for _ in range(n)])
            handle(TasksDone(name, 1, 0, int(Kind.MAP), results))
            done += n
        if now > beat:
            beat = now + 1.0
            for name, queue in queues.items():
                handle(Heartbeat(name, tuple((TaskId(1, 0, Kind.MAP, index), attempt) for index, attempt in queue)))
            handle(Tick())
    return spent / done, packing / done, actions_seen


def queued_bytes(tasks: int) -> float:
    """Bytes of memory a queued task, by tracemalloc."""
    scheduler = Scheduler()
    scheduler.handle(Submitted(b"c", "t", JobSpec(0, "x", b"")), 0.0)
    scheduler.handle(WorkerJoined("w", "n", 1, {"x": "1"}), 0.0)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    scheduler.handle(PlanDone("w", TaskId(1, 0, Kind.PLAN, 0), 1, StagePlan("s", tasks, 0, b"")), 0.0)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return (after - before) / tasks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 1_000])
    parser.add_argument("--sizes", type=int, nargs="+", default=[0, 4])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    print("| tasks queued | workers | partitions | results a message | us a task | + journal, us |")
    print("|---|---|---|---|---|---|")
    for workers in args.workers:
        for sizes in args.sizes:
            for batch in args.batch:
                seen: dict[int, list[tuple[float, float, int]]] = {tasks: [] for tasks in args.tasks}
                for _ in range(args.repeat):
                    for tasks in args.tasks:
                        seen[tasks].append(run(tasks, workers, sizes, batch, min(tasks, 20_000)))
                for tasks, times in seen.items():
                    us, journal = (1e6 * statistics.median(column) for column in list(zip(*times, strict=True))[:2])
                    print(f"| {tasks:,} | {workers:,} | {sizes} | {batch} | {us:.2f} | {journal:.2f} |")
    print(f"\nbytes a queued task: {queued_bytes(max(args.tasks)):.1f}")


if __name__ == "__main__":
    main()
