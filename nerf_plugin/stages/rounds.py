"""What the tasks of training do: the map and reduce methods of the stages that `stages.training` plans.

What a task needs of its stage is in `ctx.state` and `ctx.shared`; what it keeps for the next task of its process (grid,
photos of its shard, buffers) saves time and never carries a result.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from mapreduce import BadInput, Context, Outputs

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from nerf_plugin.field import Field
    from nerf_plugin.grid import Grid
    from nerf_plugin.training import Rows, Settings

LOSS_UNIT = 1e-6
"""Counters are integers: squared error is counted in millionths."""
TRAFFIC = ("_bytes of rounds", "_bytes of dense rounds")
"""What map tasks sent and reduce tasks wrote; and what it would have been, had each map task sent and received a
float32 for every value (13, with harmonics of degree 2: 28) of every voxel of the box."""


class Shard(Sequence[dict[str, Any]]):
    """The prepared photos of one map task, at their place among all photos."""

    def __init__(self, views: dict[int, dict[str, Any]], count: int):
        self._views, self._count = views, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return self._views[index]


class TrainingTasks:
    """Map and reduce of training."""

    if TYPE_CHECKING:
        settings: Settings
        start: Path | None
        start_field: Field

    start = None

    def bounds(self) -> Any:
        """(2, 3) world box that holds the subject."""
        raise TypeError("the job type must say where its subject is")

    def run_of(self, state: dict[str, Any]) -> Settings:
        """The settings of the run that `state` is part of: the finest grid and the level's ranges are the state's, and
        with a budget its numbers of rounds."""
        settings = self.fitted_settings(state)
        if "parts" in state:
            settings = replace(settings, parts=state["parts"])
        if "levels" not in state:
            return settings
        from nerf_plugin.training import Level

        return replace(settings, levels=tuple(Level(*level) for level in state["levels"]))

    def fitted_settings(self, state: dict[str, Any]) -> Settings:
        """The preset's settings, with the finest grid that these photos are worth once that is known."""
        return self.settings.fitted(state["cells"]) if "cells" in state else self.settings

    def start_box(self) -> np.ndarray:
        """(2, 3) box of the field to start from. Raises BadInput."""
        from nerf_plugin.training.levels import start_box

        try:
            return start_box(self.settings, self.start_field)
        except ValueError as error:
            raise BadInput(f"--start {self.start}: {error}") from error

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

        from nerf_plugin.training import finer_grid, finest, initial

        self.leave_rounds(ctx)
        cells = {}
        if level == 0:
            found = dict(ctx.shared["views"])
            views = [found[index] for index in sorted(found)]
        if level == 0 and self.start is not None:
            from nerf_plugin.training.levels import start_grid

            box = self.start_box()
            cells = {"cells": finest(self.settings, views, box)}
            grid = start_grid(self.settings.fitted(**cells), box, self.start_field)
        elif level == 0:
            if not any(view["mask"].any() for view in views):
                raise BadInput(f"all {len(views)} photos are transparent everywhere: there is nothing to learn")
            box, grid, _ = initial(self.settings, views, np.asarray(self.bounds()))
            cells = {"cells": finest(self.settings, views, box)}
        else:
            box, old = self.grid(ctx, "grid", level - 1)
            grid = finer_grid(self.run_of(ctx.state), level, box, old, join_rows(ctx, "rows"))
        yield 0, {"box": box, "grid": grid.to_plain(), **cells}

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
        degree = self.run_of(ctx.state).degree_at(ctx.state["level"], grid.rows)
        yield part, resample(old, join_rows(ctx, "old rows"), grid, start, stop, degree)

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
        from nerf_plugin.harmonics import degree_of, lanes
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
        rows = self.rows(ctx, grid)
        outside = None
        if settings.shells or settings.exposure:
            outside = ctx.cached("outside", partial(outside_of, ctx, "rows"), scope="stage")
        memory = (ctx.empty, ctx.final)
        packets, figures = map_task(settings, now, task, box, grid, rows, shard, scratch, outside, *memory)
        values = len(lanes(degree_of(rows.values)))
        ctx.count("rays", figures["rays"])
        ctx.count("samples", figures["alive"])
        ctx.count("_squared error", round(figures["loss"] / LOSS_UNIT))
        ctx.count(TRAFFIC[1], 2 * values * 4 * math.prod(grid.resolution))
        for part, packet in enumerate(packets):
            arrays = packet.values() if isinstance(packet, dict) else (packet,)
            ctx.count(TRAFFIC[0], sum(array.nbytes for array in arrays))
            yield part, packet

    def step(self, part: int, packets: Iterable[Any], ctx: Context) -> Iterator[tuple[int, Any]]:
        """Reduce: one range of rows takes its optimiser step; packets come in map order. It needs a part of the rows
        again, so all that rays have touched is let go first: a process then holds the rows or its outputs, not both."""
        from nerf_plugin.memory import let_go_of
        from nerf_plugin.training import outside, plan, reduce_task

        number, count = self.round_of(ctx)
        settings = self.run_of(ctx.state)
        now = plan(settings, number, count)
        if part == settings.parts:
            state = outside_of(ctx, "rows")
            assert state is not None
            yield part, outside.step(settings, now, state, packets)
            return
        _, grid = self.grid(ctx, "grid", now.level)
        rows = self.rows(ctx, grid)
        ctx.cached("rows were read by rays", partial(let_go_of, rows.values), scope="stage")
        new = reduce_task(settings, now, grid, part, rows, list(packets), ctx.empty, ctx.final)
        ctx.count(TRAFFIC[0], new.nbytes)
        yield part, new

    def rows(self, ctx: Context, grid: Grid) -> Rows:
        """All rows that a round begins with, as they lie in memory: put side by side once a round by each process that
        has tasks of it."""
        from nerf_plugin.training import Rows

        def load() -> Rows:
            shared: Outputs = ctx.shared["rows"]
            return Rows.apart(grid, *shared.side_by_side(ctx.state["parts"]))

        return ctx.cached("rows", load, scope="stage")  # type: ignore[no-any-return]

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
            from nerf_plugin.memory import trim

            grids.clear()
            trim()  # the holes that the step to this level left
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


def join_rows(ctx: Context, name: str) -> np.ndarray:
    """(N, L) float16: all ranges of rows in one array."""
    import numpy as np

    return np.concatenate(list(ranges_of(ctx, name)))


def ranges_of(ctx: Context, name: str) -> Iterator[np.ndarray]:
    """The ranges of rows `name`, (n, L) float16 each."""
    shared: Outputs = ctx.shared[name]
    for number in range(shared.partitions):
        for _, rows in shared.partition(number):
            if not isinstance(rows, dict):
                yield rows
                del rows


def outside_of(ctx: Context, name: str) -> dict[str, np.ndarray] | None:
    """What is learned beside the rows `name`, in their last partition; None: nothing is."""
    shared: Outputs = ctx.shared[name]
    [(_, last)] = shared.partition(shared.partitions - 1)
    return last if isinstance(last, dict) else None


def _shard(views: Outputs, task: int, count: int) -> Shard:
    """The photos of a map task. Their bytes were checked, all of them; a level reads those of one rung."""
    from nerf_plugin.memory import let_go_of

    photos = dict(views.partition(task))
    let_go_of(photos)
    return Shard(photos, count)
