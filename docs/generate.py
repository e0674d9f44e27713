"""Writes the pages that are made from the code: cli.md, job-types.md and states.svg. Run it from anywhere:

    python docs/generate.py

A test compares what is committed with what this would write.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path

import click

from mapreduce import errors, params, plugins
from mapreduce.cli.coordinator import main as coordinator
from mapreduce.cli.main import daf
from mapreduce.cli.run import JobTypes
from mapreduce.cli.worker import main as worker
from mapreduce.scheduler import diagram

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
PROGRAMS = {"daf": daf, "daf-coordinator": coordinator, "daf-worker": worker}
NOTE = "<!-- Written by docs/generate.py from the code; a test holds the two together. -->\n"


# ------------------------------------------------------------------------------------------------ the command line


def every_command() -> Iterator[tuple[str, click.Command]]:
    """(full name, command), groups before their members; job types have a page of their own."""

    def walk(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        yield name, command
        if isinstance(command, click.Group) and not isinstance(command, JobTypes):
            context = click.Context(command, info_name=name)
            for member in command.list_commands(context):
                found = command.get_command(context, member)
                if found is not None and not found.hidden:
                    yield from walk(f"{name} {member}", found)

    for name, program in PROGRAMS.items():
        yield from walk(name, program)


def options() -> Iterator[tuple[str, str, str]]:
    """(command, option, help text) of every option there is."""
    for name, command in every_command():
        for option in shown(command):
            yield name, spelled(option), option.help or ""


def shown(command: click.Command) -> list[click.Option]:
    """The options of a command; of `run` and `submit` those that come with every job type."""
    parameters = command.running if isinstance(command, JobTypes) else command.params
    return [item for item in parameters if isinstance(item, click.Option) and not item.hidden]


def spelled(option: click.Option) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    if option.is_flag or option.count:
        return names
    return f"{names} {option.metavar or option.type.name.upper()}"


def told(option: click.Option) -> str:
    """The help text, with the choices and the default where there are any."""
    parts = [" ".join((option.help or "").split())]
    if isinstance(option.type, click.Choice):
        parts.append(f"One of {', '.join(map(str, option.type.choices))}.")
    default = option.default
    if isinstance(default, bool | int | float | str) and default not in (False, "") and not option.is_flag:
        parts.append(f"Default: {default}.")
    return cell(" ".join(parts))


def cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


def section(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    text = re.sub(r"\n[ \t]+", "\n", (command.help or "").replace("\b", "").split("\f")[0]).strip()
    lines = [f"## {name}", "", "```text", usage, "```", "", text]
    if isinstance(command, JobTypes):
        text += " ([What each job type takes](job-types.md).)"
    rows = shown(command)
    if rows:
        lines += ["", "| option | |", "|---|---|", *(f"| `{spelled(row)}` | {told(row)} |" for row in rows)]
    return "\n".join(lines).rstrip() + "\n"


def exit_codes() -> str:
    """The table that stands in the docstring of `mapreduce.errors`."""
    table = [line for line in (errors.__doc__ or "").splitlines() if line.startswith("|")]
    return "\n".join(["## Exit codes", "", *table]) + "\n"


def cli() -> str:
    """cli.md: every command, its options and the exit codes."""
    return "\n".join(
        ["# The command line\n", NOTE, *(section(name, command) for name, command in every_command()), exit_codes()]
    )


# ------------------------------------------------------------------------------------------------ job types


def job_type(name: str) -> str:
    """One job type: what it says of itself, its parameters, and its source when it is one file of `plugins/`."""
    cls = plugins.load(name)
    path = Path(inspect.getsourcefile(cls) or "")
    lines = [f"## {name}", "", inspect.cleandoc(cls.__doc__ or ""), "", "| parameter | | default |", "|---|---|---|"]
    for field in params.fields(cls):
        text = cell(f"{field.description or field.name.replace('_', ' ')}; {params.describe(field.type)}")
        default = "required" if field.required else f"`{json.dumps(field.default)}`"
        lines.append(f"| `{field.name}` | {text} | {default} |")
    if path.parent == ROOT / "plugins":
        lines += ["", f"```python title=plugins/{path.name}", path.read_text().rstrip(), "```"]
    return "\n".join(lines) + "\n"


def job_types() -> str:
    """job-types.md: every job type of this distribution."""
    head = (
        "# Job types that come with DAF\n\nEach of the small ones is one file, shown whole: "
        "start your own from the one that is most like it ([how](plugins.md)).\n"
    )
    ours = [name for name, plugin in plugins.known().items() if plugin.origin.startswith("daf ")]
    return "\n".join([head, NOTE, *map(job_type, ours)])


PAGES = {"cli.md": cli, "job-types.md": job_types, "states.svg": lambda: diagram.svg() + "\n"}


if __name__ == "__main__":
    for page, make in PAGES.items():
        (DOCS / page).write_text(make(), encoding="utf-8")
        print(f"wrote {DOCS / page}")
