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

UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
SIZES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class Duration(click.ParamType):
    """Seconds, or a number with s, m, h or d behind it."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value)
        number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "s")
        try:
            seconds = float(number) * UNITS[unit]
        except ValueError:
            seconds = -1.0
        if not 0 < seconds < float("inf"):
            self.fail(f"{text!r} is no time above 0: write 90, 45s, 30m, 12h or 7d", param, ctx)
        return seconds


class Size(click.ParamType):
    """Bytes, or a number with kB, MB, GB or TB behind it."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).removesuffix("B")
        unit = text[-1:] if text[-1:] in SIZES else ""
        try:
            count = float(text.removesuffix(unit)) * SIZES[unit]
        except ValueError:
            count = -1.0
        if not 0 < count < 2**63:
            self.fail(f"{value!r} is no size above 0: write 500MB or 20GB", param, ctx)
        return int(count)


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
@click.option(
    "--keep-ended",
    "--keep-jobs",
    "keep_ended",
    type=click.IntRange(0),
    help="Ended jobs that are remembered, with their outputs.",
)
@click.option("--keep-for", type=Duration(), help="How long they are, for example 12h or 7d. Without it: no limit.")
@click.option(
    "--keep-bytes",
    type=Size(),
    help="How many bytes their values and outputs may take: 500MB, 20GB. The oldest go first.",
)
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
