"""How commands end: errors become one clear message on stderr and a documented exit code, never a traceback.

`--debug` (or the variable DAF_DEBUG) shows the traceback as well; with `--json` a failure is an object on stdout too.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

import click

from ..errors import DafError, JobCancelled


def guarded(body: Callable[[], Any], program: str = "daf") -> NoReturn:
    """Run a command's body and end the process: errors become one clear message and an exit code."""
    try:
        code = body()
        sys.stdout.flush()
        leave(code if isinstance(code, int) else 0)
    except BrokenPipeError:
        leave(hush())
    except (click.Abort, KeyboardInterrupt):
        click.echo(f"{program}: interrupted", err=True)
        leave(130, JobCancelled("interrupted"))
    except click.ClickException as error:
        error.show(sys.stderr)
        leave(error.exit_code, error)
    except Exception as error:
        if os.environ.get("DAF_DEBUG"):
            traceback.print_exc()
        expected = isinstance(error, DafError | OSError)
        text = (
            str(error) if expected else f"{type(error).__name__}: {error}\nThis is a bug in DAF; --debug shows where."
        )
        click.echo(f"{program}: {text}", err=True)
        leave(getattr(error, "exit_code", 1), error)


def hush() -> int:
    """Whoever read our output went away: point stdout at nothing, or the interpreter complains at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE


def leave(code: int, error: BaseException | None = None) -> NoReturn:
    """End the process; for `--json`, a failure is an object on stdout too."""
    if error is not None and "--json" in sys.argv:
        from .output import failure

        try:
            click.echo(failure(error, code))
        except BrokenPipeError:
            hush()
    sys.exit(code)


def set_debugging(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        os.environ["DAF_DEBUG"] = "1"


class Daemon(click.Command):
    """A command that is a program of its own and ends the way `daf` does."""

    def main(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        body = partial(super().main, args, prog_name, standalone_mode=False, **extra)
        return guarded(body, prog_name or os.path.basename(sys.argv[0])) if standalone_mode else body()
