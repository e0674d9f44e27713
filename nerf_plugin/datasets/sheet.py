"""The contact sheet of a capture: every view small, framed by how it fared, and a map of where the cameras stood."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from nerf_plugin.datasets import images, judge
from nerf_plugin.export.atomic import write_bytes

CELL, EDGE, COLUMNS, LABEL, MAP = 150, 4, 10, 16, 190
_FRAME = {"": (70, 150, 90), "note": (70, 150, 90), "warning": (230, 150, 30), "problem": (205, 50, 45)}


def draw(path: Path, looks: list[judge.Look], marks: dict[str, tuple[str, str]]) -> Path:
    """Writes a PNG to `path`. `marks`: for a view's name, the level of its worst finding and one word of why."""
    columns = min(COLUMNS, max(4, len(looks)))
    rows = -(-len(looks) // columns)
    width, height = columns * (CELL + EDGE) + EDGE, rows * (CELL + LABEL + EDGE) + MAP + 2 * EDGE
    page = Image.new("RGB", (width, height), (246, 246, 244))
    pen = ImageDraw.Draw(page)
    for number, one in enumerate(looks):
        x, y = EDGE + number % columns * (CELL + EDGE), EDGE + number // columns * (CELL + LABEL + EDGE)
        level, word = marks.get(one.view.name, ("", ""))
        pen.rectangle((x - 2, y - 2, x + CELL + 1, y + CELL + LABEL - 2), fill=_FRAME[level])
        factor = CELL / max(one.camera.width, one.camera.height)
        size = max(1, round(one.camera.width * factor)), max(1, round(one.camera.height * factor))
        small = Image.fromarray(images.resize(one.pixels, *size))
        pen.rectangle((x, y, x + CELL - 1, y + CELL - 1), fill=(255, 255, 255))
        page.paste(small, (x + (CELL - size[0]) // 2, y + (CELL - size[1]) // 2), small)
        name = one.view.name.rsplit("/", 1)[-1]
        pen.text((x + 3, y + CELL + 2), f"{name[:14]} {word}"[:24], fill=(255, 255, 255))
    _map(pen, looks, marks, (EDGE, height - MAP, width - EDGE, height - EDGE))
    stream = io.BytesIO()
    page.save(stream, "PNG")
    return write_bytes(path, stream.getvalue())


def _map(
    pen: ImageDraw.ImageDraw, looks: list[judge.Look], marks: dict[str, tuple[str, str]], box: tuple[int, int, int, int]
) -> None:
    """Azimuth to the right (0 to 360 degrees), elevation upward (-90 to 90)."""
    left, top, right, bottom = box[0] + 30, box[1] + 18, box[2] - 8, box[3] - 16
    pen.text((left, box[1] + 2), "where the cameras stood: around (degrees) and above the subject", fill=(60, 60, 60))
    pen.rectangle((left, top, right, bottom), fill=(255, 255, 255), outline=(150, 150, 150))
    for degrees in range(0, 361, 45):
        x = left + (right - left) * degrees / 360
        pen.line((x, top, x, bottom), fill=(225, 225, 225))
        pen.text((x - 8, bottom + 2), str(degrees), fill=(90, 90, 90))
    for degrees in (-45, 0, 45):
        y = bottom - (bottom - top) * (degrees + 90) / 180
        pen.line((left, y, right, y), fill=(225, 225, 225))
        pen.text((left - 26, y - 5), str(degrees), fill=(90, 90, 90))
    found = judge.coverage([one.camera for one in looks])
    for one, azimuth, elevation in zip(looks, found.azimuth, found.elevation):
        x = left + (right - left) * float(azimuth) / 360
        y = bottom - (bottom - top) * (float(np.clip(elevation, -90, 90)) + 90) / 180
        pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=_FRAME[marks.get(one.view.name, ("", ""))[0]])
