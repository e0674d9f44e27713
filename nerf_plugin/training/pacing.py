"""Fitting a run into a budget of seconds: the plan is shortened or lengthened, never cut.

Learning rates fall over the whole run and most of the quality comes with the last of them, so a run that is simply
stopped has wasted its budget. Instead the rounds of the levels (how many, and of how many rays) are chosen anew after
every round, from what rounds have cost so far, so that the run with its falling rates ends when the time does. The plan
goes by the median of the last few rounds, and a round is not begun that would end too late if it took as long as the
slowest of them. A budget far below what the preset needs drops fine levels rather than train all of them hardly at all
(they come back when rounds turn out to be faster: a run's first ones may have compiled kernels); one far above
lengthens the run, up to `MOST` times the preset.

All is plain data and a function of it. The seconds come from whoever plans (`stages.training`), who commits them with
the stage's state; a run that is taken up again goes on with what it had left.

The book of a run: {"spent": seconds so far, "at": the clock when the present stage was planned, "seconds": of the last
few rounds of this level, "usual": their median, or that of the level before, "between": seconds of the last step
between levels}.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import median, median_low
from typing import Any

from nerf_plugin.training.settings import Level, Settings

MOST = 4.0
LEAST = 16
"""A level that is not begun is dropped when fewer of its rounds would fit."""
GROWTH = 0.7
"""A ray costs this power of the resolution more in a finer level, until it is measured."""
BETWEEN = 0.5
"""Seconds of a step between levels, until it is measured."""
STALL = 30.0
"""A stage counts no more seconds than this and ten times what rounds last took: nobody worked while all was down."""
KEPT = 5

Book = dict[str, Any]


def open_book(now: float) -> Book:
    """The book of a run that begins now."""
    return {"spent": 0.0, "at": now, "seconds": [], "usual": 0.0, "between": 0.0}


def note(book: Book, phase: str, now: float) -> Book:
    """The book after a stage of `phase` that was planned at book["at"]."""
    book = dict(book)
    seconds = min(max(0.0, now - book["at"]), STALL + 10 * book["usual"])
    book["spent"] += seconds
    book["at"] = now
    if phase == "round":
        book["seconds"] = [*book["seconds"], seconds][-KEPT:]
        book["usual"] = median(book["seconds"])
    elif phase == "grid":
        book["between"] = seconds
    elif phase == "rows":
        book["between"] += seconds
        book["seconds"] = []
    return book


def refit(settings: Settings, levels: Sequence[Level], level: int, done: int, book: Book, budget: float) -> list[Level]:
    """The levels of a run that fits its budget.

    settings: of the preset. levels: as planned now (the first of the preset's, with other numbers of rounds). level,
    done: the level at work, and its rounds that are done. With no rounds to go by, the plan stays.
    """
    if len(book["seconds"]) < 2 or done < 2:
        return list(levels)
    cost = median_low(book["seconds"])
    left = budget - book["spent"]
    wanted = settings.levels
    if done >= levels[level].rounds and level + 1 < len(levels):
        return list(levels)  # the level is over: its rounds are not reopened
    if left < max(book["seconds"]):
        return [*levels[:level], replace(levels[level], rounds=done)]
    rays = levels[level].rays
    per_ray = cost / rays
    whole = wanted[level].rounds * wanted[level].rays / rays  # rounds of the preset's level, if they were like these
    dropped = len(levels) == level + 1 < len(wanted)  # then its rounds are meant for ending here
    begun = min(1.0, done / (whole if dropped else levels[level].rounds))
    here = whole * (1 - begun) * cost
    between = book["between"] or BETWEEN
    count = len(wanted)
    while True:
        later = range(level + 1, count)
        work = here + sum(
            wanted[i].rounds * wanted[i].rays * per_ray * (wanted[i].resolution / wanted[level].resolution) ** GROWTH
            for i in later
        )
        spare = left - between * len(later)
        factor = min(MOST, spare / work) if work > 0 else MOST
        if count == level + 1 or wanted[count - 1].scaled(max(0.0, factor)).rounds >= LEAST:
            break
        count -= 1
    factor = max(factor, 0.0)
    rest = whole * (1 - begun) * factor
    if count == level + 1:  # however much of the level is done: finer ones may have been dropped just now
        rest = math.floor(min(left / cost, max(0.0, MOST * whole - done)))
    now = replace(levels[level], rounds=max(done, done + round(rest)))
    return [*levels[:level], now, *(wanted[i].scaled(factor) for i in later)]
