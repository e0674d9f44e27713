"""Training as stages: prepare the photos, then for each level lay the grid, fill its rows, and take the rounds.

    prepare   map: one photo -> its pyramid            (partition t holds the photos of map task t of every round)
    grid      map: one task -> box and topology of the level's grid
    rows      map: one range of rows -> their first values
    round     map: rays of one shard of photos -> packed gradients; reduce: one range of rows -> its next values

Rows and photos travel by reference: a round costs the bytes of its gradients and of the rows it changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from mapreduce import BadInput, Context, Outputs, Stage, StageResult

if TYPE_CHECKING:
    import numpy as np

    from nerf_plugin.field import Field
    from nerf_plugin.grid import Grid
    from nerf_plugin.training import Settings

LOSS_UNIT = 1e-6
"""Counters are integers: squared error is counted in millionths."""
CURVE_POINTS = 200


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

    def train_views(self) -> list[dict[str, Any]]:
        """The training photos as plain data, in a fixed order."""
        raise TypeError("the job type must say where its photos are")

    # ------------------------------------------------------------------------------------------------------- planning

    def plan_prepare(self) -> Stage:
        """The first stage."""
        state = {"phase": "prepare", "views": 0, "round": 0, "level": 0, "seen": {}, "curve": []}
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
        name = f"grid {self.settings.levels[state['level']].resolution}"
        return Stage([state["level"]], name, map=self.lay_grid, reduces=1, shared=shared, state=state)

    def plan_rows(self, last: StageResult) -> Stage:
        """Fill the new grid's rows, from the old ones where there are any."""
        shared = {"views": last.shared["views"], "grid": last.outputs}
        for name in ("grid", "rows"):
            if name in last.shared:
                shared[f"old {name}"] = last.shared[name]
        parts = self.settings.parts
        state = last.state | {"phase": "rows"}
        return Stage(range(parts), "rows", map=self.fill_rows, reduces=parts, shared=shared, state=state)

    def plan_round(self, last: StageResult) -> Stage:
        """One optimiser step."""
        shared = {"views": last.shared["views"], "grid": last.shared["grid"], "rows": last.outputs}
        state = self.note_round(last) | {"phase": "round"}
        number = state["round"]
        return Stage(
            range(self.settings.tasks),
            f"round {number + 1} of {self.settings.rounds}",
            map=self.trace,
            reduce=self.step,
            reduces=self.settings.parts,
            shared=shared,
            state=state,
        )

    def note_round(self, last: StageResult) -> dict[str, Any]:
        """The state after `last`: the next round's number, and a point on the training curve."""
        state = dict(last.state)
        if state["phase"] == "round":
            state["round"] += 1
            totals = {name: last.counters.get(name, 0) for name in ("rays", "squared error")}
            fresh = {name: value - state["seen"].get(name, 0) for name, value in totals.items()}
            error = fresh["squared error"] * LOSS_UNIT / max(1, 3 * fresh["rays"])
            state["seen"] = totals
            state["curve"] = [*state["curve"], [totals["rays"], error]][-CURVE_POINTS:]
        return state

    def trained(self, rounds: int) -> float:
        """Which part of the training's rays the first `rounds` rounds trace."""
        done = 0
        for level in self.settings.levels:
            done += min(rounds, level.rounds) * level.rays
            rounds = max(0, rounds - level.rounds)
        return done / self.settings.rays

    def training_over(self, last: StageResult) -> str:
        """What follows a committed round: "round", "grid" (the next level) or "done"."""
        finished = last.state["round"] + 1
        if finished >= self.settings.rounds:
            return "done"
        from nerf_plugin.training import plan

        return "grid" if plan(self.settings, last.state["round"], last.state["views"]).last else "round"

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

        if level == 0:
            views = dict(ctx.shared["views"])
            if not any(view["mask"].any() for view in views.values()):
                raise BadInput(f"all {len(views)} photos are transparent everywhere: there is nothing to learn")
            box, grid, _ = initial(self.settings, [views[index] for index in sorted(views)], np.asarray(self.bounds()))
        else:
            box, old = self.grid(ctx, "grid", level - 1)
            grid = finer_grid(self.settings, level, box, old, join_rows(ctx, "rows"))
        yield 0, {"box": box, "grid": grid.to_plain()}

    def fill_rows(self, part: int, ctx: Context) -> Iterator[tuple[int, Any]]:
        """Map: the first values of one range of rows."""
        import numpy as np

        from nerf_plugin.training import resample

        _, grid = self.grid(ctx, "grid", -1)
        start, stop, row, end = grid.ranges(self.settings.parts)[part]
        if "old grid" not in ctx.shared:
            yield part, np.zeros((end - row, 16), np.float32)
            return
        _, old = self.grid(ctx, "old grid", -2)
        yield part, resample(old, join_rows(ctx, "old rows"), grid, start, stop)

    def trace(self, task: int, ctx: Context) -> Iterator[tuple[int, Any]]:
        """Map: the rays of one shard of photos -> gradients of the rows they touch, one packet a range of rows."""
        from nerf_plugin.training import Scratch, map_task, plan

        number, count = self.round_of(ctx)
        now = plan(self.settings, number, count)
        box, grid = self.grid(ctx, "grid", now.level)
        shard = ctx.cached(f"shard {task}", partial(_shard, ctx.shared["views"], task, count))
        rows = ctx.cached("rows", partial(join_rows, ctx, "rows"), scope="stage")
        scratch = ctx.cached("scratch", Scratch)
        packets, figures = map_task(self.settings, now, task, box, grid, rows, shard, scratch)
        ctx.count("rays", figures["rays"])
        ctx.count("samples", figures["alive"])
        ctx.count("squared error", round(figures["loss"] / LOSS_UNIT))
        yield from enumerate(packets)

    def step(self, part: int, packets: Iterable[Any], ctx: Context) -> Iterator[tuple[int, Any]]:
        """Reduce: one range of rows takes its optimiser step; packets come in map order."""
        from nerf_plugin.training import plan, reduce_task

        number, count = self.round_of(ctx)
        now = plan(self.settings, number, count)
        _, grid = self.grid(ctx, "grid", now.level)
        [(_, rows)] = ctx.shared["rows"].partition(part)
        _, _, row, _ = grid.ranges(self.settings.parts)[part]
        yield part, reduce_task(self.settings, now, row, rows, list(packets))

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
        return ctx.cached(f"grid {level}", load)  # type: ignore[no-any-return]

    def field(self, ctx: Context) -> Field:
        """The trained field, from the shared grid and rows."""
        from nerf_plugin.training.local import make_field

        def load() -> Field:
            box, grid = self.grid(ctx, "grid", -1)
            return make_field(self.settings, box, grid, join_rows(ctx, "rows"))

        return ctx.cached("field", load)  # type: ignore[no-any-return]

    def bounds(self) -> Any:
        """(2, 3) world box that holds the subject."""
        raise TypeError("the job type must say where its subject is")


def join_rows(ctx: Context, name: str) -> np.ndarray:
    """(N, 16) float32: all ranges of rows in one array."""
    import numpy as np

    shared: Outputs = ctx.shared[name]
    return np.concatenate([rows for _, rows in shared])


def _shard(views: Outputs, task: int, count: int) -> Shard:
    return Shard(dict(views.partition(task)), count)
