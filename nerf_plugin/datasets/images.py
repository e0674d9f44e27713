"""Image files in, RGBA arrays out: the only place that decodes what users bring.

Files come from strangers, so the header is judged before any pixel is decoded: the format must be one of three, and the
pixel count under `MAX_PIXELS` (a 20 KB PNG can claim gigapixels). Decoding errors become `DatasetError`s with the
file's name.

Sixteen-bit PNGs keep their upper eight bits (training works on eight). Resampling premultiplies by alpha, so that
colours of transparent pixels, which are arbitrary, never bleed into visible ones.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from nerf_plugin.cameras import Camera, distort
from nerf_plugin.datasets.errors import DatasetError
from nerf_plugin.kernels import kernel

FORMATS = ("PNG", "JPEG", "WEBP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
MAX_PIXELS = 64_000_000
_BAND = 128
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_AGAIN = "Copy or export the photo again, or take its frame out of the capture."


@dataclass(frozen=True)
class Header:
    """What the first bytes of an image tell: stored size in pixels, EXIF orientation (1..8), whether it has alpha."""

    width: int
    height: int
    orientation: int
    alpha: bool

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) after the EXIF orientation has been applied."""
        return (self.height, self.width) if self.orientation in (5, 6, 7, 8) else (self.width, self.height)


def photos_in(folder: Path) -> list[Path]:
    """The image files in a folder by name; not those in its subfolders, and none that is hidden."""
    found = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    return sorted(path for path in found if path.is_file())


def is_file(path: Path) -> bool:
    """Whether there is such a file, whatever a capture calls it: names that no file can have are none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def header(path: Path) -> Header:
    """Reads and judges an image's header without decoding. A PNG is also looked at from its end, so a cut one is
    found here.
    """
    with _open(path) as image:
        found = Header(
            image.width,
            image.height,
            _orientation(image),
            "A" in image.getbands() or "transparency" in image.info,
        )
        png = image.format == "PNG"
    if png:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 4096))
            if b"IEND" not in file.read():
                raise DatasetError(path, "is a PNG that stops before its end (truncated)", _AGAIN)
    return found


def decode(path: Path, *, upright: bool = True, at_least: int = 0) -> np.ndarray:
    """(H, W, 4) uint8 RGBA with straight alpha. `upright` applies the EXIF orientation.

    at_least: pixels of the shorter side that suffice (0: all): a JPEG is then decoded at 1/2, 1/4 or 1/8 of its size,
    which takes a fraction of the time.
    """
    try:
        with _open(path) as image:
            turn = _TURNS.get(_orientation(image)) if upright else None
            if at_least:
                share = at_least / min(image.size)
                image.draft(None, (math.ceil(image.width * share), math.ceil(image.height * share)))
            image.load()
            turned = image.transpose(turn) if turn is not None else image
            if turned.mode.startswith("I"):
                grey = (np.asarray(turned).astype(np.uint32) >> 8).astype(np.uint8)
                return np.dstack([grey, grey, grey, np.full_like(grey, 255)])
            return np.array(turned.convert("RGBA"))
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(path, f"cannot be decoded, the file is damaged or cut short ({error})", _AGAIN) from error


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8 as told ahead of the pixels (Pillow would decode a whole PNG in search of it)."""
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & set(image.info):
        return 1
    found = image.getexif().get(_ORIENTATION, 1)
    return found if found in _TURNS else 1


def _open(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path, formats=FORMATS)
    except FileNotFoundError as error:
        raise DatasetError(
            path, "does not exist", "Put the image there or take its frame out of the capture."
        ) from error
    except Image.DecompressionBombError as error:
        raise DatasetError(path, f"claims more than {MAX_PIXELS:,} pixels", "Scale the photo down first.") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise DatasetError(path, "is not a PNG, JPEG or WebP image, or its header is damaged", _AGAIN) from error
    if image.width * image.height > MAX_PIXELS:
        size = f"{image.width}x{image.height}"
        image.close()
        raise DatasetError(path, f"has {size} pixels, more than {MAX_PIXELS:,}", "Scale the photo down first.")
    return image


