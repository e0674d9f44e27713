"""What a setting of training is worth: trains in this process, on one core, and prints held-out PSNR and what it cost.

    python -m benchmarks.radiance.ablate CAPTURE --preset standard
    python -m benchmarks.radiance.ablate CAPTURE --preset draft --effort 0.5 --set rate_sh=0.4 --set sh_start=0.1
    python -m benchmarks.radiance.ablate CAPTURE --level 64,60,16384 --level 256,480,131072

The same functions run in the same order as in the job, hence the same field. `--set` takes any number of
`nerf_plugin.training.Settings`; `--level` (resolution, rounds, rays of a round, and of a steady one, if rates grow
with them) replaces the preset's levels. PSNR is the mean over at most `--photos` held-out photos, spread evenly, before
white, or before what was learned to lie outside where the photos have no masks. CPU seconds are of the rounds and the
steps between levels, without the photos.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from nerf_plugin.datasets import load
from nerf_plugin.metrics import psnr
from nerf_plugin.training import PRESETS, Level, Settings, prepare_view
from nerf_plugin.training.local import train_views


def settings_of(preset: str, effort: float, levels: Sequence[str], changes: Sequence[str], masks: bool) -> Settings:
    """The settings of a run. Raises ValueError where a change names nothing or has no number."""
    settings = PRESETS[preset]
    if levels:
        settings = replace(settings, levels=tuple(Level(*map(int, x.split(","))) for x in levels), unmasked=())
    settings = settings.scaled(effort)
    if not masks:
        settings = replace(settings.without_masks(), exposure=True)
    kinds = {field.name: type(getattr(settings, field.name)) for field in fields(settings)}
    for change in changes:
        name, _, value = change.partition("=")
        if kinds.get(name) not in (int, float, bool):
            raise ValueError(f"{name!r} is no number of the settings")
        settings = replace(settings, **{name: kinds[name](float(value))})
    return settings


def measure(capture: str, settings: Settings, photos: int = 10, scale: float = 1.0) -> dict[str, float]:
    """Trains on a capture and looks at it: {dB, CPU seconds, rays, rows}."""
    train, test = (load(capture, split) for split in ("train", "test"))
    if scale != 1:
        train, test = train.scaled(scale), test.scaled(scale)
    views = [prepare_view(settings, n, view.camera, view.image()) for n, view in enumerate(train.views)]
    rays = 0

    def count(_plan: Any, figures: Any, _field: Any) -> None:
        nonlocal rays
        rays += figures["rays"]

    begin = time.process_time()
    field = train_views(settings, views, np.asarray(train.bounds), count)
    spent = time.process_time() - begin
    ratios = []
    for view in test.views[:: max(1, len(test.views) // photos)]:
        photo = view.image() / 255.0
        shown = photo[..., :3] * photo[..., 3:] + 1 - photo[..., 3:]
        background = (1.0, 1.0, 1.0) if train.has_alpha else None
        ratios.append(psnr(field.render(view.camera, background).rgb, shown))
    return {"dB": float(np.mean(ratios)), "CPU seconds": spent, "rays": rays, "rows": field.grid.rows}


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("capture")
    options.add_argument("--preset", choices=sorted(PRESETS), default="standard")
    options.add_argument("--effort", type=float, default=1.0)
    options.add_argument("--level", action="append", default=[], help="resolution,rounds,rays[,steady]")
    options.add_argument("--set", action="append", default=[], help="name=number")
    options.add_argument("--photos", type=int, default=10)
    options.add_argument("--scale", type=float, default=1.0, help="of the photos' sides")
    given = options.parse_args()
    masks = load(given.capture, "train").has_alpha
    try:
        settings = settings_of(given.preset, given.effort, given.level, given.set, masks)
    except ValueError as error:
        options.error(str(error))
    found = measure(given.capture, settings, given.photos, given.scale)
    print(
        f"{found['dB']:.2f} dB, {found['CPU seconds']:.0f} CPU s, {found['rays'] / 1e6:.1f} million rays, "
        f"{found['rows'] / 1e6:.2f} million voxels"
    )


if __name__ == "__main__":
    main()
