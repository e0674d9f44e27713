"""Who is served next: higher priority first; among equals, the job with the fewest running tasks for its weight.

Where that is a tie (one slot, many jobs) the job that was served least so far, in seconds of work by weight, goes
first; a new job starts level with the others, so it neither waits behind their past nor makes them wait for it to
catch up.

Jobs with ready tasks lie in one heap per (type, version), because a worker looks only at what it can run. A heap's
entries are not moved when a job's numbers change: the job gets a new entry and a new ticket, and entries with old
tickets are thrown away when they come up. So serving costs the logarithm of the number of jobs, whatever the number of
tasks.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from .jobs import Job
from .workers import Worker

Entry = tuple[int, float, float, int, int, Job]
NOBODY: frozenset[int] = frozenset()


class Policy:
    """Call `update(job)` after anything about its ready or running tasks changed, also when it ended."""

    def __init__(self) -> None:
        self.heaps: dict[tuple[str, str], list[Entry]] = {}
        self.active: dict[tuple[str, str], dict[int, Job]] = {}
        self.level = 0.0

    def __len__(self) -> int:
        """Jobs that have something to hand out."""
        return sum(map(len, self.active.values()))

    def update(self, job: Job) -> None:
        key = job.key
        active = self.active.get(key)
        if active and len(active) == len(self.active) == 1 and job.id in active and job.ready:
            return  # alone, its numbers decide nothing; they are taken up when it gets company
        job.ticket += 1
        if not job.ready:
            if active and active.pop(job.id, None) is not None and not active:
                del self.active[key], self.heaps[key]
            return
        if active is None:
            active = self.active[key] = {}
            self.heaps[key] = []
        if job.id not in active:
            if len(self) == 1:
                self._renew(next(iter(next(jobs for jobs in self.active.values() if jobs).values())))
            active[job.id] = job
            job.served = max(job.served, self.level)
        heap = self.heaps[key]
        heappush(heap, self._entry(job))
        if len(heap) > 4 * len(active) + 64:
            heap[:] = [self._entry(job) for job in active.values()]
            heapify(heap)

    def _renew(self, job: Job) -> None:
        job.ticket += 1
        heappush(self.heaps[job.key], self._entry(job))

    def best(self, worker: Worker, skip: frozenset[int] | set[int] = NOBODY) -> Job | None:
        """The job that this worker serves next; None: nothing that it could run is ready."""
        found: Entry | None = None
        for key in worker.keys:
            heap = self.heaps.get(key)
            if heap and (entry := self._top(heap, skip)) is not None and (found is None or entry < found):
                found = entry
        return found[-1] if found is not None else None

    def turn(self, worker: Worker, job: Job, skip: set[int]) -> int:
        """How many tasks `job` may take before it is another's turn; 0: as many as it likes."""
        if len(self) == 1:
            return 0
        rival = self.best(worker, skip | {job.id})
        if rival is None or rival.spec.priority < job.spec.priority:
            return 0
        return max(1, int(rival.running / rival.spec.weight * job.spec.weight - job.running) + 1)

    def served(self, job: Job, tasks: int, seconds: float) -> None:
        """`job` was given tasks that take so long each (0: not known)."""
        self.level = max(self.level, job.served)
        job.served += tasks * (seconds or 1e-3) / job.spec.weight
        self.update(job)

    @staticmethod
    def _entry(job: Job) -> Entry:
        return (-job.spec.priority, job.running / job.spec.weight, job.served, job.id, job.ticket, job)

    @staticmethod
    def _top(heap: list[Entry], skip: frozenset[int] | set[int]) -> Entry | None:
        aside: list[Entry] = []
        found = None
        while heap:
            entry = heap[0]
            if entry[4] != entry[5].ticket:
                heappop(heap)
            elif entry[3] in skip:
                aside.append(heappop(heap))
            else:
                found = entry
                break
        for entry in aside:
            heappush(heap, entry)
        return found
