"""What a worker can be told, and what it tells its slots."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

DATA_DIR = "DAF_DATA_DIR"
"""Environment variable: the folder in which temporary data directories are made."""
TASK_CPU = 4 * 3600.0
TASK_PROCESSES = 512
TASK_FILES = 4096
"""What one task may take unless somebody said otherwise: seconds of processor time, processes, open files. Much more
than tasks of a job need, and little enough that one that has gone astray ends before the machine does."""


@dataclass(frozen=True)
class WorkerSettings:
    """Options of one worker.

    Attributes:
        connect: endpoint of the coordinator.
        near: a stream socket of the coordinator on this host (see coordination.near); empty: use `connect`.
        slots: task processes; each runs one task at a time.
        name: shown to people; host name and process id unless given.
        data_dir: the node's directory; None for a temporary one.
        host: id of this host; workers with the same id map each other's files.
        blob_bind: where blobs are served to workers on other hosts; empty: on loopback, or with keys, when the
            coordinator is on another host, on all addresses of this one.
        keys: a key directory, or the secret file in one (see mapreduce.keys); empty for none.
        roots: folders that paths of jobs must be in (see mapreduce.roots); empty for anywhere.
        plugins: specs of job types beyond those that are installed (see plugins.add).
        path: folders in which task processes look for modules too.
        types: the only job types to offer, and to run whatever the coordinator says; empty for all.
        offer: job types with their versions, where somebody has looked them up already.
        threads: threads that numeric libraries may use in a task, unless the environment says otherwise.
        task_memory: bytes of anonymous memory of one task, 0 for no limit; a job may ask for less.
        task_seconds: seconds of one task, 0 for no limit; a job may ask for less.
        task_output: bytes that one task may write into the data directory, output and spills; 0 for half of what the
            directory has free at the start.
        task_cpu: seconds of processor time of one task and of what it starts, 0 for no limit.
        task_processes: processes that a task may have running besides its own, 0 for no limit.
        task_files: files that a task may have open at once, 0 for as many as the worker may.
        file_size: bytes of one file that a task writes; 0 for half of what is free at the start where there is most
            room, the data directory or the working folder.
        recycle_tasks: a slot's process is replaced after so many tasks, 0 for never.
        recycle_memory: ... and, between tasks, when it holds more anonymous bytes than this, 0 for never.
    """

    connect: str
    near: str = ""
    slots: int = 1
    name: str = ""
    data_dir: Path | None = None
    host: str = ""
    blob_bind: str = ""
    keys: str = ""
    roots: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    offer: dict[str, str] = field(default_factory=dict)
    threads: int = 1
    task_memory: int = 0
    task_seconds: float = 0.0
    task_output: int = 0
    task_cpu: float = TASK_CPU
    task_processes: int = TASK_PROCESSES
    task_files: int = TASK_FILES
    file_size: int = 0
    recycle_tasks: int = 0
    recycle_memory: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.slots <= 1024:
            raise ValueError(f"a worker has 1 to 1024 slots, not {self.slots}")
        if len(self.name) > 200:
            raise ValueError(f"a worker's name has 200 characters at most, not {len(self.name)}")

    def to_json(self) -> str:
        return msgspec.json.encode(self, enc_hook=str).decode()

    @classmethod
    def from_json(cls, text: str) -> WorkerSettings:
        return msgspec.json.decode(text, type=cls, dec_hook=lambda kind, value: kind(value))


LIMITS = {
    "memory": "task_memory",
    "seconds": "task_seconds",
    "cpu": "task_cpu",
    "processes": "task_processes",
    "files": "task_files",
    "output": "task_output",
    "file-size": "file_size",
}
"""What people call the limits of a task, and the field of `WorkerSettings` that each is."""


class SlotSettings(msgspec.Struct, frozen=True):
    """What a worker tells a slot at its start, as JSON. Sizes are in bytes, 0 for no limit."""

    worker: str
    host: str
    node: str
    blobs: str
    scratch: str
    plugins: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    keys: str = ""
    roots: tuple[str, ...] = ()
    task_memory: int = 0
    task_output: int = 0
    task_files: int = 0
    file_size: int = 0

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> SlotSettings:
        return msgspec.json.decode(text, type=cls)
