"""What surrounds the box and each photo's gain: kernels against their twins, and that both are learned."""

import os
from dataclasses import replace

import numpy as np
import pytest

from nerf_plugin import reference
from nerf_plugin.cameras import Camera, look_at
from nerf_plugin.field import Field, FieldError
from nerf_plugin.kernels.shells import descend, shade
from nerf_plugin.shells import Shells
from nerf_plugin.training import Level, Settings, prepare_view
from nerf_plugin.training.local import train_views
from nerf_plugin.training.outside import first, fit_gains, going_on, next_level

SEED = int(os.environ.get("DAF_TEST_SEED", np.random.SeedSequence().entropy % 2**32))
BOUNDS = np.array([[-1.0] * 3, [1.0] * 3])
PLAIN = Settings((Level(16, 12, 2048), Level(32, 20, 4096)), hull_resolution=24, surround=1.0)


@pytest.fixture
def rng():
    print(f"DAF_TEST_SEED={SEED}")
    return np.random.default_rng(SEED)


def random_shells(rng, layers=4, side=5):
    return Shells(rng.normal(size=3), np.sort(rng.uniform(3, 12, layers - 1)), rng.normal(size=(layers, side, side, 4)))


def random_rays(rng, count):
    """Rays from inside all spheres, between them, and outside of some."""
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.concatenate([rng.normal(size=(count, 3)) * 3, directions], 1).astype(np.float32)


def gradients(shells, rays, pull):
    values = shells.values.astype(np.float32).reshape(-1)
    grads, touched = np.zeros(values.size, np.float32), np.zeros(values.size // 4, np.uint8)
    out = np.empty(len(rays) * 3, np.float32)
    layers, side = shells.values.shape[:2]
    shade(
        values, side, layers, *shells.local(np.zeros(3), 1.0), rays.reshape(-1), len(rays), True,
        pull.astype(np.float32).reshape(-1), grads, touched, out,
    )  # fmt: skip
    return grads.reshape(shells.values.shape), touched, out.reshape(-1, 3)


@pytest.mark.parametrize("layers", [1, 2, 6])
def test_colours_agree_with_the_twin(rng, layers):
    shells, rays = random_shells(rng, layers), random_rays(rng, 200)
    expected = reference.shells(shells.values, shells.centre, shells.radii, rays)
    np.testing.assert_allclose(shells.look(rays, np.zeros(3), 1.0), expected, atol=2e-3)  # it stops at 0.001 of light
    np.testing.assert_allclose(gradients(shells, rays, np.ones((200, 3)))[2], expected, atol=2e-3)


def test_another_unit_of_length_is_the_same_picture(rng):
    shells, rays = random_shells(rng), random_rays(rng, 50)
    lo, voxel = np.array([0.3, -2.0, 1.0]), 0.25
    local = rays.copy()
    local[:, :3] = (rays[:, :3] - lo) / voxel
    np.testing.assert_allclose(shells.look(local, lo, voxel), shells.look(rays, np.zeros(3), 1.0), atol=1e-4)


def test_the_map_has_no_seam(rng):
    """Two directions a hair apart have colours a hair apart, all around the lower half where the square is glued."""
    shells = random_shells(rng, 1, 4)
    angle = np.linspace(0, 2 * np.pi, 20001)
    for slope in (-3.0, -0.5, 0.0):
        d = np.stack([np.cos(angle), np.sin(angle), np.full(angle.shape, slope)], 1)
        d /= np.linalg.norm(d, axis=1, keepdims=True)
        rays = np.concatenate([np.zeros_like(d), d], 1).astype(np.float32)
        assert np.abs(np.diff(shells.look(rays, np.zeros(3), 1.0), axis=0)).max() < 5e-3


def test_gradients_are_the_derivatives(rng):
    shells, rays, pull = random_shells(rng), random_rays(rng, 40), rng.normal(size=(40, 3))
    grads, touched, _ = gradients(shells, rays, pull)
    assert (touched.reshape(shells.values.shape[:3])[np.abs(grads).max(-1) > 0] == 1).all()
    for at in rng.choice(np.argwhere(np.abs(grads) > 1e-3), 40):
        ends = []
        for sign in (1, -1):
            moved = shells.values.copy()
            moved[tuple(at)] += sign * 1e-4
            ends.append((reference.shells(moved, shells.centre, shells.radii, rays) * pull).sum())
        assert grads[tuple(at)] == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=2e-2, abs=2e-3)


def test_a_step_by_hand():
    old = np.array([1, 2, 3, 4, 5, 6, 7, 8], np.float32)
    total = np.array([0.5, 3, 0, 4, 0, 0, 0, 0], np.float32)
    moments, new, later = np.zeros(4, np.float32), np.zeros(8, np.float32), np.zeros(4, np.float32)
    descend(old, total, moments, 0.1, 0.2, 0.9, new, later)
    root = np.sqrt(25 / 3)
    np.testing.assert_allclose(new, [0.9, 2 - 0.6 / root, 3, 4 - 0.8 / root, 5, 6, 7, 8], rtol=1e-6)
    np.testing.assert_allclose(later, [0.25, 25 / 3, 0, 0], rtol=1e-6)
    descend(old, total, later, 0.1, 0.2, 0.9, new, moments)
    np.testing.assert_allclose(moments, [0.25, 25 / 3, 0, 0], rtol=1e-6)


