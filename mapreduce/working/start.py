"""Runs a worker: `python -m mapreduce.working.start SETTINGS`, JSON of `WorkerSettings`. For programs; people use
daf-worker."""

from __future__ import annotations

import logging
import sys

from .nursery import Nursery
from .settings import WorkerSettings


def serve(settings: WorkerSettings) -> int:
    """Run a worker in this process, in the main thread, until it is told to go; returns the exit code."""
    nursery = Nursery(settings)  # its slots start now
    from ..errors import DafError
    from ..worker import Worker

    try:
        Worker(settings, nursery).run()
    except DafError as error:
        print(f"daf-worker: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def main() -> int:
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", level=logging.INFO, stream=sys.stderr)
    return serve(WorkerSettings.from_json(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
