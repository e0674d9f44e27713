"""Pictures of a field along a camera path: a job with a map task for each frame.

A folder gets 00000.png, 00001.png, ...; each is written by its own task. An animation (.webp, .gif, .mp4) is put
together in the last step; mp4 by the program ffmpeg, which must be there.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mapreduce import BadInput, Context, Job, Outputs, Stage, check_output
from nerf_plugin.cameras import Camera
from nerf_plugin.export.obj import png_bytes
from nerf_plugin.field import Field, FieldError

ANIMATIONS = (".webp", ".gif", ".mp4")
MOST_BYTES = 4 << 30
"""Of an animation's frames, which its last step holds in memory."""


@dataclass
class Frames(Job):
    """Render a field along a camera path.

    cameras: plain data of `Camera.to_plain`. background: "own" (the field's surroundings, else white), "clear" (PNG and
    WebP with alpha), or "r,g,b" from 0 to 255. samples: rays along each side of a pixel.
    """

    field: Path = Path()
    cameras: list[dict[str, Any]] = ()  # type: ignore[assignment]
    out: Path = Path("frames")
    background: str = "own"
    samples: int = 1
    fps: float = 24.0

    def check(self) -> None:
        """Try the field, the output and the encoder before anything is rendered."""
        _ = self.loaded
        if self.background != "clear":
            color_of(self.background)
        elif self.out.suffix in (".gif", ".mp4"):
            raise BadInput(f"a {self.out.suffix} file has no alpha: choose a background, or .webp or a folder of PNG")
        if self.animated:
            size = sum(3 * camera["width"] * camera["height"] for camera in self.cameras)
            if size > MOST_BYTES:
                raise BadInput(f"{len(self.cameras)} frames are too many for one file in memory; render to a folder")
            if len({(camera["width"], camera["height"]) for camera in self.cameras}) > 1:
                raise BadInput("the cameras' pictures differ in size: give --size, or render to a folder")
            if self.out.suffix == ".mp4" and shutil.which("ffmpeg") is None:
                raise BadInput(
                    "mp4 needs the program ffmpeg, which is not installed; render to .webp, .gif or a folder"
                )
        check_output(self.out if self.animated else self.out / "00000.png")

    @property
    def animated(self) -> bool:
        """Whether one file is made."""
        return self.out.suffix.lower() in ANIMATIONS

    @cached_property
    def loaded(self) -> Field:
        """The field. Raises BadInput."""
        try:
            return Field.load(self.field)
        except (OSError, FieldError) as error:
            raise BadInput(f"{self.field} cannot be rendered: {error}") from error

    def splits(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """A frame's number and camera."""
        yield from enumerate(self.cameras)

    def next_stage(self, history: Any) -> Stage | None:
        return None if history else Stage(list(self.splits()), "frames", reduces=1)

    def map(self, split: tuple[int, dict[str, Any]], ctx: Context) -> Iterator[tuple[int, Any]]:
        """One frame."""
        index, plain = split
        field = ctx.cached("field", lambda: self.loaded)
        picture = render(field, Camera.from_plain(plain), self.background, self.samples)
        if self.animated:
            yield index, picture
            return
        with ctx.artifact(self.out / f"{index:05d}.png") as file:
            file.write(png_bytes(picture))
        yield index, file.record()

    def finish(self, results: Outputs, ctx: Context) -> int:
        """List the files, or write the animation; the value is the number of frames."""
        found = dict(results)
        if not self.animated:
            for index in sorted(found):
                ctx.keep(found[index])
            return len(found)
        content = encode([found[index] for index in sorted(found)], self.out.suffix.lower(), self.fps, ctx.scratch())
        with ctx.artifact(self.out) as file:
            file.write(content)
        return len(found)


def render(field: Field, camera: Camera, background: str, samples: int) -> np.ndarray:
    """(H, W, 3 or 4) uint8 picture."""
    if background != "clear":
        color = color_of(background)
        return _bytes(field.render(camera, color, samples=samples).rgb)
    seen = field.render(camera, (0.0, 0.0, 0.0), samples=samples)
    alpha = seen.alpha[..., None]
    return _bytes(np.concatenate([seen.rgb / np.maximum(alpha, 1e-3), alpha], -1))


def color_of(text: str) -> tuple[float, float, float] | None:
    """0..1, from "r,g,b" in 0..255, or None for "own". Raises BadInput."""
    if text == "own":
        return None
    names = {"white": "255,255,255", "black": "0,0,0"}
    try:
        red, green, blue = (int(part) / 255 for part in names.get(text, text).split(","))
    except ValueError:
        red = green = blue = -1.0
    if not all(0 <= part <= 1 for part in (red, green, blue)):
        raise BadInput(f"background {text!r}: write own, clear, white, black, or red,green,blue from 0 to 255")
    return red, green, blue


def encode(pictures: list[np.ndarray], suffix: str, fps: float, scratch: Path) -> bytes:
    """An animation that goes on for ever (WebP, GIF), or an MP4 by ffmpeg. Raises BadInput when ffmpeg fails."""
    if suffix == ".mp4":
        return _mp4(pictures, fps, scratch)
    first, *rest = (Image.fromarray(picture) for picture in pictures)
    stream, kind = io.BytesIO(), suffix[1:].upper()
    quality = {"quality": 90, "method": 3} if kind == "WEBP" else {}
    first.save(stream, kind, save_all=True, append_images=rest, duration=max(1, round(1000 / fps)), loop=0, **quality)
    return stream.getvalue()


def _mp4(pictures: list[np.ndarray], fps: float, scratch: Path) -> bytes:
    height, width = pictures[0].shape[:2]
    made = scratch / "movie.mp4"
    command = ["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    command += ["-r", f"{fps:g}", "-i", "-", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", str(made)]
    done = subprocess.run(command, input=b"".join(picture.tobytes() for picture in pictures), capture_output=True)
    if done.returncode:
        raise BadInput(f"ffmpeg could not make the movie: {done.stderr.decode(errors='replace').strip()[-500:]}")
    return made.read_bytes()


def _bytes(picture: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(picture * 255), 0, 255).astype(np.uint8)
