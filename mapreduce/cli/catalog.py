"""`daf plugins`: what job types and commands there are, what they take, and what is wrong with broken ones."""

from __future__ import annotations

from typing import Any

import click

from .. import params, plugins
from ..errors import BrokenPlugin
from ..job import Job


@click.command("plugins")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with the JSON schema of each job type.")
def catalog(names: tuple[str, ...], as_json: bool) -> None:
    """List job types with version and parameters, and the commands of plugins; broken ones with their error.

    With NAMEs, show these in full.
    """
    from .output import emit

    found = [_about(plugins.describe(name)) for name in names or plugins.names()]
    commands = [] if names else [_command(item) for item in plugins.commands().values()]
    if as_json:
        for about in found:
            about["schema"] = params.schema(about["cls"]) if about["cls"] else None
            del about["cls"], about["fields"]
        emit({"plugins": found, "commands": commands})
        return
    for about in found:
        _show(about, full=bool(names))
    for about in commands:
        click.echo(f"daf {about['name']}  ({about['origin']})" + (f"\n    {about['doc']}" if about["doc"] else ""))
        _error(about["error"])
    broken = [about["name"] for about in found + commands if about["error"]]
    if broken and names:
        raise BrokenPlugin(f"broken: {', '.join(broken)}")


def _about(plugin: plugins.Plugin) -> dict[str, Any]:
    about: dict[str, Any] = {"name": plugin.name, "version": plugin.version, "doc": plugin.doc, "origin": plugin.origin}
    cls: type[Job] | None = None
    fields: list[params.ParamField] = []
    try:
        cls = plugins.load(plugin.name)
        fields = params.fields(cls)
        about["error"] = None
    except BrokenPlugin as error:
        about["error"] = str(error)
    return about | {"cls": cls, "fields": fields}


def _command(item: plugins.Plugin) -> dict[str, Any]:
    about: dict[str, Any] = {"name": item.name, "doc": item.doc, "origin": item.origin, "error": None}
    try:
        if not isinstance(plugins.load_object(item.spec, f"command {item.name!r} ({item.origin})"), click.Command):
            about["error"] = f"{item.spec} is not a click command"
    except BrokenPlugin as error:
        about["error"] = str(error)
    return about


def _show(about: dict[str, Any], full: bool) -> None:
    click.echo(f"{about['name']} {about['version']}  ({about['origin']})")
    if full and about["cls"] is not None:
        click.echo("    " + (about["cls"].__doc__ or "").strip())
    elif about["doc"]:
        click.echo(f"    {about['doc']}")
    for field in about["fields"]:
        default = "" if field.required else f" = {field.default!r}"
        click.echo(f"    {field.name}{default}: {params.describe(field.type)}" + _tail(field.description))
    _error(about["error"])


def _tail(description: str) -> str:
    return f"; {description}" if description else ""


def _error(error: str | None) -> None:
    if error:
        click.echo("    BROKEN: " + error.replace("\n", "\n    "))
