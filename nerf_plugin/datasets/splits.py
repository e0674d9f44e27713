"""Which views are held out when the capture does not say: every eighth of the frames sorted by name, as LLFF and mip-
NeRF 360 do.
"""

from __future__ import annotations

from nerf_plugin.datasets.model import View

EVERY = 8


def held_out(views: list[View]) -> set[str]:
    """Names of the views 0, 8, 16, ... in order of name; none when there are fewer than two views."""
    names = sorted(view.name for view in views)
    return set(names[::EVERY]) if len(names) > 1 else set()


def pick(views: list[View], test: set[str], split: str) -> list[View]:
    """The views of one split in order of name; "val" is the same as "test"."""
    return sorted((view for view in views if (view.name in test) == (split != "train")), key=lambda view: view.name)
