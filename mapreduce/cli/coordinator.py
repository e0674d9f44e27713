"""`daf-coordinator`: holds the queue and the state of all jobs; runs no plugin code."""

from __future__ import annotations

import json
import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import __version__
from .connect import KEYS
from .exits import Daemon

if TYPE_CHECKING:
    from ..coordinator import Coordinator

LEVELS = click.Choice(["debug", "info", "warning", "error"])


def default_store() -> str:
    """A file in the user's state folder, made if need be."""
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "daf"
    base.mkdir(parents=True, exist_ok=True)
    return f"sqlite://{base.absolute() / 'coordinator.sqlite'}"


@click.command(cls=Daemon, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="%(prog)s %(version)s")
@click.option("--bind", default="tcp://127.0.0.1:7077", show_default=True, metavar="ENDPOINT", help="Where to listen.")
@click.option(
    "--store", envvar="DAF_STORE", metavar="URL",
    help="Where the state lasts: sqlite:///PATH, or memory:// to forget it at the end. By default a file in "
    "~/.local/state/daf.",
)  # fmt: skip
@KEYS
@click.option("--heartbeat", type=click.FloatRange(0.05, 60), help="Seconds between signs of life of a worker.")
@click.option("--lease", type=click.FloatRange(0.2, 600), help="Seconds of silence after which a worker is given up.")
@click.option("--max-jobs", type=click.IntRange(1), help="Live jobs admitted at a time.")
@click.option("--keep-ended", type=click.IntRange(0), help="Ended jobs that are remembered, with their outputs.")
@click.option("--speculate/--no-speculate", default=None, help="Start backups of tasks that lag far behind the others.")
@click.option("--announce", is_flag=True, help="Print {endpoint, pid} as one line of JSON when it listens.")
@click.option("--log-level", type=LEVELS, default="info", show_default=True, help="How much to say on stderr.")
def main(bind: str, store: str | None, keys: str, announce: bool, log_level: str, **settings: Any) -> None:
    """Run a coordinator until SIGTERM or Ctrl-C. What it acknowledged lasts in its store; started again it goes on."""
    from ..coordinator import serve
    from ..scheduler.settings import Settings

    given = {name: value for name, value in settings.items() if value is not None}
    chosen = Settings(**given)
    if chosen.heartbeat * 2 > chosen.lease:
        raise click.UsageError(f"a lease of {chosen.lease:g} s is too short for a heartbeat of {chosen.heartbeat:g} s")
    log(log_level)
    try:
        serve(bind, store or default_store(), chosen, partial(_announce, announce), keys=keys)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def log(level: str) -> None:
    """Log lines on stderr."""
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=level.upper(), stream=sys.stderr
    )


def _announce(wanted: bool, coordinator: Coordinator) -> None:
    if wanted:
        click.echo(json.dumps({"endpoint": coordinator.endpoint, "pid": os.getpid()}))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
