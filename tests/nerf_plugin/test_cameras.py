"""Cameras: rays and projections agree with each other, with a hand-made case, and across sizes and lenses."""

import numpy as np
import pytest

from nerf_plugin.cameras import Camera, distort, focus_point, look_at, undistort


def camera(**kwargs):
    pose = look_at(np.array([3.0, -2.0, 1.5]), np.array([0.1, 0.2, 0.3]))
    return Camera.from_matrix(pose, 64, 48, 70.0, **{"fy": 72.0, "cx": 31.0, "cy": 25.0, **kwargs})


def test_a_ray_through_the_middle_of_a_hand_made_camera():
    straight = Camera.from_matrix(np.eye(4), 4, 2, 2.0)
    origin, directions = straight.rays(np.array([1, 2]), np.array([0, 1]))
    assert np.array_equal(origin, np.zeros(3, np.float32))
    expected = np.array([[-0.25, 0.25, -1.0], [0.25, -0.25, -1.0]])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(directions, expected, atol=1e-7)
    assert directions.dtype == np.float32


@pytest.mark.parametrize(
    "lens",
    [
        {},
        {"distortion": (0.06, -0.08, -0.001, 0.0002)},
        {"distortion": (-0.2, 0.05, 0.001, -0.002, 0.01)},
        {"distortion": (0.03, -0.01, 0.002, 0.0), "fisheye": True},
    ],
)
def test_projecting_a_point_on_a_ray_gives_the_pixel_centre_back(lens):
    cam = camera(**lens)
    xs, ys = (grid.ravel() for grid in np.meshgrid(np.arange(64), np.arange(48)))
    origin, directions = cam.rays(xs, ys)
    pixels, depth = cam.project(origin + 2.5 * directions.astype(np.float64))
    np.testing.assert_allclose(pixels, np.stack([xs + 0.5, ys + 0.5], 1), atol=2e-4)
    assert (depth > 0).all() and (depth <= 2.5 + 1e-6).all()


def test_points_behind_have_negative_depth():
    cam = camera()
    _, depth = cam.project(cam.position - cam.forward * np.array([[1.0], [-1.0]]))
    np.testing.assert_allclose(depth, [-1, 1])


def test_resizing_keeps_what_each_place_of_the_image_sees():
    cam, small = camera(), camera().scaled(0.5)
    assert (small.width, small.height) == (32, 24)
    point = np.array([[0.3, 0.1, 0.2]])
    np.testing.assert_allclose(small.project(point)[0] * 2, cam.project(point)[0])


@pytest.mark.parametrize(("k", "fisheye"), [((0.1, -0.05, 0.002, -0.001, 0.01), False), ((0.05, 0.01, 0.0, 0.0), True)])
def test_undistort_inverts_distort(k, fisheye):
    rng = np.random.default_rng(7)
    x, y = rng.uniform(-0.7, 0.7, (2, 500))
    ux, uy = undistort(*distort(x, y, k, fisheye), k, fisheye)
    np.testing.assert_allclose(np.stack([ux, uy]), np.stack([x, y]), atol=1e-9)


@pytest.mark.parametrize("k1", [0.15, -0.15])
def test_the_pinhole_of_a_lens_sees_only_what_the_photo_shows(k1):
    cam = camera(distortion=(k1, 0.0, 0.001, 0.001))
    flat = cam.pinhole()
    assert flat.distortion == ()
    corners = np.array([[0, 0], [64, 0], [0, 48], [64, 48], [32, 0], [32, 48], [0, 24], [64, 24]], np.float64)
    world = flat.unproject(corners) @ flat.rotation.T + flat.position
    seen, _ = cam.project(world)
    assert (seen > -0.2).all() and (seen[:, 0] < 64.2).all() and (seen[:, 1] < 48.2).all()


def test_plain_form_gives_the_same_bits_back():
    cam = camera(distortion=(0.1, 0.2, 0.0, 0.0))
    again = Camera.from_plain(cam.to_plain())
    assert again.to_plain() == cam.to_plain()
    assert again.rotation.tobytes() == cam.rotation.tobytes()


def test_focus_point_is_where_the_cameras_look():
    target = np.array([0.4, -0.3, 1.0])
    spots = np.array([[3, 0, 1], [0, 3, 2], [-2, 1, 0.0]])
    cameras = [Camera.from_matrix(look_at(spot, target), 10, 10, 10.0) for spot in spots]
    np.testing.assert_allclose(focus_point(cameras), target, atol=1e-9)
