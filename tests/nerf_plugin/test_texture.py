"""The texture: charts that cover every face once, a bake that finds the true colours, bands that do not matter, seams
that do not show."""

from __future__ import annotations

import numpy as np
import pytest

from nerf_plugin import metrics
from nerf_plugin.cameras import Camera
from nerf_plugin.mesh import MeshError, decimate, merge
from nerf_plugin.mesh.blocks import blocks, extract_block, iso_level
from nerf_plugin.mesh.raster import corner_values, pack_camera, rasterize
from nerf_plugin.texture import (
    assemble,
    atlas_chunks,
    bake_band,
    bake_bands,
    chart_chunk,
    pack_charts,
    photo_view,
    polish,
    polish_groups,
    polish_part,
    render_mesh,
)
from nerf_plugin.texture.atlas import Atlas
from nerf_plugin.texture.bake import band_texels, blend
from nerf_plugin.texture.reference import blend_slow, footprint_slow, parallax_slow, polish_slow
from nerf_plugin.texture.relief import lift, parallax
from nerf_plugin.texture.softness import footprint, misfit, rim_of
from tests.nerf_plugin.analytic import Torus
from tests.nerf_plugin.test_mesh_fusion import ring


def paint(points):
    """The true colour of a place: smooth, with a sharp stripe."""
    base = 0.5 + 0.3 * np.sin(4 * points)
    base[np.abs(points[:, 0]) < 0.05] = [0.1, 0.2, 0.9]
    return base


