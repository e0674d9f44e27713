"""Training a radiance field in rounds of map and reduce: pure functions of plain data, no engine in sight.

settings   what a run does: levels, rates, presets
schedule   what a round does: views, chunks of rays, rates
views      photo -> pyramid, mask, candidate pixels
levels     visual hull -> first grid; grid -> finer grid
tasks      map: rays -> packed gradients; reduce: packets in map order -> optimiser step
local      all of it in one process, for tests and measurements
"""

from nerf_plugin.training.levels import finer_grid, finest, first_rows, initial, resample
from nerf_plugin.training.schedule import RoundPlan, plan
from nerf_plugin.training.settings import PRESETS, Level, Settings
from nerf_plugin.training.tasks import Rows, Scratch, map_task, reduce_task
from nerf_plugin.training.views import prepare_view

__all__ = [
    "PRESETS",
    "Level",
    "RoundPlan",
    "Rows",
    "Scratch",
    "Settings",
    "finer_grid",
    "finest",
    "first_rows",
    "initial",
    "map_task",
    "plan",
    "prepare_view",
    "reduce_task",
    "resample",
]
