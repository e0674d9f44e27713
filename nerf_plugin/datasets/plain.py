"""Plain photos: a folder of pictures and nothing that says where they were taken.

A capture is made of them once, in a folder beside theirs (PHOTOS-posed), and read from there ever after; so what COLMAP
decides on one machine is what every task of every later job sees. It is made under another name and renamed, so half a
capture is never found.

Foreground, the first that there is: the photos' alpha; mask files in PHOTOS/masks or beside PHOTOS, named like the
photos; masks by rembg, where that extra is installed; silhouettes that all photos agree on (`nerf_plugin.foreground`).
Where they agree on none, all of the picture is learned.
"""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nerf_plugin.datasets import images
from nerf_plugin.datasets.errors import DatasetError
from nerf_plugin.datasets.images import photos_in
from nerf_plugin.datasets.poses import estimate_poses, load_pycolmap

POSED = "-posed"
MODEL = "u2net"
LEAST = 8
"""With fewer photos there is no surface to be found, whatever their poses."""

Say = Callable[[str], Any]


def place_of(photos: Path) -> Path:
    """Where the capture of some photos is, or will be."""
    photos = photos.resolve()
    return photos.with_name(photos.name + POSED)


def posed(photos: Path) -> Path:
    """The capture that was made of these photos. Raises DatasetError when there is none, or the photos are others
    now."""
    place = place_of(photos)
    if not (place / "sparse").is_dir():
        raise DatasetError(
            photos, "holds photos without camera poses", f"Run `daf nerf poses {photos}`, or `daf run nerf {photos}`."
        )
    known = {path.name: path.stat().st_mtime for path in photos_in(place / "images")}
    now = {path.name: path.stat().st_mtime for path in photos_in(photos)}
    if known.keys() != now.keys() or any(now[name] > known[name] for name in now):
        problem = f"was made of other photos than {photos} holds now"
        raise DatasetError(place, problem, "Move it away (its poses will be found again), or restore the photos.")
    return place


def check_photos(photos: Path) -> None:
    """Whether poses can be looked for at all: enough sound photos, pycolmap, a place to write to. Raises
    DatasetError."""
    files = photos_in(photos)
    if len(files) < LEAST:
        problem = f"holds {len(files)} photos without camera poses; at least {LEAST} are needed"
        raise DatasetError(photos, problem, "Take 40 to 100 photos around the subject, or give a capture with poses.")
    for path in files:
        images.header(path)
    try:
        load_pycolmap()
    except DatasetError as error:
        problem = "holds photos without camera poses, and pycolmap, which finds them, is not installed"
        advice = "Install the extra (pip install 'daf[poses]'), or give a capture with poses."
        raise DatasetError(photos, problem, advice) from error


def make_posed(photos: Path, seed: int = 0, say: Say = lambda line: None) -> Path:
    """The capture of some photos, made now unless it is there: poses by COLMAP, foreground as above.

    `say` hears about each step. Raises DatasetError, which names the step that failed and what to try.
    """
    if place_of(photos).exists():
        return posed(photos)
    check_photos(photos)
    place = place_of(photos)
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    except OSError as error:
        problem = f"cannot be made ({error.strerror}); the photos' poses are kept there"
        raise DatasetError(place, problem, "Copy the photos to a folder that can be written to.") from error
    try:
        placed, total = estimate_poses(photos, work, seed, say)
        if 2 * placed < total:
            problem = f"finding poses: only {placed} of {total} photos could be placed together"
            raise DatasetError(photos, problem, "Leave out the blurred; take more that overlap with the next by half.")
        if not given_foreground(photos, work, say):
            agreed_foreground(work, say)
        (work / "database.db").unlink(missing_ok=True)
        work.chmod(0o755)
        try:
            work.rename(place)
        except OSError:
            if not place.exists():  # else another process was first
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return posed(photos)


def agreed_foreground(capture: Path, say: Say) -> None:
    """Put masks into a capture, where its photos agree on silhouettes."""
    from nerf_plugin.datasets import colmap, silhouettes

    found = colmap.load(capture, "all")
    foreground = silhouettes.find_masks(found, say)
    if foreground.problem is None:
        silhouettes.write_masks(found, foreground, say)
        say(f"the foreground is what the photos agree on ({foreground.agreement:.0%})")
    else:
        say(f"no alpha, no masks, no rembg, and {foreground.problem}: all of the picture is learned")


def given_foreground(photos: Path, capture: Path, say: Say) -> bool:
    """Put masks into a capture, where the photos have no alpha of their own; whether it has any foreground then. Raises
    DatasetError."""
    files = photos_in(capture / "images")
    if any(images.header(path).alpha and images.decode(path)[..., 3].min() < 250 for path in files[:3]):
        say("the foreground is the photos' alpha")
        return True
    for folder in (photos / "masks", photos.resolve().parent / "masks"):
        found = {path: mask for path in files if (mask := mask_in(folder, path.name)) is not None}
        if not found:
            continue
        if len(found) < len(files):
            lost = next(path.name for path in files if path not in found)
            problem = f"finding the foreground: has masks for {len(found)} of {len(files)} photos, none for {lost}"
            raise DatasetError(folder, problem, "Add those that are missing, or move the folder away.")
        say(f"the foreground is that of the masks in {folder}")
        (capture / "masks").mkdir()
        for path, mask in found.items():
            shutil.copy(mask, capture / "masks" / f"{path.stem}{mask.suffix}")
        return True
    try:
        rembg = _rembg()
        if rembg is None:
            return False
        say(f"rembg: loading its model {MODEL}")
        session = _session()
    except (Exception, SystemExit) as error:  # without onnxruntime its import ends the process
        problem = f"finding the foreground: rembg cannot be started ({type(error).__name__}: {error})"
        advice = "Install all of it (pip install 'daf[rembg]') and let it fetch its model once, or give mask files."
        raise DatasetError(photos, problem, advice) from error
    (capture / "masks").mkdir()
    for index, path in enumerate(files):
        say(f"rembg: foreground of photo {index + 1} of {len(files)}")
        try:
            shape = np.asarray(rembg.remove(images.decode(path)[..., :3], session=session, only_mask=True))
        except Exception as error:
            problem = f"finding the foreground: rembg failed ({type(error).__name__}: {error})"
            raise DatasetError(
                path, problem, "Let it fetch its model once, give mask files, or uninstall it."
            ) from error
        Image.fromarray(shape).save(capture / "masks" / f"{path.stem}.png")
    return True


def mask_in(folder: Path, name: str) -> Path | None:
    """The mask of a photo in a folder of masks: NAME.png for NAME.jpg, or COLMAP's NAME.jpg.png."""
    stem = Path(name).stem
    candidates = (folder / f"{name}.png", *(folder / f"{stem}{suffix}" for suffix in images.SUFFIXES))
    return next((path for path in candidates if path.is_file()), None)


def _rembg() -> Any:
    try:
        import rembg
    except ImportError:
        return None
    return rembg


@functools.cache
def _session() -> Any:
    """rembg with its model, loaded once a process. The model is named, as rembg's choice changes between versions (and
    with it the licence: this one is Apache-2.0)."""
    return _rembg().new_session(MODEL)
