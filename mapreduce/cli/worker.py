"""`daf-worker`: runs tasks for a coordinator, each in a child process of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from .. import __version__
from ..working.settings import TASK_CPU, TASK_FILES, TASK_PROCESSES
from .connect import DEFAULT, KEYS, Endpoint
from .coordinator import LEVELS, log
from .exits import Daemon
from .sizes import Size


@click.command(cls=Daemon, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="%(prog)s %(version)s")
@click.argument("coordinator", type=Endpoint(), default=DEFAULT, envvar="DAF_COORDINATOR", metavar="[ENDPOINT]")
@click.option(
    "--slots", type=click.IntRange(1, 1024), default=None, help="Tasks at a time; one a processor unless given."
)
@click.option("--name", default="", help="Shown to people; host name and process id unless given.")
@click.option(
    "--data-dir", type=click.Path(path_type=Path),
    help="Folder for what tasks leave behind; a temporary one unless given. Workers of one host may share it.",
)  # fmt: skip
@click.option("--host", default="", help="Workers with the same id map each other's files; this machine unless given.")
@click.option(
    "--blob-bind", default="", metavar="ENDPOINT",
    help="Where other hosts fetch blobs; unless given on loopback, or with keys and a coordinator elsewhere on all "
    "addresses.",
)  # fmt: skip
@KEYS
@click.option("--plugins", "-p", multiple=True, metavar="FILE", help="Offer the job types of this file too.")
@click.option(
    "--types", "--only", "types", multiple=True, metavar="JOBTYPE[,...]",
    help="Offer and run only these job types, whatever the coordinator says.",
)  # fmt: skip
@click.option(
    "--roots", multiple=True, type=click.Path(exists=True, file_okay=False, resolve_path=True), metavar="DIR",
    help="Refuse jobs whose input or artifact paths lead out of these folders, also by links.",
)  # fmt: skip
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of a task.")
@click.option(
    "--task-memory", type=Size(),
    help="Memory of one task, as 800M or 2G; unless given a slot's share of nine tenths of the machine's; 0: no limit.",
)  # fmt: skip
@click.option(
    "--task-output", type=Size(), default=0,
    help="Bytes that one task may write into the data directory, as 20G; 0: half of what is free there at the start.",
)  # fmt: skip
@click.option("--task-seconds", type=click.FloatRange(0), default=0.0, help="Seconds of one task; 0: no limit.")
@click.option(
    "--task-cpu", type=click.FloatRange(0), default=TASK_CPU, show_default=True,
    help="Seconds of processor time of one task, with what it starts; 0: no limit.",
)  # fmt: skip
@click.option(
    "--task-processes", type=click.IntRange(0), default=TASK_PROCESSES, show_default=True,
    help="Processes that one task may have running besides its own; 0: no limit.",
)  # fmt: skip
@click.option(
    "--task-files", type=click.IntRange(0), default=TASK_FILES, show_default=True,
    help="Files that one task may have open at once; 0: as many as the worker.",
)  # fmt: skip
@click.option(
    "--file-size", type=Size(), default=0,
    help="Size of one file that a task writes; 0: half of what is free at the start, in the data directory or the "
    "working folder.",
)  # fmt: skip
@click.option("--recycle-tasks", type=click.IntRange(0), default=0, help="Replace a child process after so many tasks.")
@click.option("--recycle-memory", type=Size(), default=0, help="Replace a child process that holds more than this.")
@click.option("--log-level", type=LEVELS, default="info", show_default=True, help="How much to say on stderr.")
def main(coordinator: str, slots: int | None, log_level: str, **options: Any) -> None:
    """Run tasks for the coordinator at ENDPOINT until SIGTERM (which finishes what runs) or Ctrl-C."""
    from .. import plugins
    from ..worker import Worker
    from ..working.limits import memory_share
    from ..working.settings import WorkerSettings

    for spec in options["plugins"]:
        plugins.add(spec)
    options["types"] = tuple(name for text in options["types"] for name in text.split(",") if name)
    options["keys"] = os.path.abspath(options["keys"]) if options["keys"] else ""
    for name in options["types"]:
        plugins.describe(name)
    log(log_level)
    slots = slots or len(os.sched_getaffinity(0))
    if options["task_memory"] is None:
        options["task_memory"] = memory_share(slots)
    try:
        settings = WorkerSettings(connect=coordinator, slots=slots, **options)
        Worker(settings).run()
    except ValueError as error:
        raise click.UsageError(str(error)) from error


if __name__ == "__main__":
    main()
