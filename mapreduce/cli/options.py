"""From the fields of a job type to the arguments and options of its command, and back.

Required fields are arguments, in the order of the dataclass (the first required list takes any number of words); all
others are options. What the words mean is decided by `params`, so a value that the command line refuses is refused in
the same words by every other way in.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import PurePath
from typing import Annotated, Any, Literal, Union

import click
import msgspec
from click.shell_completion import CompletionItem

from .. import params
from ..job import Job

RESERVED = frozenset(
    {"engine", "workers", "state", "priority", "skip_bad", "limit", "json", "as_json", "quiet", "help", "coordinator"}
)


class Value(click.ParamType):
    """One word of the command line as a parameter of type `annotation`; kept as text, and only checked here."""

    def __init__(self, annotation: Any):
        self.annotation = annotation
        core = bare(annotation)
        self.choices = choices(core)
        self.json = is_json(core)
        self.path = isinstance(core, type) and issubclass(core, PurePath)
        plain = {int: "integer", float: "number", bool: "boolean"}
        self.name = "json" if self.json else "path" if self.path else plain.get(core, "text")

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        return f"[{'|'.join(self.choices)}]" if self.choices else None

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            plain = msgspec.json.decode(value) if self.json else value
            params.convert(plain, self.annotation, lax=True)
        except msgspec.DecodeError as error:
            self.fail(f"must be JSON: {error}", param, ctx)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return plain

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        if self.path:
            return [CompletionItem(incomplete, type="file")]
        return [CompletionItem(choice) for choice in self.choices if choice.startswith(incomplete)]


def bare(annotation: Any) -> Any:
    """The type without `Annotated` and without `| None`."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return bare(typing.get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        rest = [item for item in typing.get_args(annotation) if item is not type(None)]
        return bare(rest[0]) if len(rest) == 1 else annotation
    return annotation


def choices(core: Any) -> list[str]:
    """What a Literal or Enum can be, as text."""
    if typing.get_origin(core) is Literal:
        return [str(value) for value in typing.get_args(core)]
    return [str(member.value) for member in core] if isinstance(core, type) and issubclass(core, Enum) else []


def element(core: Any) -> Any:
    """The type of a list's elements; None if it is no list."""
    origin, args = typing.get_origin(core) or core, typing.get_args(core)
    if not isinstance(origin, type) or not issubclass(origin, Sequence | set | frozenset):
        return None
    if issubclass(origin, str | bytes):
        return None
    if origin is tuple and not (len(args) == 2 and args[1] is Ellipsis):
        return None
    return args[0] if args else str


def is_json(core: Any) -> bool:
    """Whether a value of this type has structure, so that it is given as JSON."""
    origin = typing.get_origin(core) or core
    if not isinstance(origin, type):
        return False
    return (
        issubclass(origin, Mapping | Sequence | set | frozenset) and not issubclass(origin, str | bytes)
    ) or hasattr(origin, "__dataclass_fields__")


def own_name(name: str) -> str:
    """What a field is called on the command line: `job_` before names that running a job takes itself."""
    return f"job_{name}" if name in RESERVED else name


def parameters(cls: type[Job]) -> list[click.Parameter]:
    """The arguments and options of a job type. Raises BrokenPlugin."""
    found: list[click.Parameter] = []
    variadic = False
    for field in params.fields(cls):
        if field.name == "seed":
            continue
        core = bare(field.type)
        item = element(core)
        if item is not None and is_json(bare(item)):
            item = None
        if field.required and core is not bool and not (item is None and is_json(core)) and not (item and variadic):
            variadic = variadic or item is not None
            nargs = -1 if item else 1
            name, kind = own_name(field.name), Value(item or field.type)
            argument = click.Argument([name], type=kind, nargs=nargs, required=True)
            argument.about = field.description  # type: ignore[attr-defined]
            found.append(argument)
        else:
            found.append(_option(field, core, item))
    return found


def _option(field: params.ParamField, core: Any, item: Any) -> click.Option:
    name = own_name(field.name)
    flag = "--" + name.replace("_", "-")
    help = field.description
    if not field.required and field.default not in (None, [], {}, ""):
        shown = field.default if isinstance(field.default, str) else msgspec.json.encode(field.default).decode()
        help += f"  [default: {('no', 'yes')[field.default] if core is bool else shown}]"
    common: dict[str, Any] = {"help": help, "required": field.required, "default": None}
    if core is bool:
        return click.Option([name, f"{flag}/--no-{flag[2:]}"], **common)
    return click.Option([name, flag], type=Value(item or field.type), multiple=item is not None, **common)


def given(cls: type[Job], values: Mapping[str, Any]) -> dict[str, Any]:
    """What was said on the command line, by name of field; defaults are left to the dataclass."""
    said = {}
    for field in params.fields(cls):
        value = values.get(own_name(field.name))
        if field.name != "seed" and value is not None and value != ():
            said[field.name] = list(value) if isinstance(value, tuple) else value
    return said


class JobCommand(click.Command):
    """A command whose help tells arguments, the job's options, and those of running it apart."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options of the job": [], "Running it": []}
        for param in self.get_params(ctx):
            if isinstance(param, click.Argument):
                groups["Arguments"].append((param.make_metavar(ctx), getattr(param, "about", "")))
            elif record := param.get_help_record(ctx):
                own = isinstance(param.type, Value) or getattr(param, "of_job", False)
                groups["Options of the job" if own else "Running it"].append(record)
        for title, rows in groups.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
