"""What the cases of the radiance field work on: a generated head, so that nothing from outside is needed, or a capture
of the user's (`DAF_BENCH_CAPTURE=folder`); and a field trained on it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

SEED = 7


def capture(params: dict[str, Any], folder: Path) -> str:
    """Photos with poses: `views` of a generated head, `size` pixels a side; returns the folder of the capture. The
    kernels that train on it are compiled then: the first case on a machine would pay for all."""
    from nerf_plugin.datasets import load
    from nerf_plugin.training import PRESETS
    from nerf_plugin.training.local import train

    path = folder / f"face-{params['size']}-{params['views']}"
    if chosen := os.environ.get("DAF_BENCH_CAPTURE"):
        path = Path(chosen).resolve()
    elif not (path / "face.json").exists():
        from nerf_plugin.faces import generate

        generate(path, SEED, size=params["size"], views=params["views"], test_views=min(20, params["views"]))
    train(load(path, "train"), replace(PRESETS[params["preset"]].scaled(0.0), roomy=1 << 62))  # degree 2 in any case
    return str(path)


def trained(params: dict[str, Any], folder: Path) -> dict[str, str]:
    """A capture and the field that a preset makes of it; returns the paths of both. A field is kept under the settings
    that made it, so that one of a preset's earlier settings is not taken for today's."""
    from nerf_plugin.datasets import load
    from nerf_plugin.training import PRESETS
    from nerf_plugin.training.local import train

    path = capture(params, folder)
    # The C++ twin has harmonics of degree 1.
    settings = replace(PRESETS[params["preset"]].scaled(params["effort"]), seed=SEED, degree=1)
    kind = hashlib.sha256(repr((path, settings)).encode()).hexdigest()[:12]
    field = folder / f"{Path(path).name}-{params['preset']}-{kind}.daf"
    if not field.exists():
        temporary = field.with_suffix(".tmp")
        train(load(path, "train"), settings).save(temporary)
        temporary.rename(field)
    return {"capture": path, "field": str(field)}
