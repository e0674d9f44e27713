"""PSNR over time of one capture, by the real engine and by torch, as a table and a drawing:

    python -m benchmarks.radiance.race CAPTURE --seconds 300 --svg docs/race.svg

Both have two cores and are judged by the same held-out photos (see `field`). Where torch is installed elsewhere, run
each side with its own Python (`--only daf`, `--only torch`) and the same `--keep FILE`, which collects the curves; the
last run draws all of them.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path

from . import field

Curve = list[tuple[float, float]]
WIDTH, HEIGHT, MARGIN = 640, 360, 48
COLORS = ("#1b6ca8", "#c2571a", "#4a7c2c", "#7a3b8f")


def ours(capture: str, preset: str) -> Curve:
    """Two workers, from the job's submission on; run it twice where the kernels have never been compiled."""
    from mapreduce.engines.local import LocalEngine

    with tempfile.TemporaryDirectory() as scratch, LocalEngine(2) as engine:
        begin, _ = field.ours(engine, capture, preset, 1.0, Path(scratch) / "diary")
        return field.saved(Path(scratch) / "diary", capture, preset, begin)


def reached(curve: Curve, goal: float) -> float | None:
    """Seconds to a PSNR from which the curve does not fall below it again, or None."""
    late = [at for at, value in curve if value < goal]
    return next((at for at, value in curve if value >= goal and (not late or at > late[-1])), None)


def table(curves: dict[str, Curve]) -> str:
    """Markdown: seconds to each whole number of dB that one of them reaches."""
    best = max(value for curve in curves.values() for _, value in curve)
    lines = ["| dB | " + " | ".join(curves) + " |", "|---" * (len(curves) + 1) + "|"]
    for goal in range(24, math.floor(best) + 1):
        seconds = (reached(curve, goal) for curve in curves.values())
        lines.append(f"| {goal} | " + " | ".join("–" if s is None else f"{s:.1f} s" for s in seconds) + " |")
    return "\n".join(lines)


def svg(curves: dict[str, Curve], title: str) -> str:
    """The curves over a logarithmic axis of seconds."""
    points = [point for curve in curves.values() for point in curve]
    left, right = math.log(min(at for at, _ in points)), math.log(max(at for at, _ in points))
    bottom, top = math.floor(min(value for _, value in points)), math.ceil(max(value for _, value in points))

    def x(at: float) -> float:
        return MARGIN + (math.log(at) - left) / max(1e-9, right - left) * (WIDTH - 2 * MARGIN)

    def y(value: float) -> float:
        return HEIGHT - MARGIN - (value - bottom) / max(1e-9, top - bottom) * (HEIGHT - 2 * MARGIN)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
        f'<text x="{WIDTH / 2}" y="20" text-anchor="middle">{title}</text>'
    ]
    for value in range(bottom, top + 1, 1 if top - bottom < 8 else 2):
        parts.append(f'<path d="M{MARGIN} {y(value):.1f}H{WIDTH - MARGIN}" stroke="#ddd"/>')
        parts.append(f'<text x="{MARGIN - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value} dB</text>')
    for at in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000):
        if left <= math.log(at) <= right:
            parts.append(f'<path d="M{x(at):.1f} {MARGIN}V{HEIGHT - MARGIN}" stroke="#eee"/>')
            parts.append(f'<text x="{x(at):.1f}" y="{HEIGHT - MARGIN + 18}" text-anchor="middle">{at} s</text>')
    for number, ((name, curve), color) in enumerate(zip(curves.items(), COLORS)):
        line = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in curve)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts.append(f'<text x="{WIDTH - MARGIN}" y="{HEIGHT - MARGIN - 12 - 16 * number}" text-anchor="end" '
                     f'fill="{color}">{name}</text>')  # fmt: skip
    return "\n".join([*parts, "</svg>\n"])


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("capture")
    options.add_argument("--seconds", type=float, default=300.0, help="of torch")
    options.add_argument("--preset", default="standard")
    options.add_argument("--only", choices=("daf", "torch"))
    options.add_argument("--keep", type=Path, help="JSON file that collects the curves")
    options.add_argument("--svg", type=Path)
    given = options.parse_args()
    curves: dict[str, Curve] = json.loads(given.keep.read_text()) if given.keep and given.keep.exists() else {}
    if given.only != "torch":
        curves[f"daf, {given.preset}"] = ours(given.capture, given.preset)
    if given.only != "daf":
        curves["torch grid"] = field.theirs(given.capture, given.seconds, 2)[0]
    if given.keep:
        given.keep.write_text(json.dumps(curves))
    if given.svg:
        given.svg.write_text(svg(curves, f"Held-out PSNR on {Path(given.capture).resolve().name}, two cores"))
    print(table(curves))


if __name__ == "__main__":
    main()
