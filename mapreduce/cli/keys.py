"""`daf keys`: make and list the keys by which a cluster tells friends from strangers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..keys import SCOPES, Directory, make
from .output import emit, table

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group()
def keys() -> None:
    """Make and list keys for a cluster.

    A key directory has NAME.key, which is public, and NAME.secret of each party. Give every host all the .key files and
    the one secret that is its own; then --keys DIR, or the variable DAF_KEYS, makes daf, daf-coordinator and daf-worker
    use them.
    """


@keys.command()
@click.argument("folder", type=FOLDER, metavar="DIR")
@click.option("--role", type=click.Choice(list(SCOPES)), required=True, help="Whom the key is for.")
@click.option("--name", default="", help="The files are named so; the role unless given.")
@click.option(
    "--scope", "scopes", multiple=True, metavar="SCOPE[,...]",
    help="What a client may do: submit (and its own jobs), read (all jobs and results), admin (all, on everybody's "
    "jobs); submit,read unless given. Workers have work.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def new(folder: Path, role: str, name: str, scopes: tuple[str, ...], as_json: bool) -> None:
    """Write a new pair of keys into DIR, which is made with mode 0700. Nothing is ever overwritten."""
    key = make(folder, role, name, tuple(scope for text in scopes for scope in text.split(",") if scope))
    if as_json:
        emit({"name": key.name, "role": key.role, "scopes": sorted(key.scopes), "public": key.public})
        return
    click.echo(f"{folder / key.name}.key     public: copy it to the key directory of every host")
    click.echo(f"{folder / key.name}.secret  secret: only the host that is {key.name} may have it")


@keys.command("list")
@click.argument("folder", type=FOLDER, metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_keys(folder: Path, as_json: bool) -> None:
    """Say whose keys DIR has, and what they may do."""
    found = Directory(folder).keys()
    rows: list[dict[str, Any]] = [
        {
            "name": key.name,
            "role": key.role,
            "scopes": sorted(key.scopes),
            "public": key.public,
            "secret": (folder / f"{key.name}.secret").exists(),
        }
        for key in found
    ]
    if as_json:
        emit({"keys": rows})
        return
    shown = [[r["name"], r["role"], " ".join(r["scopes"]), r["public"], "yes" if r["secret"] else ""] for r in rows]
    table(["NAME", "ROLE", "SCOPES", "PUBLIC KEY", "SECRET HERE"], shown)
