"""Generated faces: the twins agree, the surface is what the pictures show, and a seed gives the same bytes."""

import hashlib
import json
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from nerf_plugin.cameras import Camera, look_at
from nerf_plugin.datasets import DatasetError, load
from nerf_plugin.faces import draw, face_cameras, generate
from nerf_plugin.faces.anatomy import LAYERS, sculpt
from nerf_plugin.faces.model import build
from nerf_plugin.faces.noise import fbm, noise_reference
from nerf_plugin.faces.raster import Studio
from nerf_plugin.faces.sculpt import distances, registers, registers_reference
from nerf_plugin.mesh.surface import Mesh
from nerf_plugin.mesh.topology import check

SMALL = {"size": 64, "views": 6, "test_views": 2, "spacing": 2.5}


@pytest.fixture(scope="module")
def face(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("faces") / "face_000", 7, **SMALL)


def test_noise_agrees_with_its_twin():
    points = np.random.default_rng(3).uniform(-9, 9, (2000, 3))
    np.testing.assert_allclose(fbm(points, 11), noise_reference(points, 11), atol=1e-12)
    assert 0.2 < fbm(points, 11).std() < 0.6


@pytest.mark.parametrize("seed", [0, 4, 7, 29, 44])
def test_the_sculpting_machine_agrees_with_its_twin(seed):
    points = np.random.default_rng(seed).uniform(-0.95, 0.95, (4000, 3))
    program = sculpt(draw(seed))
    np.testing.assert_allclose(registers(program, points), registers_reference(program, points), atol=1e-9)


@pytest.mark.parametrize("seed", [1, 8, 10])
def test_the_surface_is_closed_inside_the_box_and_where_the_distance_is_zero(seed):
    who = draw(seed)
    model = build(who, spacing=2.5)
    found = check(Mesh(model.vertices, model.faces))
    assert found["watertight"] and found["manifold"] and found["volume"] > 0.3, found
    pieces = found["components"]
    assert pieces <= 4, "no crumbs and no hollows"
    assert np.abs(model.vertices).max() < 1
    off = np.abs(distances(sculpt(who), model.vertices, LAYERS))
    assert np.median(off) < 1e-3 and np.quantile(off, 0.99) < 8e-3
    fine = check(Mesh(model.fine_vertices, model.fine_faces))
    assert fine["watertight"] and fine["area"] == pytest.approx(found["area"], rel=1e-9)


def test_a_seed_gives_the_same_bytes_and_another_seed_another_face(face, tmp_path):
    def prints(folder):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    again = generate(tmp_path / "again", 7, **SMALL)
    assert prints(again) == prints(face)
    assert draw(8) != draw(7)
    other = generate(tmp_path / "again", 8, **SMALL)
    assert prints(other)["train/r_0.png"] != prints(face)["train/r_0.png"]
    assert not list(tmp_path.glob(".*")), "no half face is left behind"


@pytest.mark.parametrize("kind", ["wall", "room"])
def test_surroundings_are_behind_the_same_head_and_leave_no_alpha(face, tmp_path, kind):
    placed = generate(tmp_path / kind, 7, **SMALL, surroundings=kind)
    found = load(placed)
    assert not found.has_alpha and found.subject is not None
    shown = []
    for alone, view in zip(load(face).views, found.views, strict=True):
        bare, whole = alone.image(), view.image()
        head = bare[..., 3] == 255
        np.testing.assert_array_equal(whole[head], bare[head])
        shown.append(whole[..., :3][bare[..., 3] == 0])
    assert all(pixels.std(0).min() > 2 for pixels in shown), "it is no plain colour"
    same = [np.array_equal(first[:50], second[:50]) for first, second in pairwise(shown)]
    assert all(same) if kind == "wall" else not any(same)


def test_a_face_is_a_capture_with_antialiased_straight_alpha(face):
    found = load(face)
    assert (len(found), len(load(face, "test")), found.has_alpha, found.dialect) == (6, 2, True, "blender")
    for view, camera in zip(found.views, face_cameras(7, "train", 6, 64), strict=True):
        np.testing.assert_allclose(view.camera.matrix, camera.matrix, atol=1e-9)
        pixels = view.image()
        alpha = pixels[..., 3]
        assert ((alpha > 0) & (alpha < 255)).sum() > 30, "edges have partial coverage"
        assert alpha[0].max() == 0 and 0.15 < (alpha == 255).mean() < 0.8
        edge = pixels[(alpha > 0) & (alpha < 128)][:, :3].astype(float)
        inner = pixels[alpha == 255][:, :3].astype(float)
        assert edge.mean() > 0.3 * inner.mean(), "straight alpha: edge colours are not darkened"
    assert json.loads((face / "face.json").read_text())["identity"]["seed"] == 7