def cameras(count, size=32):
    z = 0.8 - 1.6 * (np.arange(count) + 0.5) / count
    angle = np.arange(count) * np.pi * (3 - 5**0.5)
    at = 2.5 * np.stack([np.cos(angle) * np.sqrt(1 - z**2), np.sin(angle) * np.sqrt(1 - z**2), z], 1)
    return [Camera.from_matrix(look_at(p, (0, 0, 0)), size, size, size * 0.8) for p in at]


def sky(camera):
    """A ball of radius 0.7 before a sky that depends on the direction alone; opaque."""
    xs, ys = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    origin, d = camera.rays(xs.ravel(), ys.ravel())
    b = d @ origin
    inside = b**2 - (origin @ origin - 0.49)
    t = -b - np.sqrt(np.maximum(inside, 0))
    normal = (origin + t[:, None] * d) / 0.7
    color = np.where(inside[:, None] > 0, normal * 0.4 + 0.5, 0.5 + 0.4 * np.sin(3 * d + [0, 1, 2]))
    image = np.full((camera.height, camera.width, 4), 255, np.uint8)
    image[..., :3] = np.rint(255 * color).reshape(camera.height, camera.width, 3)
    return image


def psnr(field, held_out, factor=1.0):
    errors = [np.mean((field.render(camera).rgb * factor - sky(camera)[..., :3] / 255.0) ** 2) for camera in held_out]
    return -10 * np.log10(np.mean(errors))


def prepared(settings, photos):
    return [prepare_view(settings, i, camera, photo) for i, (camera, photo) in enumerate(photos)]


@pytest.fixture(scope="module")
def photos():
    return [(camera, sky(camera)) for camera in cameras(40)]


@pytest.fixture(scope="module")
def held_out():
    return cameras(47)[3::9]


@pytest.fixture(scope="module")
def trained(photos):
    settings = replace(PLAIN.without_masks(), shell_side=8, shell_leap=1)
    return train_views(settings, prepared(settings, photos), BOUNDS)


def test_shells_learn_the_sky(photos, held_out, trained):
    bare = replace(PLAIN.without_masks(), shells=0, alpha_weight=0.5)
    without = psnr(train_views(bare, prepared(bare, photos), BOUNDS), held_out)
    assert psnr(trained, held_out) > max(20.0, without + 3)


def test_a_field_keeps_its_shells_in_its_file(trained, held_out):
    data = trained.to_bytes()
    again = Field.from_bytes(data)
    assert again.to_bytes() == data
    assert (again.render(held_out[0]).rgb == trained.render(held_out[0]).rgb).all()
    white = again.render(held_out[0], (1.0, 1.0, 1.0)).rgb
    assert np.abs(white - trained.render(held_out[0]).rgb).max() > 0.1


def test_shells_that_make_no_sense_are_refused(trained):
    data = trained.to_bytes().replace(b'"radii": [', b'"radii": [-')
    with pytest.raises(FieldError, match="damaged"):
        Field.from_bytes(data)


def test_a_level_begins_with_the_picture_of_the_last(photos):
    settings = replace(PLAIN.without_masks(), shell_side=8, shell_leap=1)
    state = first(settings, prepared(settings, photos[:4]), BOUNDS)
    finer = next_level(settings, 1, state)
    assert finer["values"].shape == (8, 16, 16, 4) and finer["moments"].shape == (8 * 16 * 16, 2)
    leap = next_level(replace(settings, shell_leap=3), 1, state)
    assert leap["values"].shape == (8, 64, 64, 4), "few texels at first, then many"
    field_shells = Shells.from_plain(state | {"values": state["values"] + 1})
    assert (going_on(state, field_shells)["values"] == state["values"] + 1).all()


def test_gains_are_found_and_help(photos, held_out, rng):
    true = np.random.default_rng(5).uniform(0.7, 1.2, (len(photos), 1, 1, 1))
    uneven = [
        (camera, np.concatenate([np.rint(photo[..., :3] * gain[0]).clip(0, 255).astype(np.uint8), photo[..., 3:]], -1))
        for (camera, photo), gain in zip(photos, true)
    ]
    found = {}
    for exposure in (False, True):
        settings = replace(PLAIN.without_masks(), shell_side=8, shell_leap=1, exposure=exposure)
        field = train_views(settings, prepared(settings, uneven), BOUNDS)
        found[exposure] = psnr(field, held_out, 1 / np.exp(np.log(true).mean()))
    assert found[True] > found[False] + 1


def test_gains_are_the_least_squares_fit_with_mean_one():
    gains = np.array([0.5, 1.0, 2.0, 1.0])
    sums = np.ones((4, 3, 2)) * 100
    sums[..., 0] *= gains[:, None]
    sums[3] = 0  # never seen
    found = fit_gains(sums)
    np.testing.assert_allclose(found[:3], gains[:3, None] * np.ones(3), rtol=0.01)
    assert (found[3] == 1).all()
