"""Runs a worker: `python -m mapreduce.working.start SETTINGS`, JSON of `WorkerSettings`. For programs; people use
daf-worker."""

from __future__ import annotations

import logging
import sys

from .forks import Zygote
from .nursery import Nursery
from .settings import WorkerSettings


def serve(settings: WorkerSettings, zygote: Zygote | None = None) -> int:
    """Run a worker in this process, in the main thread, until it is told to go; returns the exit code. Its slots come
    from `zygote`, or from one of its own."""
    nursery = Nursery(settings, zygote)  # one of its own loads from now on
    from ..errors import DafError
    from ..worker import Worker

    try:
        Worker(settings, nursery).run()
    except DafError as error:
        print(f"daf-worker: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def main(settings: str, zygote: Zygote | None = None) -> int:
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", level=logging.INFO, stream=sys.stderr)
    return serve(WorkerSettings.from_json(settings), zygote)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