def test_visible_points_lie_where_pictures_show_them_in_their_colour(face):
    truth = np.load(face / "gt" / "visible_points.npz")
    points, rgb, normals = truth["points"].astype(float), truth["rgb"].astype(float), truth["normals"].astype(float)
    assert truth["n_views"].min() >= 2 and len(points) > 50_000
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    view = load(face).views[2]
    facing = ((view.camera.position - points) * normals).sum(1) > 0.6 * np.linalg.norm(
        view.camera.position - points, axis=1
    )
    pixels, _ = view.camera.project(points[facing])
    x, y = np.floor(pixels).astype(int).T
    seen = view.image()[y, x].astype(float)
    assert (seen[:, 3] > 0).mean() > 0.99
    assert np.median(np.abs(seen[:, :3] - rgb[facing]).mean(1)) < 12


def test_depth_agrees_with_rays_cast_at_the_mesh(face):
    lines = (face / "gt" / "mesh.obj").read_text().splitlines()
    vertices = np.array([line.split()[1:4] for line in lines if line.startswith("v ")], float)
    faces = np.array([line.split()[1:4] for line in lines if line.startswith("f ")], int) - 1
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    depth = np.load(face / "gt" / "test_depth.npz")["depth"][0]
    camera = load(face, "test").views[0].camera
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(40):
        x, y = (int(v) for v in rng.integers(8, 56, 2))
        origin, direction = camera.rays(np.array([x]), np.array([y]))
        ray = direction[0].astype(float)
        p = np.cross(ray, c - a)
        det = (p * (b - a)).sum(1)
        det[np.abs(det) < 1e-15] = 1e-15
        u = (p * (origin - a)).sum(1) / det
        q = np.cross(origin - a, b - a)
        v, t = (q * ray).sum(1) / det, (q * (c - a)).sum(1) / det
        met = t[(u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)]
        if len(met) and depth[y, x] > 0:
            hits += 1
            expected = met.min() * (ray @ camera.forward)
            around = depth[y - 1 : y + 2, x - 1 : x + 2]
            assert around.min() - 0.05 < expected < around.max() + 0.05 or (around == 0).any()
    assert hits > 8


def test_a_square_that_covers_half_a_pixel_gives_half_alpha():
    corners = np.array([[-0.5, 0, -0.5], [0.25, 0, -0.5], [0.25, 0, 0.5], [-0.5, 0, 0.5]])
    thirds = np.array([[0, 1, 2], [0, 2, 3]])
    mids = np.concatenate([corners, [[-0.125, 0, -0.5], [0.25, 0, 0], [-0.125, 0, 0], [-0.125, 0, 0.5], [-0.5, 0, 0]]])
    fours = np.array([[0, 4, 6], [4, 1, 5], [6, 5, 2], [4, 5, 6], [0, 6, 8], [6, 2, 7], [8, 7, 3], [6, 7, 8]], np.int32)
    assert len(thirds) * 4 == len(fours)
    camera = Camera.from_matrix(look_at(np.array([0, -2.0, 0]), np.zeros(3)), 4, 4, 4.0)
    image, depth = Studio(mids, fours, np.full((9, 3), 200.0)).photograph(camera)
    np.testing.assert_array_equal(image[1, :, 3], [0, 255, 128, 0])
    assert (image[1, 1:3, :3] == 200).all()
    np.testing.assert_allclose(depth[1, 1], 2.0, atol=1e-6)


def test_a_folder_that_is_no_face_is_not_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(DatasetError, match="no generated face"):
        generate(tmp_path / "mine", 1, **SMALL)
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_faces_differ_in_many_ways():
    people = [draw(seed) for seed in range(60)]
    for field in ("hair_style", "beard", "cloth_style", "cloth_pattern", "iris", "hair_colour", "glasses"):
        assert len({getattr(who, field) for who in people}) >= 2, field
    assert np.std([who.nose_width for who in people]) > 0.05


def test_pictures_are_png_with_alpha(face):
    with Image.open(face / "train" / "r_0.png") as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (64, 64))
