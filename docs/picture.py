"""Makes the README's picture from what bin/demo left: `python docs/picture.py demo [VIEW]` writes docs/avatar.jpg.

From left to right, seen from a camera that training never saw: the photo, the field, the mesh with its colours, and the
mesh alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image

from nerf_plugin.datasets import load
from nerf_plugin.field import Field
from nerf_plugin.mesh.surface import Mesh
from nerf_plugin.texture.render import render_mesh

DOCS = Path(__file__).resolve().parent
VIEW = "test/r_9"


def bytes_of(image: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def row(demo: Path, name: str) -> np.ndarray:
    """(H, 4 W, 3) uint8."""
    [view] = [view for view in load(demo / "head/face_000", "test").views if view.name == name]
    photo = view.image().astype(np.float64) / 255
    field = Field.load(demo / "avatar/field.daf")
    read = trimesh.load(demo / "avatar/mesh.ply", process=False)
    vertices, faces = np.asarray(read.vertices, np.float64), np.asarray(read.faces, np.int32)
    colors = np.asarray(read.visual.vertex_colors[:, :3], np.float64) / 255
    pictures = [
        photo[..., :3] * photo[..., 3:] + 1 - photo[..., 3:],
        field.render(view.camera, samples=2).rgb,
        render_mesh(Mesh(vertices, faces, colors), view.camera)[0],
        render_mesh(Mesh(vertices, faces, None), view.camera)[0],
    ]
    return np.concatenate([bytes_of(picture) for picture in pictures], 1)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    picture = row(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) == 3 else VIEW)
    Image.fromarray(picture).save(DOCS / "avatar.jpg", quality=88)
    print(f"wrote {DOCS / 'avatar.jpg'}")
