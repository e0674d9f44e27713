"""Commands of the plugin: `daf faces` and `daf nerf ...`. Heavy imports wait until a command runs."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--count", default=1, show_default=True, type=click.IntRange(1, 10_000), help="How many faces.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the first; the next has one more."
)
@click.option("--size", default=400, show_default=True, type=click.IntRange(16, 2048), help="Pixels a side.")
@click.option("--views", default=100, show_default=True, type=click.IntRange(1, 10_000), help="Training views.")
@click.option("--test-views", default=20, show_default=True, type=click.IntRange(1, 10_000), help="Held-out views.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1, 256), help="Faces made at the same time.")
def faces(out: Path, count: int, seed: int, size: int, views: int, test_views: int, jobs: int) -> None:
    """Generate heads and photograph them: OUT/face_000, OUT/face_001, ...

    Each is a capture in the NeRF 'Blender' convention with its exact surface in gt/, made from its seed alone: the same
    seed and options give the same files, byte for byte.
    """
    from concurrent.futures import ThreadPoolExecutor

    from nerf_plugin.console import Progress
    from nerf_plugin.faces.capture import BUILDING, generate

    out.mkdir(parents=True, exist_ok=True)
    with Progress("faces", count * (BUILDING + views + test_views)) as progress, ThreadPoolExecutor(jobs) as pool:
        pending = {
            index: pool.submit(
                generate,
                out / f"face_{index:03d}",
                seed + index,
                size=size,
                views=views,
                test_views=test_views,
                progress=progress.advance,
            )
            for index in range(count)
        }
        try:
            for index, job in pending.items():
                progress.say(f"{job.result()} (seed {seed + index})")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@click.group()
def nerf() -> None:
    """Photos, captures and radiance fields."""


@nerf.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--sheet", type=click.Path(dir_okay=False, path_type=Path), help="Where the contact sheet goes (PNG).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def check(dataset: Path, sheet: Path | None, as_json: bool) -> None:
    """Say in plain words what is wrong with a capture; exit code 1 when it cannot be used.

    Looks at files, poses, sharpness, exposure and the coverage of directions, and draws a contact sheet
    (DATASET-check.png in the current folder unless --sheet is given).
    """
    import json

    from nerf_plugin.datasets.check import check_capture

    sheet = sheet or Path(f"{os.path.basename(os.path.abspath(dataset))}-check.png")
    report = check_capture(dataset, sheet)
    click.echo(json.dumps(report.to_plain(), indent=1) if as_json else report.text())
    if not report.usable:
        raise SystemExit(1)


@nerf.command()
@click.argument("photos", type=click.Path(file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Where it goes [default: PHOTOS-posed].")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="For COLMAP's random choices.")
def poses(photos: Path, out: Path | None, seed: int) -> None:
    """Estimate the camera poses of raw PHOTOS with COLMAP (needs the extra `poses`), as a capture to train on."""
    from nerf_plugin.datasets.poses import estimate_poses

    out = out or photos.with_name(f"{photos.resolve().name}-posed")
    placed, total = estimate_poses(photos, out, seed, lambda line: click.echo(line, err=True))
    click.echo(f"{placed} of {total} photos placed: {out}")
    click.echo(f"Look at it with `daf nerf check {out}`, then train with `daf run nerf {out} --out avatar`.")
