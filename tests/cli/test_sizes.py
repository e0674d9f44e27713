"""Sizes and limits as people write them."""

from __future__ import annotations

import click
import pytest

from mapreduce.cli.sizes import Limit, Size


@pytest.mark.parametrize(
    ("text", "size"), [("4096", 4096), ("800M", 800 << 20), ("1.5G", 3 << 29), ("2 KiB", 2048), ("0", 0)]
)
def test_sizes(text: str, size: int) -> None:
    assert Size().convert(text, None, None) == size


@pytest.mark.parametrize(
    ("text", "limit"),
    [("memory=2G", ("memory", 2 << 30)), ("cpu=90", ("cpu", 90)), ("file-size=1M", ("file-size", 1 << 20))],
)
def test_limits(text: str, limit: tuple[str, float]) -> None:
    assert Limit().convert(text, None, None) == limit


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("threads=3", "the names are memory, seconds, cpu, processes"),
        ("cpu", "no number"),
        ("cpu=-1", "no number"),
        ("cpu=inf", "no number"),
        ("memory=much", "no size"),
    ],
)
def test_what_is_no_limit_is_told(text: str, why: str) -> None:
    with pytest.raises(click.BadParameter, match=why):
        Limit().convert(text, None, None)
