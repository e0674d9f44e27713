"""The `daf` command: a table of commands, each imported when it is used.

Help must be quick, so nothing heavy is imported here: no ZeroMQ, no NumPy, no plugin. Commands that plugins bring
(entry points, group `mapreduce.commands`) are listed without importing them; a broken one says so when it is called,
and no other is touched."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any

import click

from .. import __version__, plugins
from ..errors import EXIT_CODES, BrokenPlugin
from .exits import guarded, hush, set_debugging

COMMANDS = {
    "run": ("run:run", "Run a job and wait for its result."),
    "submit": ("run:submit", "Give a job to a coordinator and print its number."),
    "jobs": ("cluster:jobs", "List the jobs of a coordinator."),
    "watch": ("cluster:watch", "Follow a job until it ends."),
    "explain": ("cluster:explain", "Say why a job is where it is."),
    "cancel": ("cluster:cancel", "Cancel jobs."),
    "forget": ("cluster:forget", "Keep nothing of jobs that have ended."),
    "workers": ("cluster:workers", "List the workers of a coordinator."),
    "ping": ("cluster:ping", "Ask whether a coordinator is there."),
    "keys": ("keys:keys", "Make and list keys for a cluster."),
    "plugins": ("catalog:catalog", "List job types, or show one."),
    "completion": ("completion:completion", "Print the shell's completion script."),
}
"""Name: (where the command is, its help in a line)."""


class Daf(click.Group):
    """The group of all commands. Ends every process through `main`, whatever happened."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *(name for name in plugins.commands() if name not in COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module, _, attribute = COMMANDS[cmd_name][0].partition(":")
            found: click.Command = getattr(import_module(f"{__package__}.{module}"), attribute)
            return found
        added = plugins.commands().get(cmd_name)
        return plugin_command(added) if added else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if self.get_command(ctx, args[0]) is None:
            close = difflib.get_close_matches(args[0], self.list_commands(ctx), 1)
            hint = f"did you mean {close[0]!r}?" if close else "daf --help lists them"
            ctx.fail(f"there is no command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help) for name, (_, help) in COMMANDS.items()])
        added = {name: item for name, item in plugins.commands().items() if name not in COMMANDS}
        if added:
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(name, item.doc or f"({item.origin})") for name, item in added.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in EXIT_CODES.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            return hush()

    def main(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        body = partial(super().main, args, prog_name or "daf", standalone_mode=False, **extra)
        return guarded(body) if standalone_mode else body()


def plugin_command(item: plugins.Plugin) -> click.Command:
    """The click command of a plugin, or one that tells why there is none."""
    what = f"command {item.name!r} ({item.origin})"
    try:
        found = plugins.load_object(item.spec, what)
        if isinstance(found, click.Command):
            return found
        broken = BrokenPlugin(f"{what} is broken: {found!r} is not a click command")
    except BrokenPlugin as error:
        broken = error

    @click.command(item.name, context_settings={"ignore_unknown_options": True, "help_option_names": []})
    @click.argument("args", nargs=-1, type=click.UNPROCESSED)
    def stub(args: tuple[str, ...]) -> None:
        raise broken

    return stub


def load_plugins(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> None:
    for spec in value:
        plugins.add(spec)


def use_keys(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value:
        os.environ["DAF_KEYS"] = os.path.abspath(value)


@click.command(cls=Daf, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", prog_name="daf", message="%(prog)s %(version)s")
@click.option(
    "--debug", is_flag=True, expose_value=False, is_eager=True, callback=set_debugging, help="Show tracebacks."
)
@click.option(
    "--keys", metavar="DIR", expose_value=False, is_eager=True, callback=use_keys, envvar="DAF_KEYS", show_envvar=True,
    help="Key directory (see daf keys), or the secret file in one, for coordinators that have keys.",
)  # fmt: skip
@click.option(
    "--plugins", "-p", "specs", multiple=True, metavar="FILE", expose_value=False, is_eager=True, callback=load_plugins,
    help="Load job types from this file too; also by the variable DAF_PLUGINS.",
)  # fmt: skip
def daf() -> None:
    """MapReduce in Python, with pluggable job types.

    daf run wordcount book.txt counts words; daf run --help lists the job types; daf plugins says more about them.
    """


if __name__ == "__main__":
    daf()
