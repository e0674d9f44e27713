"""Training as stages: prepare the photos, then for each level lay the grid, fill its rows, and take the rounds.

    prepare   map: one photo -> its pyramid            (partition t holds the photos of map task t of every round)
    grid      map: one task -> box and topology of the level's grid
    rows      map: one range of rows -> their first values
    round     map: rays of one shard of photos -> packed gradients; reduce: one range of rows -> its next values

What is learned beside the grid (`training.outside`) is one partition more, behind the ranges of rows.

What these tasks do is in `stages.rounds`; here is which stage follows which. Rows and photos travel by reference: a
round costs the bytes of its gradients and of the rows it changes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import astuple
from types import ModuleType
from typing import Any

from mapreduce import Stage, StageResult
from nerf_plugin.stages.rounds import LOSS_UNIT, TRAFFIC, TrainingTasks

CURVE_POINTS = 200


class TrainingStages(TrainingTasks):
    """Plans what turns photos into rows of a grid, and inherits how its tasks run."""

    clock = staticmethod(time.time)
    budget: float = 0.0

    def train_views(self) -> list[dict[str, Any]]:
        """The training photos as plain data, in a fixed order."""
        raise TypeError("the job type must say where its photos are")

    def plan_prepare(self) -> Stage:
        """The first stage."""
        begin = self.clock()  # before what is imported, which takes its time too
        state = {"phase": "prepare", "views": 0, "round": 0, "level": 0, "seen": {}, "curve": []}
        if self.budget:
            state |= {"book": pacing().open_book(begin), "levels": plain_levels(self.settings.levels)}
        views = self.train_views()
        splits = list(enumerate(views))
        return Stage(
            splits, "prepare photos", map=self.prepare, reduces=self.settings.tasks, state=state | {"views": len(views)}
        )

    def plan_grid(self, last: StageResult) -> Stage:
        """Lay the first grid, or the next level's."""
        shared = {"views": last.shared["views"] if "views" in last.shared else last.outputs}
        if last.state["phase"] == "round":
            shared |= {"grid": last.shared["grid"], "rows": last.outputs}
        state = self.note_round(last) | {"phase": "grid"}
        if "grid" in shared:
            state["level"] += 1
        name = f"grid {self.run_of(state).levels[state['level']].resolution}"
        return Stage([state["level"]], name, map=self.lay_grid, reduces=1, shared=shared, state=state)

    def plan_rows(self, last: StageResult) -> Stage:
        """Fill the new grid's rows, from the old ones where there are any."""
        from nerf_plugin.grid import Grid
        from nerf_plugin.training.tasks import parts_of

        shared = {"views": last.shared["views"], "grid": last.outputs}
        for name in ("grid", "rows"):
            if name in last.shared:
                shared[f"old {name}"] = last.shared[name]
        [(_, plain)] = last.outputs
        parts = parts_of(self.settings, Grid.from_plain(plain["grid"]).rows)
        state = self.note_round(last) | {"phase": "rows", "parts": parts}
        if "cells" in plain:
            state["cells"] = plain["cells"]
            if "levels" in state:
                state["levels"] = plain_levels(self.fitted_settings(state).levels)
        count = self.learned(state)
        return Stage(range(count), "rows", map=self.fill_rows, reduces=count, shared=shared, state=state)

    def plan_round(self, last: StageResult) -> Stage:
        """One optimiser step."""
        shared = {"views": last.shared["views"], "grid": last.shared["grid"], "rows": last.outputs}
        state = self.note_round(last) | {"phase": "round"}
        number = state["round"]
        return Stage(
            range(self.settings.tasks),
            f"round {number + 1} of {self.run_of(state).rounds}",
            map=self.trace,
            reduce=self.step,
            reduces=self.learned(state),
            shared=shared,
            state=state,
        )

    def learned(self, state: dict[str, Any]) -> int:
        """Partitions of a round's outputs."""
        return int(state["parts"]) + (self.settings.shells > 0 or self.settings.exposure)

    def note_round(self, last: StageResult) -> dict[str, Any]:
        """The state after `last`: the next round's number, a point on the training curve, and the rounds that the
        budget leaves."""
        if self._noted is not None and self._noted[0] is last:  # the clock is read once
            return dict(self._noted[1])
        state = dict(last.state)
        if "book" in state and state["phase"] in ("prepare", "grid", "rows", "round"):
            state["book"] = pacing().note(state["book"], state["phase"], self.clock())
        if state["phase"] == "round":
            state["round"] += 1
            totals = {name: last.counters.get(name, 0) for name in ("rays", "_squared error", *TRAFFIC)}
            fresh = {name: value - state["seen"].get(name, 0) for name, value in totals.items()}
            error = fresh["_squared error"] * LOSS_UNIT / max(1, 3 * fresh["rays"])
            state["seen"] = totals
            state["curve"] = [*state["curve"], [totals["rays"], error]][-CURVE_POINTS:]
            if "book" in state:
                levels, level = self.run_of(state).levels, state["level"]
                done = state["round"] - sum(spec.rounds for spec in levels[:level])
                fitting = pacing().refit(self.fitted_settings(state), levels, level, done, state["book"], self.budget)
                state["levels"] = plain_levels(fitting)
        self._noted = (last, state)
        return dict(state)

    _noted: tuple[StageResult, dict[str, Any]] | None = None

    def trained(self, rounds: int, state: dict[str, Any]) -> float:
        """Which part of the training's rays the first `rounds` rounds trace."""
        settings = self.run_of(state)
        done = 0
        for level in settings.levels:
            done += min(rounds, level.rounds) * level.rays
            rounds = max(0, rounds - level.rounds)
        return done / settings.rays

    def traffic(self, state: dict[str, Any]) -> dict[str, float]:
        """round_megabytes: what map tasks sent and reduce tasks wrote in a round, mean over the run; dense_exchange:
        how many times as much a dense exchange would have been (see TRAFFIC)."""
        sent, dense = (state["seen"].get(name, 0) for name in TRAFFIC)
        rounds = max(1, state["round"])
        return {"round_megabytes": round(sent / rounds / 1e6, 2), "dense_exchange": round(dense / max(1, sent), 1)}

    def training_over(self, last: StageResult) -> str:
        """What follows a committed round: "round", "grid" (the next level) or "done"."""
        state = self.note_round(last)
        settings = self.run_of(state)
        if state["round"] >= settings.rounds:
            return "done"
        from nerf_plugin.training import plan

        return "grid" if plan(settings, state["round"], state["views"]).level > state["level"] else "round"


def plain_levels(levels: Iterable[Any]) -> list[list[int]]:
    """Levels as plain data."""
    return [list(astuple(level)) for level in levels]


def pacing() -> ModuleType:
    """The module, imported when a budget asks for it."""
    from nerf_plugin.training import pacing

    return pacing
