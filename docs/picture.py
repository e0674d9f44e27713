"""Makes the README's picture from what bin/demo left: `python docs/picture.py demo [VIEW]` writes docs/avatar.jpg.

From left to right, seen by a camera that training never used: the photo, the field, the textured mesh, the mesh alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from nerf_plugin.datasets import load
from nerf_plugin.field import Field
from nerf_plugin.mesh.surface import Mesh
from nerf_plugin.texture.atlas import Atlas
from nerf_plugin.texture.render import render_mesh

DOCS = Path(__file__).resolve().parent
VIEW = "test/r_9"


def bytes_of(image: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def read_obj(path: Path) -> tuple[Mesh, Atlas]:
    """The mesh and its texture coordinates, from a file whose faces are triangles `v/vt`."""
    rows: dict[str, list[list[float]]] = {"v": [], "vt": []}
    corners = []
    for line in path.read_text().splitlines():
        kind, *words = line.split() or [""]
        if kind in rows:
            rows[kind].append([float(word) for word in words])
        elif kind == "f":
            corners.append([[int(number) - 1 for number in word.split("/")[:2]] for word in words])
    faces = np.array(corners, np.int32)
    mesh = Mesh(np.array(rows["v"])[:, :3].copy(), faces[..., 0].copy(), None)
    return mesh, Atlas(np.array(rows["vt"])[:, :2].copy(), faces[..., 1].copy(), 0, 0.0)


def row(demo: Path, name: str) -> np.ndarray:
    """(H, 4 W, 3) uint8."""
    [view] = [view for view in load(demo / "head/face_000", "test").views if view.name == name]
    photo = view.image().astype(np.float64) / 255
    field = Field.load(demo / "avatar/field.daf")
    mesh, atlas = read_obj(demo / "avatar/avatar.obj")
    texture = np.asarray(Image.open(demo / "avatar/avatar.png").convert("RGB"))
    pictures = [
        photo[..., :3] * photo[..., 3:] + 1 - photo[..., 3:],
        field.render(view.camera, samples=2).rgb,
        render_mesh(mesh, view.camera, atlas, texture)[0],
        render_mesh(mesh, view.camera)[0],
    ]
    return np.concatenate([bytes_of(picture) for picture in pictures], 1)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    picture = row(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) == 3 else VIEW)
    Image.fromarray(picture).save(DOCS / "avatar.jpg", quality=88)
    print(f"wrote {DOCS / 'avatar.jpg'}")
