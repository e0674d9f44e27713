"""From a field and photos to all files: what they hold, that they are the same bytes again, and what is refused."""

from __future__ import annotations

import hashlib
import io
import json

import numpy as np
import pytest
import trimesh
from PIL import Image

from nerf_plugin.avatar import AvatarSettings, avatar_files, build_local, mesh_of, up_of
from nerf_plugin.mesh import MeshError, check
from tests.nerf_plugin.test_mesh_fusion import CENTER, RADIUS, ring, sphere_depth


class Ball:
    """A sphere as a field: hard, with a colour that follows the place."""

    lo, voxel, resolution = np.full(3, -0.8), 0.025, (64, 64, 64)

    def sigma(self, points):
        return np.where(np.linalg.norm(points - CENTER, axis=1) < RADIUS, 200.0, 0.0).astype(np.float32)

    def color(self, points, directions):
        return np.clip(0.5 + 0.5 * np.asarray(points), 0, 1).astype(np.float32)

    def render(self, camera, step=0.5):
        depth = sphere_depth(camera)
        return type("Rendering", (), {"depth": np.where(depth > 0, depth + np.log(2) / 200, 0)})


SETTINGS = AvatarSettings(resolution=48, faces=2000, texture=128, views=24)


@pytest.fixture(scope="module")
def capture():
    field, cameras, photos = Ball(), list(ring([-0.7, 0.0, 0.7], count=8)), []
    for camera in cameras:
        depth = sphere_depth(camera)
        rows, columns = np.mgrid[: camera.height, : camera.width]
        origin, directions = camera.rays(columns.ravel(), rows.ravel())
        color = field.color(origin + directions * depth.reshape(-1, 1), None).reshape(*depth.shape, 3)
        photos.append(np.rint(np.dstack([color, depth > 0]) * 255).astype(np.uint8))
    return field, cameras, photos


def files_of(capture):
    field, cameras, photos = capture
    made = build_local(field, cameras, photos, SETTINGS)
    return made, avatar_files(
        made["mesh"], made["atlas"], made["texture"], settings=SETTINGS, up=up_of(cameras), facts=made["facts"],
        source={"seed": 1},
    )  # fmt: skip


def test_all_files_are_there_agree_and_are_the_same_again(capture):
    made, files = files_of(capture)
    story = json.loads(files["avatar.json"])
    assert list(files)[-1] == "avatar.json"
    assert set(story["files"]) == set(files) - {"avatar.json"}
    for name, entry in story["files"].items():
        assert entry["sha256"] == hashlib.sha256(files[name]).hexdigest()
    assert story["coordinates"]["up"] == [0, 0, 1] and story["source"] == {"seed": 1}
    facts = check(mesh_of(made["mesh"]))
    assert facts["manifold"] and facts["components"] == 1 and facts["faces"] <= SETTINGS.faces
    ply = trimesh.load(io.BytesIO(files["avatar.ply"]), file_type="ply", process=False)
    assert ply.is_watertight and len(ply.faces) == facts["faces"]
    assert np.abs(np.linalg.norm(ply.vertices - CENTER, axis=1) - RADIUS).mean() < 0.25 * Ball.voxel
    assert Image.open(io.BytesIO(files["avatar.png"])).size == (128, 128)
    assert files_of(capture)[1] == files


def test_the_texture_has_the_photos_colours(capture):
    made, _ = files_of(capture)
    solid = mesh_of(made["mesh"])
    uv = made["atlas"]["uv"][made["atlas"]["uv_faces"]].mean(axis=1)
    texel = np.clip((np.column_stack([1 - uv[:, 1], uv[:, 0]]) * 128).astype(int), 0, 127)
    seen = made["texture"][texel[:, 0], texel[:, 1]] / 255.0
    truth = np.clip(0.5 + 0.5 * solid.triangles.mean(axis=1), 0, 1)
    assert np.abs(seen - truth).mean() < 0.02


def test_settings_that_make_no_sense_are_refused():
    for bad, message in (
        ({"faces": 3}, "face budget of 3"),
        ({"texture": 7}, "texture of 7"),
        ({"resolution": 2}, "resolution of 2"),
    ):
        with pytest.raises(MeshError, match=message):
            AvatarSettings(**bad)


def test_an_empty_field_is_refused(capture):
    _, cameras, photos = capture
    empty = type(
        "Empty",
        (Ball,),
        {"render": lambda self, camera, step=0.5: type("R", (), {"depth": np.zeros((camera.height, camera.width))})},
    )()
    with pytest.raises(MeshError, match="no view sees anything opaque"):
        build_local(empty, cameras, photos, SETTINGS)
