"""Files round trip through trimesh, and appear whole or not at all."""

from __future__ import annotations

import json
import shutil
import subprocess

import numpy as np
import pytest
import trimesh

from nerf_plugin.export.atomic import ExportError, write_bytes, write_json
from nerf_plugin.export.gltf import turn_up, write_glb
from nerf_plugin.export.obj import write_obj, write_textured_obj
from nerf_plugin.export.ply import write_ply
from nerf_plugin.mesh import Mesh, color_vertices, keep_components, merge
from nerf_plugin.mesh.blocks import blocks, extract_block, iso_level
from tests.nerf_plugin.analytic import Sphere
from tests.nerf_plugin.tools import lacking


@pytest.fixture(scope="module")
def ball() -> Mesh:
    field = Sphere(16)
    cut = blocks(field.lo, field.voxel, field.resolution)
    return color_vertices(field, keep_components(merge([extract_block(field, b, iso_level(field.voxel)) for b in cut])))


@pytest.mark.parametrize("write,name", [(write_obj, "a.obj"), (write_ply, "a.ply")])
def test_geometry_and_colours_survive_a_round_trip(ball, tmp_path, write, name):
    loaded = trimesh.load(write(tmp_path / name, ball), process=False)
    assert np.allclose(loaded.vertices, ball.vertices, atol=1e-6)
    assert np.array_equal(loaded.faces, ball.faces)
    assert np.abs(loaded.visual.vertex_colors[:, :3] / 255 - ball.colors).max() < 0.005
    assert loaded.is_watertight and loaded.volume > 0


def test_the_same_mesh_gives_the_same_bytes(ball, tmp_path):
    for write in (write_obj, write_ply):
        assert write(tmp_path / "a", ball).read_bytes() == write(tmp_path / "b", ball).read_bytes()


def test_a_textured_obj_brings_its_material_and_image(ball, tmp_path):
    uv = np.random.default_rng(0).random((len(ball.vertices), 2))
    texture = np.random.default_rng(1).integers(0, 255, (8, 8, 3), np.uint8)
    _, material, path = write_textured_obj(tmp_path / "a.obj", ball, uv, ball.faces, texture)
    assert "map_Kd a.png" in material.read_text()
    loaded = trimesh.load(path, process=False)
    assert np.array_equal(np.asarray(loaded.visual.material.image.convert("RGB")), texture)
    assert np.allclose(np.asarray(loaded.triangles), ball.triangles, atol=1e-6)
    assert np.allclose(loaded.visual.uv[loaded.faces], uv[ball.faces], atol=1e-6)


def test_a_folder_that_cannot_be_written_is_named(ball, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ExportError, match=r"cannot write .*file/a\.ply.*choose a folder"):
        write_ply(tmp_path / "file" / "a.ply", ball)


def test_an_interrupted_write_leaves_the_old_file_and_no_draft(tmp_path):
    target = write_bytes(tmp_path / "a.bin", b"old")

    with pytest.raises(TypeError):
        write_bytes(target, b"new", "not bytes")  # type: ignore[arg-type]
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert json.loads(write_json(tmp_path / "a.json", {"x": 1.5}).read_text()) == {"x": 1.5}


def textured(ball):
    rng = np.random.default_rng(2)
    uv = rng.random((len(ball.vertices) + 5, 2))
    faces = rng.integers(0, len(uv), ball.faces.shape).astype(np.int32)
    return {"uv": uv, "uv_faces": faces, "texture": rng.integers(0, 255, (16, 16, 3), np.uint8)}


def test_a_glb_holds_geometry_texture_and_coordinates(ball, tmp_path):
    parts = textured(ball)
    scene = trimesh.load(write_glb(tmp_path / "a.glb", ball, **parts), process=False)
    (loaded,) = scene.geometry.values()
    assert np.allclose(np.asarray(loaded.triangles), ball.triangles, atol=1e-6)
    assert np.allclose(loaded.visual.uv[loaded.faces], parts["uv"][parts["uv_faces"]], atol=1e-6)
    image = np.asarray(loaded.visual.material.baseColorTexture.convert("RGB"))
    assert np.array_equal(image, parts["texture"])
    (node,) = scene.graph.nodes_geometry
    turned = scene.graph.get(node)[0][:3, :3] @ [0, 0, 1]
    assert np.allclose(turned, [0, 1, 0])


def test_up_turns_to_y_from_every_side():
    for up in ([0, 0, 1], [0, 1, 0], [0, -1, 0], [1, 0, 0], [0.3, -0.8, 0.2]):
        x, y, z, w = turn_up(up)
        q, v = np.array([x, y, z]), np.array(up) / np.linalg.norm(up)
        assert np.allclose(v + 2 * w * np.cross(q, v) + 2 * np.cross(q, np.cross(q, v)), [0, 1, 0])


VALIDATE = """
const v = require('gltf-validator'), fs = require('fs');
v.validateBytes(new Uint8Array(fs.readFileSync(process.argv[1]))).then(r => console.log(JSON.stringify(r.issues)));
"""


@pytest.mark.parametrize("kind", ["textured", "colours"])
def test_khronos_own_validator_finds_nothing(ball, tmp_path, kind):
    node = shutil.which("node")
    if node is None:
        lacking("validator", "node is not installed")
    path = write_glb(tmp_path / "a.glb", ball, **(textured(ball) if kind == "textured" else {}))
    ran = subprocess.run([node, "-e", VALIDATE, str(path)], capture_output=True, text=True, timeout=60)
    if "Cannot find module" in ran.stderr:
        lacking("validator", "the npm package gltf-validator is not installed (set NODE_PATH to a folder that has it)")
    issues = json.loads(ran.stdout)
    assert issues["numErrors"] == issues["numWarnings"] == 0, issues["messages"][:5]
