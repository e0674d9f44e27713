"""Which coordinator a command speaks to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..client import Client

DEFAULT = "tcp://127.0.0.1:7077"
"""Where a coordinator is looked for unless DAF_COORDINATOR or --coordinator says otherwise."""


class Endpoint(click.ParamType):
    """tcp://HOST:PORT or ipc:///path."""

    name = "endpoint"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from ..engines import is_endpoint

        if not is_endpoint(value):
            self.fail(f"{value!r} is no endpoint; write tcp://HOST:PORT or ipc:///path", param, ctx)
        return str(value)


COORDINATOR = click.Option(
    ["--coordinator", "-c"],
    type=Endpoint(),
    default=DEFAULT,
    envvar="DAF_COORDINATOR",
    show_default=True,
    show_envvar=True,
    metavar="ENDPOINT",
    help="Endpoint of the coordinator.",
)


KEYS = click.option(
    "--keys", envvar="DAF_KEYS", default="", metavar="DIR", show_envvar=True,
    help="Key directory (see daf keys), or the secret file in one; with keys, connections are encrypted and strangers "
    "get no answer.",
)  # fmt: skip


def connect(endpoint: str, patience: float = 5.0) -> Client:
    """A client that gives up after `patience` seconds without an answer."""
    from ..client import Client

    return Client(endpoint, patience=patience, owner=os.environ.get("USER", ""))
