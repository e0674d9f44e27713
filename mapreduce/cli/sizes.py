"""Sizes in bytes, and limits of tasks, as people write them on the command line."""

from __future__ import annotations

import re
from typing import Any

import click

from ..working.settings import LIMITS


class Size(click.ParamType):
    """Bytes: 800M, 1.5G, 4096."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", value.strip(), re.IGNORECASE)
        if not found:
            self.fail(f"{value!r} is no size; write 800M, 1.5G or a number of bytes", param, ctx)
        return int(float(found[1]) * 1024 ** " kmgt".index(found[2].lower() or " "))


class Limit(click.ParamType):
    """NAME=VALUE: a limit of a task."""

    name = "limit"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        name, _, text = value.partition("=")
        if name not in LIMITS:
            self.fail(f"{value!r}: write NAME=VALUE; the names are {', '.join(LIMITS)}", param, ctx)
        if name in ("memory", "output", "file-size"):
            return name, float(Size().convert(text, param, ctx))
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if not 0 <= number < float("inf"):
            self.fail(f"{text!r} is no number from 0", param, ctx)
        return name, number
