"""Training in one process: the same functions in the same order as the job calls them, hence the same bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from nerf_plugin.field import Field
from nerf_plugin.grid import Grid
from nerf_plugin.shells import Shells
from nerf_plugin.training import outside as outer
from nerf_plugin.training.levels import finer_grid, finest, initial, resample
from nerf_plugin.training.schedule import RoundPlan, plan
from nerf_plugin.training.settings import Settings
from nerf_plugin.training.tasks import Rows, Scratch, density, map_task, reduce_task, shift
from nerf_plugin.training.views import prepare_view

Report = Callable[[RoundPlan, Mapping[str, float], Callable[[], Field]], None]


def make_field(settings: Settings, box: np.ndarray, grid: Grid, rows: np.ndarray,
               outside: Mapping[str, np.ndarray] | None = None) -> Field:  # fmt: skip
    """The field that a grid, its rows and a state of `training.outside` describe."""
    shells = Shells.from_plain(outside) if outside is not None and len(outside["values"]) else None
    return Field(grid, rows, density(settings, box), shift(settings), shells)


def train_views(settings: Settings, views: Sequence[Mapping[str, Any]], bounds: np.ndarray,
                report: Report | None = None) -> Field:  # fmt: skip
    """Trains on prepared views. `report` is called after each round with its plan, figures and a maker of the field."""
    box, grid, rows = initial(settings, views, bounds)
    settings = settings.fitted(finest(settings, views, box))
    scratch = Scratch()
    outside = outer.first(settings, views, box) if settings.shells or settings.exposure else None
    for number in range(settings.rounds):
        now = plan(settings, number, len(views))
        if now.index == 0 and number:
            finer = finer_grid(settings, now.level, box, grid, rows)
            grid, rows = finer, resample(grid, rows, finer, degree=settings.degree_at(now.level, finer.rows))
            outside = outside and outer.next_level(settings, now.level, outside)
        outputs, old = [], Rows(rows, grid.first)
        for task in range(settings.tasks):
            packets, figures = map_task(settings, now, task, box, grid, old, views, scratch, outside)
            outputs.append((list(packets), figures))
        rows = np.concatenate([
            reduce_task(settings, now, grid, part, old, [packets[part] for packets, _ in outputs])
            for part in range(settings.parts)
        ])  # fmt: skip
        if outside is not None:
            outside = outer.step(settings, now, outside, [packets[-1] for packets, _ in outputs])
        if report:
            totals = {key: sum(stats[key] for _, stats in outputs) for key in outputs[0][1]}
            report(now, totals, partial(make_field, settings, box, grid, rows, outside))
    return make_field(settings, box, grid, rows, outside)


def train(dataset: Any, settings: Settings, report: Report | None = None) -> Field:
    """Trains on the views of a `nerf_plugin.datasets.Dataset`."""
    views = [prepare_view(settings, i, view.camera, view.image()) for i, view in enumerate(dataset.views)]
    return train_views(settings, views, dataset.bounds, report)