def apply_mask(pixels: np.ndarray, mask: Path) -> np.ndarray:
    """Multiplies alpha by the mask's brightness (or by its alpha, where the mask is a cut-out)."""
    layer = decode(mask)
    alpha = layer[..., 3] if layer[..., 3].min() < 255 else layer[..., :3].max(-1)
    if alpha.shape != pixels.shape[:2]:
        size = f"{alpha.shape[1]}x{alpha.shape[0]} pixels where its photo has {pixels.shape[1]}x{pixels.shape[0]}"
        raise DatasetError(mask, f"is a mask of {size}", "Export the mask at its photo's size.")
    result = pixels.copy()
    result[..., 3] = (pixels[..., 3].astype(np.uint16) * alpha + 127) // 255
    return result


def resize(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """(H, W, 4) uint8 to (height, width, 4) uint8, area-weighted, in premultiplied colour."""
    if pixels.shape[:2] == (height, width):
        return pixels
    alpha = pixels[..., 3].astype(np.float32)
    small = []
    for channel in range(4):  # one at a time: a phone's photo is 50 MB a plane
        plane = alpha if channel == 3 else pixels[..., channel] * (alpha / 255)
        small.append(np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BOX)))
    return _straight(np.stack(small))


def undistort(pixels: np.ndarray, lens: Camera, flat: Camera) -> np.ndarray:
    """Resamples a photo (H, W, 4) uint8 taken through `lens` to the pinhole `flat` of the same pose.

    Cubic convolution (Keys 1981, a = -0.5) in premultiplied colour. `lens` may be given for another size than that of
    `pixels`. Pixels that look past the photo's border repeat the border.
    """
    height, width = pixels.shape[:2]
    lens, pixels = lens.resized(width, height), np.ascontiguousarray(pixels)
    result = np.empty((flat.height, flat.width, 4), np.uint8)
    for top in range(0, flat.height, _BAND):
        rows = range(top, min(top + _BAND, flat.height))
        result[top : rows.stop] = _remap(pixels, *lens_map(lens, flat, rows))
    return result


def lens_map(lens: Camera, flat: Camera, rows: range) -> tuple[np.ndarray, np.ndarray]:
    """For the pixel centres of some rows of `flat`, where `lens` shows the same direction.

    Returns x and y, (rows, width) float64 image coordinates.
    """
    columns = (np.arange(flat.width) + 0.5 - flat.cx) / flat.fx
    downward = (np.arange(rows.start, rows.stop) + 0.5 - flat.cy) / flat.fy
    x, y = distort(*np.meshgrid(columns, downward), lens.distortion, lens.fisheye)
    return x * lens.fx + lens.cx, y * lens.fy + lens.cy


@kernel
def _remap(pixels, xs, ys):  # type: ignore[no-untyped-def]
    height, width = pixels.shape[:2]
    out = np.empty((*xs.shape, 4), np.uint8)
    wx, wy, total = np.empty(4), np.empty(4), np.empty(4)
    for j in range(xs.shape[0]):
        for i in range(xs.shape[1]):
            x, y = xs[j, i] - 0.5, ys[j, i] - 0.5
            x0, y0 = int(np.floor(x)), int(np.floor(y))
            for weights, t in ((wx, x - x0), (wy, y - y0)):
                weights[0] = ((-0.5 * t + 1.0) * t - 0.5) * t
                weights[1] = (1.5 * t - 2.5) * t * t + 1.0
                weights[2] = ((-1.5 * t + 2.0) * t + 0.5) * t
                weights[3] = (0.5 * t - 0.5) * t * t
            total[:] = 0.0
            for b in range(4):
                row = min(max(y0 - 1 + b, 0), height - 1)
                for a in range(4):
                    column = min(max(x0 - 1 + a, 0), width - 1)
                    weight = wx[a] * wy[b]
                    alpha = weight * pixels[row, column, 3]
                    total[3] += alpha
                    for c in range(3):
                        total[c] += alpha * pixels[row, column, c]
            for c in range(3):
                value = total[c] / total[3] if total[3] > 1e-3 else 0.0
                out[j, i, c] = np.uint8(min(max(value + 0.5, 0.0), 255.0))
            out[j, i, 3] = np.uint8(min(max(total[3] + 0.5, 0.0), 255.0))
    return out


