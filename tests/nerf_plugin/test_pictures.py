"""The turntable sees the whole mesh from all sides; the sheet has a row for each view."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from nerf_plugin.mesh import MeshError
from nerf_plugin.pictures import contact_sheet, turntable_bytes, turntable_cameras
from tests.nerf_plugin.test_viewer import cube


@pytest.mark.parametrize("up", [[0, 0, 1], [0, 1, 0], [1, 0, 0]])
def test_every_picture_of_the_turntable_holds_the_whole_mesh_upright(up):
    mesh, _ = cube()
    cameras = turntable_cameras(mesh, up, count=5, size=64)
    for camera in cameras:
        pixels, depth = camera.project(mesh.vertices)
        assert (depth > 0).all() and pixels.min() > 0 and pixels.max() < 64
        top, _ = camera.project(np.array([[0, 0, 0], up], float))
        assert top[1, 1] < top[0, 1] and abs(top[1, 0] - top[0, 0]) < 1e-6
    assert len({camera.position.tobytes() for camera in cameras}) == 5


def test_the_turntable_moves():
    frames = [np.full((8, 16, 3), value, np.uint8) for value in (0, 128, 255)]
    assert Image.open(io.BytesIO(turntable_bytes(frames))).n_frames == 3


def test_the_sheet_has_a_row_for_each_view():
    view = {name: np.full((10, 12, 3), 0.5) for name in ("photo", "render", "mesh")}
    image = Image.open(io.BytesIO(contact_sheet([view] * 3, gap=2)))
    assert image.size == (3 * 14, 3 * 12)
    with pytest.raises(MeshError, match="at least one view"):
        contact_sheet([])
