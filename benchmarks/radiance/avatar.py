"""The avatar against exact truth: `python -m benchmarks.radiance.avatar [--data FOLDER] [--seed N ...]`.

Runs the nerf job with the standard preset on the real engine (2 workers), on generated heads and on each capture of
FOLDER that has a `gt/visible_points.npz`, and measures the files it leaves: the mesh by its distances to the surface
that at least two training cameras saw, the pictures of field and textured mesh by their PSNR on held-out photos.
Heads in `--surroundings` are photographed without masks; field and mesh are then compared on the subject alone.
"From field to files" is the wall time from the first task after training to the end of the job.

Pin it (`taskset -c 2,3`) for times that mean something, and compare only figures of one run.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np

WORKERS = 2
COLUMNS = {
    "chamfer": ("Chamfer, % of the diagonal", "{:.3f}"),
    "fscore": ("F-score at 0.5 %, %", "{:.2f}"),
    "solid": ("watertight, 2-manifold, one piece", "{}"),
    "faces": ("faces", "{:,}"),
    "field_psnr": ("field, dB", "{:.2f}"),
    "mesh_psnr": ("mesh, dB", "{:.2f}"),
    "training": ("training, s", "{:.1f}"),
    "files": ("field to files, s", "{:.1f}"),
}


def measure(capture: Path, out: Path, **options: Any) -> dict[str, Any]:
    """One run of the job on `capture`, and what its files are worth; see COLUMNS. `stages`: seconds of each."""
    from mapreduce import run
    from mapreduce.engines.local import LocalEngine
    from nerf_plugin.job import Nerf

    marks: dict[str, float] = {}

    def look(update: Any) -> None:
        marks.setdefault(update.stage_name or "start", time.perf_counter())

    with LocalEngine(WORKERS) as engine:
        run(Nerf(capture, out, **options), engine=engine, on_update=look)
        marks["end"] = time.perf_counter()
    names = list(marks)
    stages = {name: marks[then] - marks[name] for name, then in pairwise(names) if not name.startswith("round ")}
    return score(capture, out) | {
        "training": marks["depth"] - marks[names[0]],
        "files": marks["end"] - marks["depth"],
        "stages": {name: round(seconds, 2) for name, seconds in stages.items()},
        "load": round(os.getloadavg()[0], 1),
    }


def score(capture: Path, out: Path) -> dict[str, Any]:
    """What the files in `out` are worth, against the truth beside the photos of `capture`."""
    import trimesh

    from nerf_plugin.mesh import Mesh, check
    from nerf_plugin.metrics import compare_mesh

    loaded = trimesh.load(out / "avatar.ply", process=False)
    mesh = Mesh(np.asarray(loaded.vertices, np.float64), np.asarray(loaded.faces, np.int32))
    facts = check(mesh)
    distances = compare_mesh(mesh, np.load(capture / "gt/visible_points.npz")["points"])
    views = json.loads((out / "report.json").read_text())["views"]
    return {
        "chamfer": 100 * distances["chamfer"],
        "fscore": 100 * distances["fscore@0.5%"],
        "solid": "yes" if facts["manifold"] and loaded.is_watertight and facts["components"] == 1 else "NO",
        "faces": len(mesh.faces),
        "field_psnr": float(np.mean([view.get("subject_psnr", view["psnr"]) for view in views])),
        "mesh_psnr": float(np.mean([view["mesh_psnr"] for view in views])),
    }


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Markdown."""
    lines = ["| | " + " | ".join(title for title, _ in COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(form.format(row[key]) for key, (_, form) in COLUMNS.items()) + " |")
    return "\n".join(lines)


@click.command(help=__doc__)
@click.option("--seed", "seeds", multiple=True, type=int, default=(1, 5), show_default=True, help="Generated heads.")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Captures with truth.")
@click.option("--cache", default=Path("~/.cache/daf-bench"), type=click.Path(path_type=Path), help="Generated heads.")
@click.option("--out", type=click.Path(path_type=Path), help="Keep the avatars, and avatar.json with all figures.")
@click.option(
    "--surroundings", default="none", show_default=True, type=click.Choice(["none", "wall", "room"]),
    help="What is around the heads: with anything, the photos have no masks.",
)  # fmt: skip
@click.option("--views", default=100, show_default=True, help="Training photos of a head.")
@click.option("--preset", default="standard", show_default=True)
@click.option("--quick", is_flag=True, help="Tiny heads: shows that everything works, measures nothing.")
def main(
    seeds: tuple[int, ...],
    data: Path | None,
    cache: Path,
    out: Path | None,
    surroundings: str,
    views: int,
    preset: str,
    quick: bool,
) -> None:
    from nerf_plugin.faces import generate

    size, views, tests = (100, 16, 2) if quick else (400, views, 20)
    options = {"effort": 0.1, "resolution": 48, "faces": 4000, "texture": 128, "turntable": 2} if quick else {}
    captures = {}
    for seed in seeds:
        name = f"head-{seed}-{size}-{views}-{tests}" + ("" if surroundings == "none" else f"-{surroundings}")
        path = cache.expanduser() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            generate(path, seed, size=size, views=views, test_views=tests, surroundings=surroundings)
        captures[f"head, seed {seed}" + ("" if surroundings == "none" else f", {surroundings}")] = path
    for truth in sorted(data.glob("*/gt/visible_points.npz")) if data is not None else []:
        captures[truth.parts[-3]] = truth.parents[1]
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        for name, capture in captures.items():
            rows[name] = measure(capture, (out or Path(scratch)) / capture.name, preset=preset, **options)
            click.echo(f"{name}: {json.dumps(rows[name])}", err=True)
    if out is not None:
        (out / "avatar.json").write_text(json.dumps(rows, indent=1) + "\n")
    where = f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}"
    click.echo(f"{time.strftime('%Y-%m-%d')}, {WORKERS} workers, {where}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
