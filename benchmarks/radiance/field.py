"""The case `field`: PSNR over time of the same photos, by the real engine and by torch.

Our curve comes from the job itself: the plan of a round saves the rows that it is given (see `training.py`), and after
the run each saved moment is rendered. Time counts from the submission of the job, so decoding of photos is in it; the
engine and its workers are up. Torch is given decoded photos, and its time counts from the first grid.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ..peers import common

GOALS = (25, 28, 30)
PHOTOS = 6
"""Held-out photos that PSNR is the mean of: evenly picked."""


class Peak(common.Peak):
    """Looks every two seconds only: reading the memory of processes that have much of it costs them time."""

    def _watch(self) -> None:
        while not self._over.wait(2.0):
            self.mebibytes = max(self.mebibytes, common.tree_memory())


def held_out(capture: str) -> list[Any]:
    """The photos that both are judged by."""
    from nerf_plugin.datasets import load

    views = load(capture, "test").views
    return [views[index * len(views) // PHOTOS] for index in range(PHOTOS)] if len(views) > PHOTOS else list(views)


def figures(curve: list[tuple[float, float]], rays: float, seconds: float, peak: float) -> dict[str, float]:
    """What the case reports of [(seconds, PSNR)]; a goal that was not reached has no figure."""
    found = {"psnr": curve[-1][1], "rays": rays / seconds / 1e3, "peak": peak, "seconds": seconds}
    for goal in GOALS:
        reached = next((at for at, value in curve if value >= goal), None)
        if reached is not None:
            found[f"to_{goal}"] = reached
    return found


def ours(engine: Any, capture: str, preset: str, effort: float, folder: Path) -> tuple[float, int]:
    """Train through an open engine, leaving rows of many moments in `folder`: (time of submission, rays traced)."""
    from .training import Training

    folder.mkdir()
    begin = time.time()
    result = engine.run(Training(Path(capture), folder, preset, effort, every=0.5))
    return begin, result.counters["rays"]


def saved(folder: Path, capture: str, preset: str, begin: float) -> list[tuple[float, float]]:
    """[(seconds since `begin`, PSNR)] of the moments that a run saved."""
    import numpy as np

    from nerf_plugin.grid import Grid
    from nerf_plugin.training import PRESETS
    from nerf_plugin.training.local import make_field

    views, curve = held_out(capture), []
    for moment in sorted(path for path in folder.iterdir() if path.is_dir()):
        with np.load(moment / "grid.npz") as file:
            plain = {name: file[name] for name in file.files}
        plain |= {"voxel": float(plain["voxel"]), "bricks": plain["bricks"].tolist()}
        rows = np.concatenate([np.load(path) for path in sorted(moment.glob("rows-*.npy"))])
        field = make_field(PRESETS[preset], plain.pop("box"), Grid.from_plain(plain), rows)
        curve.append((float(moment.name) - begin, psnr(field, views)))
    return curve


def psnr(field: Any, views: list[Any]) -> float:
    """Mean over the photos, white background."""
    import numpy as np

    found = []
    for view in views:
        photo = view.image().astype(np.float32) / 255
        photo = photo[..., :3] * photo[..., 3:] + 1 - photo[..., 3:]
        error = np.clip(field.render(view.camera, (1.0, 1.0, 1.0)).rgb, 0, 1) - photo
        found.append(-10 * np.log10(max(1e-10, float((error**2).mean()))))
    return float(np.mean(found))


def theirs(capture: str, seconds: float, threads: int) -> tuple[list[tuple[float, float]], int]:
    """Train with torch: ([(seconds, PSNR)], rays traced)."""
    import torch

    from nerf_plugin.datasets import load

    from . import torch_grid

    torch.set_num_threads(threads)
    data = load(capture, "train")
    photos, judges = torch_grid.Photos.of(data.views), torch_grid.Photos.of(held_out(capture))
    curve, rays = [], 0
    for at, grid, done in torch_grid.train(photos, data.bounds, seconds):
        if not curve or at - curve[-1][0] > seconds / 20 or at >= seconds:
            curve.append((at, torch_grid.psnr(grid, judges)))
        rays = done["rays"]
    return curve, rays
