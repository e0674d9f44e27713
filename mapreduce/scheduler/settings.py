"""The scheduler's numbers. Seconds are of the clock that the caller passes as `now`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Times in seconds. The defaults suit one machine or one rack; a test or a wide network sets its own.

    - `heartbeat`, `lease`: how often a worker says that it lives, and how long it is believed without a word (with the
      tick that looks, a lost one is missed within five seconds).
    - `node_grace`: how long the outputs of a node without workers are believed to come back.
    - `assign_grace`: how long after its assignment a task may be missing from heartbeats.
    - `lookahead`, `prefetch`: a worker is sent ahead of its free slots as much work as it turns around in `lookahead`
      seconds, and at most `prefetch` tasks a slot. So tiny tasks travel by the hundred and long ones stay where any
      worker can take them. Tasks of up to `brief` seconds are sent one ahead of each slot, so that it never waits.
    - `hoard`: a worker that turned nothing around for so long gives back what waits behind its slots when others have
      nothing to do.
    - `patience`: how long a failed task waits for a worker that has not failed it yet.
    - `max_losses`: how often a task may be lost with its worker, or miss its input, before its job fails.
    - `max_wrong`, `quarantine`: a node that was found to hold wrong bytes so often gets no tasks for so many seconds.
    - `max_jobs`, `max_params`: live jobs admitted at a time, and bytes of parameters of all of them; `max_tasks`: tasks
      of one stage; `keep_ended`, `keep_for`, `keep_bytes`: what is kept of ended jobs (see retention.py).
    - `straggler*`: a backup attempt starts when `straggler_after` of a phase is done and a task has run `straggler`
      times as long as the usual one and at least `straggler_floor` seconds, and a slot has nothing else to do."""

    heartbeat: float = 1.0
    lease: float = 4.5
    node_grace: float = 10.0
    assign_grace: float = 2.0
    lookahead: float = 0.05
    prefetch: int = 256
    brief: float = 0.6
    hoard: float = 1.0
    patience: float = 5.0
    max_losses: int = 10
    max_rewinds: int = 10
    max_wrong: int = 2
    quarantine: float = 300.0
    max_jobs: int = 1_000
    max_params: int = 256 << 20
    max_tasks: int = 5_000_000
    keep_ended: int = 100
    keep_for: float = 0.0
    keep_bytes: int = 0
    retry_after: float = 5.0
    speculate: bool = True
    straggler: float = 3.0
    straggler_after: float = 0.75
    straggler_floor: float = 2.0