def remap_reference(pixels: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """The slow twin of the resampling kernel: sixteen weighted shifts of the whole photo."""
    height, width = pixels.shape[:2]
    x, y = xs - 0.5, ys - 0.5
    x0, y0 = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    total = np.zeros((*xs.shape, 4))
    for j, down in enumerate(_keys(y - y0)):
        for i, across in enumerate(_keys(x - x0)):
            found = pixels[np.clip(y0 + j - 1, 0, height - 1), np.clip(x0 + i - 1, 0, width - 1)].astype(np.float64)
            found[..., :3] *= found[..., 3:]
            total += found * (down * across)[..., None]
    seen = total[..., 3:] > 1e-3
    colour = np.where(seen, total[..., :3] / np.where(seen, total[..., 3:], 1), 0)
    return np.clip(np.concatenate([colour, total[..., 3:]], -1) + 0.5, 0, 255).astype(np.uint8)


def _keys(t: np.ndarray) -> list[np.ndarray]:
    t2, t3 = t * t, t * t * t
    return [-0.5 * t3 + t2 - 0.5 * t, 1.5 * t3 - 2.5 * t2 + 1, -1.5 * t3 + 2 * t2 + 0.5 * t, 0.5 * t3 - 0.5 * t2]


def _straight(planes: np.ndarray) -> np.ndarray:
    alpha = np.clip(planes[3], 0, 255)
    colour = planes[:3] * (255 / np.maximum(alpha, 1e-3))
    stacked = np.concatenate([colour, alpha[None]])
    return np.ascontiguousarray(np.moveaxis(np.clip(np.rint(stacked), 0, 255).astype(np.uint8), 0, -1))


def turn_upright(shape: Header, declared: tuple[float, float] | None, otherwise: bool = True) -> bool:
    """Whether the EXIF orientation is to be applied, given the size that the camera was declared for.

    Programs that estimate poses differ in whether they honour EXIF; the declared size tells which pixel grid was meant.
    Where it does not (no size, a square, half a turn), `otherwise` is the answer.
    """
    if shape.orientation == 1 or declared is None or shape.upright_size == (shape.width, shape.height):
        return otherwise
    want = declared[0] / declared[1]
    stored, turned = shape.width / shape.height, shape.upright_size[0] / shape.upright_size[1]
    return abs(np.log(turned / want)) <= abs(np.log(stored / want))


def sibling_mask(image: Path, root: Path | None = None) -> Path | None:
    """A mask file by custom: in a folder `masks` beside the photos' folder `root`, or in a folder there that is named
    like it (where training and test photos have the same names), as NAME.png or COLMAP's NAME.jpg.png.
    """
    root = root or image.parent
    folder = root.parent / "masks"
    if not folder.is_dir() or root.name == "masks" or not image.is_relative_to(root):
        return None
    below = image.relative_to(root).parent
    names = [image.name + ".png", *(image.stem + suffix for suffix in SUFFIXES)]
    places = [inside / name for inside in (folder / root.name / below, folder / below) for name in names]
    return next((place for place in places if is_file(place)), None)


def any_transparent(views: list) -> bool:  # type: ignore[type-arg]
    """Whether these views tell subject from background: mask files, or alpha that is not 255 everywhere in the first
    photos.
    """
    if any(view.mask for view in views):
        return True
    candidates = [view for view in views if header(view.path).alpha][:3]
    return any(decode(view.path)[..., 3].min() < 250 for view in candidates)
