"""Training as stages: prepare the photos, then for each level lay the grid, fill its rows, and take the rounds.

    prepare   map: one photo -> its pyramid            (partition t holds the photos of map task t of every round)
    grid      map: one task -> box and topology of the level's grid
    rows      map: one range of rows -> their first values
    round     map: rays of one shard of photos -> packed gradients; reduce: one range of rows -> its next values

What is learned beside the grid (`training.outside`) is one partition more, behind the ranges of rows.

Rows and photos travel by reference: a round costs the bytes of its gradients and of the rows it changes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mapreduce import BadInput, Context, Outputs, Stage, StageResult

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from nerf_plugin.field import Field
    from nerf_plugin.grid import Grid
    from nerf_plugin.training import Settings

LOSS_UNIT = 1e-6
"""Counters are integers: squared error is counted in millionths."""
CURVE_POINTS = 200
TRAFFIC = ("bytes of rounds", "bytes of dense rounds")
"""What map tasks sent and reduce tasks wrote; and what it would have been, had each map task sent and received 13
float32 for every voxel of the box."""


class Shard(Sequence[dict[str, Any]]):
    """The prepared photos of one map task, at their place among all photos."""

    def __init__(self, views: dict[int, dict[str, Any]], count: int):
        self._views, self._count = views, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return self._views[index]


class TrainingStages:
    """Plans and runs what turns photos into rows of a grid."""

    if TYPE_CHECKING:
        settings: Settings
        start: Path | None
        start_field: Field

    clock = staticmethod(time.time)
    budget: float = 0.0
    start = None

    def train_views(self) -> list[dict[str, Any]]:
        """The training photos as plain data, in a fixed order."""
        raise TypeError("the job type must say where its photos are")

    # ------------------------------------------------------------------------------------------------------- planning

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
            totals = {name: last.counters.get(name, 0) for name in ("rays", "squared error", *TRAFFIC)}
            fresh = {name: value - state["seen"].get(name, 0) for name, value in totals.items()}
            error = fresh["squared error"] * LOSS_UNIT / max(1, 3 * fresh["rays"])
            state["seen"] = totals
            state["curve"] = [*state["curve"], [totals["rays"], error]][-CURVE_POINTS:]
            if "book" in state:
                levels, level = self.run_of(state).levels, state["level"]
                done = state["round"] - sum(spec.rounds for spec in levels[:level])
                fitting = pacing().refit(self.settings, levels, level, done, state["book"], self.budget)
                state["levels"] = plain_levels(fitting)
        self._noted = (last, state)
        return dict(state)

    _noted: tuple[StageResult, dict[str, Any]] | None = None

    def run_of(self, state: dict[str, Any]) -> Settings:
        """The settings of the run that `state` is part of: the level's ranges are the state's, and with a budget its
        numbers of rounds."""
        settings = self.settings
        if "parts" in state:
            settings = replace(settings, parts=state["parts"])
        if "levels" not in state:
            return settings
        from nerf_plugin.training import Level

        return replace(settings, levels=tuple(Level(*level) for level in state["levels"]))

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

    def start_box(self) -> np.ndarray:
        """(2, 3) box of the field to start from. Raises BadInput."""
        from nerf_plugin.training.levels import start_box

        try:
            return start_box(self.settings, self.start_field)
        except ValueError as error:
            raise BadInput(f"--start {self.start}: {error}") from error

    # -------------------------------------------------------------------------------------------------------- running

    def prepare(self, split: tuple[int, dict[str, Any]], ctx: Context) -> Iterator[tuple[int, Any]]:
        """Map: one photo, decoded once."""
        from nerf_plugin.datasets import View
        from nerf_plugin.training import prepare_view

        index, plain = split
        view = View.from_plain(plain)
        prepared = prepare_view(self.settings, index, view.camera, view.image())
        yield index, prepared | {"size": (view.camera.width, view.camera.height)}

    def lay_grid(self, level: int, ctx: Context) -> Iterator[tuple[int, Any]]:
        """Map: the topology of one level's grid; small, and made once."""
        import numpy as np

        from nerf_plugin.training import finer_grid, initial

        self.leave_rounds(ctx)
        if level == 0 and self.start is not None:
            from nerf_plugin.training.levels import start_grid

            box = self.start_box()
            grid = start_grid(self.settings, box, self.start_field)
        elif level == 0:
            views = dict(ctx.shared["views"])
            if not any(view["mask"].any() for view in views.values()):
                raise BadInput(f"all {len(views)} photos are transparent everywhere: there is nothing to learn")
            box, grid, _ = initial(self.settings, [views[index] for index in sorted(views)], np.asarray(self.bounds()))
        else:
            box, old = self.grid(ctx, "grid", level - 1)
            grid = finer_grid(self.run_of(ctx.state), level, box, old, join_rows(ctx, "rows"))
        yield 0, {"box": box, "grid": grid.to_plain()}

    def fill_rows(self, part: int, ctx: Context) -> Iterator[tuple[int, Any]]:
        """Map: the first values of one range of rows."""
        import numpy as np

        from nerf_plugin.training import first_rows, resample

        self.leave_rounds(ctx)
        box, grid = self.grid(ctx, "grid", -1)
        parts = ctx.state["parts"]
        if part == parts:
            yield part, self.first_outside(box, ctx)
            return
        start, stop, _, _ = grid.ranges(parts)[part]
        if "old grid" not in ctx.shared and self.start is not None:
            yield part, resample(self.start_field.grid, self.start_field.rows, grid, start, stop)
            return
        if "old grid" not in ctx.shared:
            yield part, first_rows(self.settings, np.asarray(self.bounds()), grid, start, stop)
            return
        _, old = self.grid(ctx, "old grid", -2)
        yield part, resample(old, join_rows(ctx, "old rows"), grid, start, stop)

    def first_outside(self, box: np.ndarray, ctx: Context) -> dict[str, np.ndarray]:
        """What a level begins with of what is learned beside the grid."""
        from nerf_plugin.training import outside

        old = outside_of(ctx, "old rows") if "old rows" in ctx.shared else None
        if old is not None:
            return outside.next_level(self.settings, ctx.state["level"], old)
        views = dict(ctx.shared["views"])
        state = outside.first(self.settings, [views[index] for index in sorted(views)], box)
        return state if self.start is None else outside.going_on(state, self.start_field.shells)

    def trace(self, task: int, ctx: Context) -> Iterator[tuple[int, Any]]:
        """Map: the rays of one shard of photos -> gradients of the rows they touch, one packet a range of rows."""
        from nerf_plugin.training import Scratch, map_task, plan

        number, count = self.round_of(ctx)
        settings = self.run_of(ctx.state)
        now = plan(settings, number, count)
        box, grid = self.grid(ctx, "grid", now.level)
        shards: dict[int, Shard] = ctx.cached("shards", dict)
        if task not in shards:
            shards[task] = _shard(ctx.shared["views"], task, count)
        shard = shards[task]
        scratch = ctx.cached("scratch", Scratch)
        rows = ctx.cached("rows", lambda: scratch.join(ranges_of(ctx, "rows")), scope="stage")
        outside = ctx.cached("outside", partial(outside_of, ctx, "rows"), scope="stage")
        packets, figures = map_task(settings, now, task, box, grid, rows, shard, scratch, outside)
        ctx.count("rays", figures["rays"])
        ctx.count("samples", figures["alive"])
        ctx.count("squared error", round(figures["loss"] / LOSS_UNIT))
        ctx.count(TRAFFIC[0], sum(array.nbytes for packet in packets for array in packet.values()))
        ctx.count(TRAFFIC[1], 2 * 13 * 4 * math.prod(grid.resolution))
        yield from enumerate(packets)

    def step(self, part: int, packets: Iterable[Any], ctx: Context) -> Iterator[tuple[int, Any]]:
        """Reduce: one range of rows takes its optimiser step; packets come in map order."""
        from nerf_plugin.training import Scratch, outside, plan, reduce_task

        number, count = self.round_of(ctx)
        settings = self.run_of(ctx.state)
        now = plan(settings, number, count)
        if part == settings.parts:
            state = outside_of(ctx, "rows")
            assert state is not None
            yield part, outside.step(settings, now, state, packets)
            return
        _, grid = self.grid(ctx, "grid", now.level)
        [(_, rows)] = ctx.shared["rows"].partition(part)
        new = reduce_task(settings, now, grid, part, rows, list(packets), ctx.cached("scratch", Scratch))
        ctx.count(TRAFFIC[0], new.nbytes)
        yield part, new

    def round_of(self, ctx: Context) -> tuple[int, int]:
        """(round, number of photos) of the stage at hand."""
        return ctx.state["round"], ctx.state["views"]

    def grid(self, ctx: Context, name: str, level: int) -> tuple[np.ndarray, Grid]:
        """The shared grid `name` with its box; what is derived from it is derived once a level."""
        from nerf_plugin.grid import Grid

        def load() -> tuple[np.ndarray, Grid]:
            [(_, plain)] = ctx.shared[name]
            return plain["box"], Grid.from_plain(plain["grid"])

        if level < 0:
            return ctx.cached(name, load, scope="stage")  # type: ignore[no-any-return]
        grids: dict[int, tuple[np.ndarray, Grid]] = ctx.cached("grids", dict)
        if level not in grids:
            grids.clear()
            grids[level] = load()
        return grids[level]

    def leave_rounds(self, ctx: Context) -> None:
        """Between levels, and after the last: what rounds keep from task to task is given back, once a stage."""

        def leave() -> bool:
            from nerf_plugin.memory import trim
            from nerf_plugin.training import Scratch

            for name in ("grids", "shards"):
                ctx.cached(name, dict).clear()
            ctx.cached("scratch", Scratch).clear()
            return trim()

        ctx.cached("rounds left", leave, scope="stage")

    def field(self, ctx: Context) -> Field:
        """The trained field, from the shared grid and rows."""
        from nerf_plugin.training.local import make_field

        def load() -> Field:
            self.leave_rounds(ctx)
            box, grid = self.grid(ctx, "grid", -1)
            outside = outside_of(ctx, "rows")
            return make_field(self.settings, box, grid, join_rows(ctx, "rows"), outside)

        return ctx.cached("field", load)  # type: ignore[no-any-return]

    def bounds(self) -> Any:
        """(2, 3) world box that holds the subject."""
        raise TypeError("the job type must say where its subject is")


def join_rows(ctx: Context, name: str) -> np.ndarray:
    """(N, 16) float16: all ranges of rows in one array."""
    import numpy as np

    return np.concatenate(ranges_of(ctx, name))


def ranges_of(ctx: Context, name: str) -> list[np.ndarray]:
    """The ranges of rows `name`, (n, 16) float16 each."""
    shared: Outputs = ctx.shared[name]
    return [rows for _, rows in shared if not isinstance(rows, dict)]


def outside_of(ctx: Context, name: str) -> dict[str, np.ndarray] | None:
    """What is learned beside the rows `name`, in their last partition; None: nothing is."""
    shared: Outputs = ctx.shared[name]
    [(_, last)] = shared.partition(shared.partitions - 1)
    return last if isinstance(last, dict) else None


def plain_levels(levels: Iterable[Any]) -> list[list[int]]:
    """Levels as plain data."""
    return [[level.resolution, level.rounds, level.rays] for level in levels]


def pacing() -> ModuleType:
    """The module, imported when a budget asks for it."""
    from nerf_plugin.training import pacing

    return pacing


def _shard(views: Outputs, task: int, count: int) -> Shard:
    return Shard(dict(views.partition(task)), count)
