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
@click.option(
    "--surroundings",
    default="none",
    show_default=True,
    type=click.Choice(["none", "wall", "room"]),
    help="What is around the heads: nothing (the photos have alpha), a plain wall, or a room.",
)
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1, 256), help="Faces made at the same time.")
def faces(
    out: Path, count: int, seed: int, size: int, views: int, test_views: int, surroundings: str, jobs: int
) -> None:
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
                surroundings=surroundings,
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


@nerf.command()
@click.argument("capture", type=click.Path(path_type=Path))
@click.option("--sheet", type=click.Path(dir_okay=False, path_type=Path), help="Where the contact sheet goes (PNG).")
@click.option("--anyway", is_flag=True, help="Write masks even where they are doubtful.")
def masks(capture: Path, sheet: Path | None, anyway: bool) -> None:
    """Tell the subject from its surroundings in a CAPTURE without masks, and keep that as mask files in it.

    A pixel is the subject's where its colour and the shape that all photos agree on say so. The subject must be whole
    in most photos. Draws a contact sheet of what was cut out (CAPTURE-masks.png in the current folder unless --sheet is
    given). Doubtful masks are not written: it says why, and ends with exit code 1.
    """
    from nerf_plugin.datasets import load, silhouettes

    found = load(capture, "all")
    silhouettes.check_unmasked(found)
    foreground = silhouettes.find_masks(found, lambda line: click.echo(line, err=True))
    if foreground.cover:
        sheet = sheet or Path(f"{os.path.basename(os.path.abspath(capture))}-masks.png")
        click.echo(f"Contact sheet: {silhouettes.draw_sheet(found, foreground, sheet)}")
    if foreground.problem is not None and not (anyway and foreground.cover):
        click.echo(f"No masks were written: {foreground.problem}.")
        raise SystemExit(1)
    place = silhouettes.write_masks(found, foreground, lambda line: click.echo(line, err=True))
    click.echo(f"{len(found.views)} masks ({foreground.agreement:.0%} agreement): {place}")


@nerf.command()
@click.argument("field", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--out", default="frames", show_default=True, type=click.Path(path_type=Path),
              help="A folder for PNG files, or a .webp, .gif or .mp4 file (mp4 needs the program ffmpeg).")  # fmt: skip
@click.option("--cameras", type=click.Path(exists=True, path_type=Path),
              help="A nerfstudio camera path, a transforms.json, or the folder of a capture.")  # fmt: skip
@click.option("--frame-of", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="nerfstudio's dataparser_transforms.json, where the cameras are in its frame.")  # fmt: skip
@click.option("--orbit", type=click.IntRange(1, 10_000), help="So many frames in a circle around the field.")
@click.option("--up", default="z", show_default=True, type=click.Choice(["x", "y", "z"]), help="The orbit's axis.")
@click.option("--elevation", default=15.0, show_default=True, type=click.FloatRange(-89, 89), help="In degrees.")
@click.option("--distance", default=1.6, show_default=True, type=click.FloatRange(0.01, 100),
              help="Of the orbit, in diagonals of the field's box.")  # fmt: skip
@click.option("--fov", default=45.0, show_default=True, type=click.FloatRange(1, 170),
              help="Vertical field of view of the orbit, in degrees.")  # fmt: skip
@click.option("--size", help="WIDTHxHEIGHT of every picture [default: what the cameras say; of an orbit 800x800].")
@click.option("--background", default="own", show_default=True,
              help="own (the field's surroundings, else white), clear (alpha), white, black, or R,G,B.")  # fmt: skip
@click.option("--samples", default=1, show_default=True, type=click.IntRange(1, 8), help="Rays a side of each pixel.")
@click.option("--fps", type=click.FloatRange(0.01, 1000), help="Of an animation [default: what the path says, or 24].")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 256), help="Worker processes.")
def render(
    field: Path, out: Path, cameras: Path | None, frame_of: Path | None, orbit: int | None, up: str,
    elevation: float, distance: float, fov: float, size: str | None, background: str, samples: int,
    fps: float | None, workers: int,
) -> None:  # fmt: skip
    """Render a trained FIELD (field.daf) along a camera path, or around it.

    One of --cameras and --orbit says where from. Lens distortion is not rendered.
    """
    import re

    from mapreduce import BadInput, run
    from nerf_plugin import paths
    from nerf_plugin.frames import Frames

    wanted = None
    if size is not None:
        found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size)
        if found is None or not all(1 <= int(side) <= paths.MOST_SIDE for side in found.groups()):
            raise BadInput(f"--size {size!r}: write WIDTHxHEIGHT, for example 800x600")
        wanted = (int(found[1]), int(found[2]))
    if (cameras is None) == (orbit is None):
        raise BadInput("say where from: either --cameras FILE or --orbit FRAMES")
    job = Frames(field, [], out, background, samples)
    if cameras is not None:
        path = paths.read_path(cameras, wanted, frame_of)
    else:
        assert orbit is not None
        bounds, shape = job.loaded.bounds, wanted or (800, 800)
        path = paths.orbit(bounds, orbit, shape, up=up, elevation=elevation, distance=distance, fov=fov)
    plain = [camera.to_plain() for camera in path.cameras]
    result = run(Frames(field, plain, out, background, samples, fps or path.fps), engine="local", workers=workers)
    click.echo(f"{result.value} frames: {out}")
