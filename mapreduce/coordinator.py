"""Starting a coordinator: in this process (`serve`), or by another program (`python -m mapreduce.coordinator`).

The coordinator itself is in `coordination/`: `loop.py` has the loop, `admission.py` receives and judges, `post.py`
sends, `roster.py` deals with workers, `desk.py` with clients, `journal.py` keeps the scheduler's records in the store,
`promises.py` commits and then sends what waited for it, `inbound.py` and `outbound.py` translate between messages and
the scheduler's events and actions. The process loads neither NumPy nor any plugin.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from .coordination.failpoints import from_environment
from .coordination.loop import Coordinator
from .errors import DafError
from .keys import Keys, chosen
from .scheduler.settings import Settings
from .store import open_store
from .wire import sockets

__all__ = ["Coordinator", "main", "serve"]

log = logging.getLogger("daf.coordinator")


def serve(
    bind: str,
    store_url: str,
    settings: Settings | None = None,
    ready: Callable[[Coordinator], None] | None = None,
    *,
    tether: bool = False,
    keys: Keys | str | Path | None = "",
    near: str = "",
) -> None:
    """Run a coordinator in this process until SIGTERM or SIGINT; the state stays in the store. Call it in the main
    thread.

    Args:
        bind: endpoint to listen on; port 0 takes a free one.
        store_url: see `mapreduce.store.open_store`.
        ready: called once with the coordinator when it listens (its `endpoint` is final then).
        keys: the coordinator's keys, or where they are (see `mapreduce.keys`); "": none, None: what DAF_KEYS says.
        near: path of a socket for workers of this host, in a folder that nobody else can enter.
        tether: stop when standard input ends, so that the coordinator goes with the process that holds the other end.

    Raises:
        Insecure, BadInput, StoreError, OSError, ValueError: it cannot start (see `Coordinator`).
    """
    found = chosen(keys, "coordinator")
    sockets.check_bind(bind, found is not None)
    store = open_store(store_url)
    try:
        coordinator = Coordinator(bind, store, settings, keys=found, passing=from_environment(), near=near)
    except BaseException:
        store.close()
        raise
    stopped: list[str] = []

    def stop(number: int, _: object) -> None:
        stopped.append(signal.Signals(number).name)
        coordinator.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if tether:
        threading.Thread(target=_hold, args=(coordinator,), daemon=True, name="daf-tether").start()
    try:
        log.info("coordinator %s listens on %s, store %s", coordinator.name, coordinator.endpoint, store_url)
        if found is not None:
            log.info("it has the keys in %s, which know %d parties", found.directory.path, len(found.directory.keys()))
        if ready is not None:
            ready(coordinator)
        coordinator.run()
        log.info("coordinator stops: %s", ", ".join(stopped) or "its owner is gone")
    finally:
        coordinator.close()


def _hold(coordinator: Coordinator) -> None:
    """Wait for the end of standard input."""
    while os.read(0, 4096):
        pass
    coordinator.stop()


def _settings(pairs: list[str]) -> Settings:
    """Settings from NAME=VALUE; raises ValueError that names what is wrong."""
    given = dict(pair.partition("=")[::2] for pair in pairs)
    known = [field.name for field in dataclasses.fields(Settings)]
    for name, value in given.items():
        if name not in known or not value:
            raise ValueError(f"--set {name}={value}: write NAME=VALUE with one of {', '.join(known)}")
    return msgspec.convert(given, Settings, strict=False)


def main(argv: list[str] | None = None) -> int:
    """`python -m mapreduce.coordinator`: for programs that start one; people use daf-coordinator."""
    parser = argparse.ArgumentParser(prog="python -m mapreduce.coordinator", description="Run a DAF coordinator.")
    parser.add_argument("--bind", default="tcp://127.0.0.1:7077", help="endpoint to listen on; port 0 for a free one")
    parser.add_argument("--store", default="memory://", help="memory:// or sqlite:///path")
    parser.add_argument("--announce", action="store_true", help="print {endpoint, pid} as one line of JSON when ready")
    parser.add_argument("--tether", action="store_true", help="stop when standard input ends")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the scheduler")
    parser.add_argument("--near", default="", metavar="PATH", help="a socket for workers of this host")
    options = parser.parse_args(argv)
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", level=logging.INFO, stream=sys.stderr)

    def announce(coordinator: Coordinator) -> None:
        if options.announce:
            print(json.dumps({"endpoint": coordinator.endpoint, "pid": os.getpid()}), flush=True)

    try:
        serve(options.bind, options.store, _settings(options.set), announce, tether=options.tether, near=options.near)
    except (DafError, OSError, ValueError) as error:
        print(f"daf-coordinator: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, DafError) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