def photograph(mesh, camera, supersample=4):
    raster = rasterize(mesh.vertices, mesh.faces, camera, supersample)
    seen = raster["face"] >= 0
    color = np.zeros((*seen.shape, 3))
    color[seen] = paint(corner_values(raster, mesh.faces, mesh.vertices)[seen])
    shape = (camera.height, supersample, camera.width, supersample)
    alpha = seen.reshape(shape).mean(axis=(1, 3))
    rgb = color.reshape(*shape, 3).mean(axis=(1, 3)) / np.maximum(alpha, 1e-9)[..., None]
    return np.rint(np.dstack([rgb, alpha]) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def scene():
    field = Torus(40)
    mesh = merge(
        [extract_block(field, b, iso_level(field.voxel)) for b in blocks(field.lo, field.voxel, field.resolution)]
    )
    mesh = decimate(mesh, 3000)
    cameras = list(ring([-0.8, -0.3, 0.3, 0.8], count=8))
    photos = [photograph(mesh, camera) for camera in cameras]
    atlas = pack_charts(mesh, [chart_chunk(mesh, rows) for rows in atlas_chunks(mesh, 800)], 256)
    return mesh, atlas, cameras, photos


def bake(scene, size=256, bands=32, fill=None, views=None):
    mesh, atlas, cameras, photos = scene
    if views is None:
        views = [photo_view(photo, camera, mesh) for photo, camera in zip(photos, cameras, strict=True)]
    return assemble([bake_band(mesh, atlas, views, band, fill) for band in bake_bands(size, bands)], size)


def test_charts_cover_every_face_once_and_do_not_overlap(scene):
    mesh, atlas, _, _ = scene
    assert atlas.faces.shape == mesh.faces.shape and 0 <= atlas.uv.min() and atlas.uv.max() <= 1
    corners = atlas.uv[atlas.faces] * 1024
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / 2
    flat = np.column_stack([atlas.uv * 1024, np.ones(len(atlas.uv))])
    from nerf_plugin.mesh.raster import _rasterize

    face, _, _ = _rasterize(flat, atlas.faces, 1024, 1024, False)
    # Faces that overlapped would cover fewer texels than their areas say.
    assert (face >= 0).sum() == pytest.approx(area, rel=0.01)


def test_the_bake_finds_the_true_colours_seen_from_a_new_camera(scene):
    mesh, atlas, _, _ = scene
    texture, info = bake(scene)
    assert info["seen"] > 0.99
    camera = next(ring([0.55], count=5))
    image, alpha = render_mesh(mesh, camera, atlas, texture)
    truth = photograph(mesh, camera) / 255.0
    over_white = truth[..., :3] * truth[..., 3:] + 1 - truth[..., 3:]
    assert metrics.psnr(image, over_white) > 27
    assert np.abs(alpha - truth[..., 3]).max() < 0.3


def test_the_number_of_bands_changes_nothing(scene):
    assert np.array_equal(bake(scene, 128, bands=1)[0], bake(scene, 128, bands=7)[0])


def test_one_photo_that_lies_is_outvoted(scene):
    mesh, atlas, cameras, photos = scene
    honest, _ = bake(scene, 128)
    wrong = photos[3].copy()
    wrong[..., :3] = [255, 0, 255]
    fooled, _ = bake((mesh, atlas, cameras, [*photos[:3], wrong, *photos[4:]]), 128)
    assert np.abs(fooled.astype(int) - honest).mean() < 3


def test_texels_that_no_photo_sees_come_from_the_field(scene):
    mesh, atlas, cameras, photos = scene
    above = [photo_view(p, c, mesh) for p, c in zip(photos, cameras, strict=True) if c.position[2] > 2]
    texture, info = bake(
        scene, 128, fill=lambda points, normals: np.tile([0.0, 1.0, 0.0], (len(points), 1)), views=above
    )
    assert 0.2 < info["seen"] < 0.9
    below = next(ring([-0.9], count=1))
    image, alpha = render_mesh(mesh, below, atlas, texture)
    assert np.median(image[alpha == 1], axis=0)[1] > 0.9


def test_bad_input_is_refused(scene):
    mesh, _, cameras, photos = scene
    with pytest.raises(MeshError, match="between 16 and 8192"):
        bake_bands(10)
    with pytest.raises(MeshError, match="does not match a camera of 96x96 RGBA"):
        photo_view(photos[0][:, :, :3], cameras[0], mesh)
    blind = [photo_view(np.zeros_like(photo), camera, mesh) for photo, camera in zip(photos, cameras, strict=True)]
    with pytest.raises(MeshError, match="no photo sees any of the surface"):
        bake(scene, 64, views=blind)


def test_the_bake_agrees_with_its_twin(scene):
    mesh, atlas, cameras, photos = scene
    views = [photo_view(photo, camera, mesh) for photo, camera in zip(photos, cameras, strict=True)]
    texels = band_texels(mesh, atlas, bake_bands(128, 1)[0])
    places, normals = texels["position"], texels["normal"]
    chosen = np.linspace(0, len(places) - 1, 60).astype(int)
    color, weight = blend(places[chosen], normals[chosen], views, 0.01)
    center = places[chosen].mean(axis=0)
    unit = max((v["camera"][12] / np.linalg.norm(center - v["camera"][9:12])) ** 2 for v in views)
    for i, row in enumerate(chosen):
        slow, total = blend_slow(places[row], normals[row], views, 0.01, unit)
        assert weight[i] == pytest.approx(total, rel=1e-5)
        assert color[i] == pytest.approx(slow, abs=1e-5)
    assert (weight > 0).sum() > 50


def polished(scene, texture, photos=None):
    mesh, atlas, cameras, taken = scene
    photos = taken if photos is None else photos
    groups = [[(photos[i], cameras[i]) for i in group] for group in polish_groups(len(photos))]
    return polish(texture, [polish_part(mesh, atlas, texture, group) for group in groups])


def inside(scene, texture, photos=None):
    """PSNR of the mesh's pictures against the photos, where the mesh covers pixels wholly."""
    mesh, atlas, cameras, taken = scene
    error = []
    for photo, camera in zip(taken if photos is None else photos, cameras, strict=True):
        image, alpha = render_mesh(mesh, camera, atlas, texture)
        error.append(((image - photo[..., :3] / 255)[(alpha == 1) & (photo[..., 3] == 255)] ** 2).ravel())
    return -10 * np.log10(np.concatenate(error).mean())


def test_polish_agrees_with_its_twin(scene):
    mesh, atlas, cameras, _ = scene
    small = [camera.scaled(0.4) for camera in cameras[:2]]
    pairs = [(photograph(mesh, camera), camera) for camera in small]
    texture = np.random.Generator(np.random.Philox(5)).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    part = polish_part(mesh, atlas, texture, pairs)
    total = np.zeros((64 * 64, 4))
    total[part["texel"]] = part["lack"]
    assert len(part["texel"]) > 300
    np.testing.assert_allclose(total, polish_slow(mesh, atlas, texture, pairs).reshape(-1, 4), rtol=1e-3, atol=1e-2)


def test_polish_makes_pictures_of_the_mesh_more_like_the_photos(scene):
    before, _ = bake(scene)
    once = polished(scene, before)
    assert inside(scene, once) > inside(scene, before) + 1
    assert inside(scene, polished(scene, once)) > inside(scene, once)


def test_a_passer_by_is_not_polished_onto_the_surface(scene):
    """One photo in 32 has a black patch: the texture follows the others."""
    clean, _ = bake(scene)
    photos = [photo.copy() for photo in scene[3]]
    photos[3][:, :, :3] = 0
    spoiled = polished(scene, clean, photos)
    assert inside(scene, spoiled) > inside(scene, clean)


def test_what_no_photo_shows_stays_as_it_is(scene):
    mesh, atlas, cameras, photos = scene
    before, _ = bake(scene)
    part = polish_part(mesh, atlas, before, [(photos[0], cameras[0])])
    after = polish(before, [part]).reshape(-1, 3)
    apart = np.setdiff1d(np.arange(256 * 256), part["texel"])
    assert len(apart) > 1000 and np.array_equal(after[apart], before.reshape(-1, 3)[apart])


def test_parallax_agrees_with_its_twin(scene):
    mesh, _, cameras, _ = scene
    seed = 11
    rng = np.random.Generator(np.random.Philox(seed))
    camera = cameras[5].scaled(0.4)
    raster = rasterize(mesh.vertices, mesh.faces, camera, 2, closed=True)
    shown, lack = (rng.uniform(0, 255, (camera.height, camera.width, 3)).astype(np.float32) for _ in range(2))
    weight = np.where(raster["face"][::2, ::2] >= 0, rng.uniform(0.1, 1, shown.shape[:2]), 0).astype(np.float32)
    total = np.zeros((len(mesh.vertices), 2))
    parallax(mesh, mesh.vertex_normals(), raster, 2, pack_camera(camera), shown, lack, weight, total)
    slow = parallax_slow(mesh, camera, shown, lack, weight, 2)
    assert (slow[:, 1] > 0).sum() > 100
    np.testing.assert_allclose(total, slow, rtol=1e-4, atol=1e-4 * np.abs(slow).max(), err_msg=f"seed {seed}")


def test_relief_brings_a_dented_surface_back(scene):
    mesh, atlas, cameras, photos = scene
    seed = 3
    waves = np.sin(np.random.Generator(np.random.Philox(seed)).uniform(5, 9, 3) * mesh.vertices).prod(axis=1)
    dented = mesh.with_(vertices=mesh.vertices + 0.03 * waves[:, None] * mesh.vertex_normals())
    texture, _ = bake((dented, atlas, cameras, photos))
    groups = [[(photos[i], cameras[i]) for i in group] for group in polish_groups(len(photos))]
    parts = [polish_part(dented, atlas, texture, group, relief=True) for group in groups]
    lifted = lift(dented, [part["relief"] for part in parts], 0.02, [part["edges"] for part in parts])
    off, left = (np.abs(Torus(40).distance(x.vertices)).mean() for x in (dented, lifted))
    assert left < 0.6 * off, f"seed {seed}: {off:.5f} -> {left:.5f}"
    moved = np.linalg.norm(lifted.vertices - dented.vertices, axis=1)
    assert moved.max() <= 0.02 + 1e-12 and np.array_equal(lifted.faces, dented.faces)


def test_where_nothing_is_said_nothing_moves(scene):
    mesh = scene[0]
    silent = lift(mesh, [np.zeros((len(mesh.vertices), 2))], 1.0)
    assert np.array_equal(silent.vertices, mesh.vertices)


def test_a_picture_is_the_same_whatever_is_held_at_a_time(scene, monkeypatch):
    mesh, atlas, cameras, _ = scene
    texture = np.random.Generator(np.random.Philox(2)).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    camera = cameras[9].scaled(0.5)
    image, alpha = render_mesh(mesh, camera, atlas, texture, closed=True)
    monkeypatch.setattr("nerf_plugin.texture.render.BAND", 5 * 16 * camera.width)
    again, share = render_mesh(mesh, camera, atlas, texture, closed=True)
    assert 0 < alpha.mean() < 1
    np.testing.assert_allclose(again, image, atol=0.02)
    np.testing.assert_allclose(share, alpha, atol=0.02)
    assert (again != image).mean() < 0.01  # a sample on an edge may fall to either side


def test_a_pixel_is_a_little_softer_than_its_square(scene):
    """The edge of a half plane that ends in the middle of a pixel: the pixels beside it see a little of it."""
    corners = np.array([[-9.0, -9, 0], [0.0, -9, 0], [0.0, 9, 0], [-9.0, 9, 0]])
    mesh = scene[0].with_(vertices=corners, faces=np.array([[0, 1, 2], [0, 2, 3]], np.int32), colors=None)
    uv, faces = np.full((4, 2), 0.5), mesh.faces
    camera = Camera.from_matrix(np.column_stack([np.eye(3), [0.0, 0, 3]]), 9, 9, 30.0)
    _, alpha = render_mesh(mesh, camera, Atlas(uv, faces, 1, 1.0), np.zeros((4, 4, 3), np.uint8))
    assert alpha[4] == pytest.approx([1, 1, 1, 1, 0.5, 0, 0, 0, 0])
    moved = Camera.from_matrix(np.column_stack([np.eye(3), [0.05, 0, 3]]), 9, 9, 30.0)
    _, alpha = render_mesh(mesh, moved, Atlas(uv, faces, 1, 1.0), np.zeros((4, 4, 3), np.uint8))
    assert alpha[4] == pytest.approx([1, 1, 1, 13 / 14, 1 / 14, 0, 0, 0, 0], abs=1e-6)


def test_a_footprint_agrees_with_its_twin():
    seed = 7
    samples = np.random.Generator(np.random.Philox(seed)).uniform(0, 255, (24, 36, 4)).astype(np.float32)
    for fine, rim in ((2, 0.0), (2, 0.2), (4, 0.25), (3, 1 / 12)):
        slow = footprint_slow(samples, fine, rim)
        np.testing.assert_allclose(footprint(samples, fine, rim), slow, rtol=1e-5, err_msg=f"seed {seed}")


@pytest.mark.parametrize("rim", [0.0, 1 / 16, 1 / 8])
def test_the_softness_of_photos_is_found_in_their_outlines(scene, rim):
    mesh, _, cameras, _ = scene
    parts = []
    for camera in cameras[::8]:
        face = rasterize(mesh.vertices, mesh.faces, camera, 8, closed=True)["face"]
        alpha = footprint_slow((face >= 0).astype(np.float32)[..., None], 8, rim)[..., 0]
        parts.append(misfit(mesh, np.rint(alpha * 255).astype(np.uint8), camera))
    assert abs(rim_of(parts, 9.0) - rim) <= 1 / 48 + 1e-9


def test_photos_without_a_mask_tell_no_softness(scene):
    mesh, _, cameras, _ = scene
    full = np.full((cameras[0].height, cameras[0].width), 255, np.uint8)
    assert rim_of([misfit(mesh, full, cameras[0])], 0.5) == 0.5


def test_sharp_photos_are_no_softer_than_their_squares(scene):
    """Photos taken with as many samples as `misfit` looks at: no rim at all."""
    mesh, _, cameras, photos = scene
    assert rim_of([misfit(mesh, photos[i][..., 3], cameras[i]) for i in (0, 9, 18)], 9.0) == 0.0
