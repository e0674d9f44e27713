"""Thumbnails: files in, files out. A map task writes its artifact whole or not at all and yields its record;
`finish` lists them in the job's result. An image that cannot be read is named with its error and stops nothing.
"""

from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Annotated, Literal

from PIL import Image, ImageOps

from mapreduce import BadInput, Job, Param, check_output

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".gif": "GIF", ".bmp": "BMP"}
SUFFIX = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}


@dataclass
class Thumbnails(Job):
    """Make small copies of images."""

    paths: Annotated[list[Path], Param(min_length=1, description="images, or folders of images")]
    out: Annotated[Path, Param(description="folder for the thumbnails")] = Path("thumbnails")
    size: Annotated[int, Param(ge=1, le=4096, description="longest side in pixels")] = 256
    format: Annotated[Literal["jpeg", "png", "webp"], Param(description="file format of the thumbnails")] = "jpeg"
    max_pixels: Annotated[int, Param(ge=1, description="refuse images with more pixels")] = 100_000_000

    def check(self):
        for path in self.paths:
            if not path.exists():
                raise BadInput(f"there is no file or folder {path}")
        check_output(self.out / "any")
        if not self.images():
            raise BadInput(f"no images ({', '.join(FORMATS)}) in {', '.join(map(str, self.paths))}")

    def images(self):
        found = []
        for path in self.paths:
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in FORMATS) if path.is_dir() else [path]
            found += inside
        return found

    def splits(self):
        taken = set()
        for path in self.images():
            names = chain([path.stem], (f"{path.stem}-{n}" for n in count(2)))
            name = next(name for name in names if name not in taken)
            taken.add(name)
            yield path, name + SUFFIX[self.format]

    def map(self, split, ctx):
        path, name = split
        try:
            with Image.open(path, formats=sorted(set(FORMATS.values()))) as image:
                if image.width * image.height > self.max_pixels:
                    raise ValueError(f"{image.width} x {image.height} pixels are more than {self.max_pixels}")
                image.draft("RGB", (self.size, self.size))
                small = ImageOps.exif_transpose(image)
                small.thumbnail((self.size, self.size))
                small = small.convert("RGB" if self.format == "jpeg" else "RGBA")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            ctx.count("unreadable")
            yield str(path), {"error": f"{type(error).__name__}: {error}"}
            return
        with ctx.artifact(self.out / name) as file:
            small.save(file, self.format.upper())
        yield str(path), {"record": file.record()}

    def finish(self, results, ctx):
        results = sorted(results, key=lambda item: item[0])
        for _, made in results:
            if "record" in made:
                ctx.keep(made["record"])
        bad = {path: made["error"] for path, made in results if "error" in made}
        return {"made": len(results) - len(bad), "unreadable": bad}
