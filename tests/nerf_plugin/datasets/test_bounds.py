"""Boxes around the subject, from cameras alone."""

from __future__ import annotations

import numpy as np

from nerf_plugin.cameras import Camera, look_at
from nerf_plugin.datasets import bounds


def ring(distance: float, focal: float, count: int = 12) -> list[Camera]:
    """Cameras of 100 x 80 pixels in a ring around (1, 2, 3)."""
    middle = np.array([1.0, 2.0, 3.0])
    turns = 2 * np.pi * np.arange(count) / count
    places = middle + distance * np.stack([np.cos(turns), np.sin(turns), 0.2 + 0 * turns], 1)
    return [Camera.from_matrix(look_at(tuple(place), tuple(middle)), 100, 80, focal) for place in places]


def test_the_subject_is_what_photos_without_masks_show_around_the_middle():
    cameras = ring(4.0, 200.0)
    box = bounds.subject(cameras, has_alpha=False)
    assert box is not None
    np.testing.assert_allclose(box.mean(0), [1, 2, 3], atol=1e-6)
    half = 0.5 * (box[1] - box[0])
    np.testing.assert_allclose(half, 4 * np.sqrt(1.04) * 50 / 200 * 1.05, rtol=1e-6)
    start = bounds.estimate(cameras, None, False)
    assert start is not None and (start[0] > box[0]).all() and (start[1] < box[1]).all()


def test_no_camera_stands_in_the_subject():
    wide = bounds.subject(ring(4.0, 30.0), has_alpha=False)
    assert wide is not None
    np.testing.assert_allclose(wide[1] - wide[0], 2 * 0.8 * 4 * np.sqrt(1.04), rtol=1e-6)


def test_masks_say_it_better():
    assert bounds.subject(ring(4.0, 200.0), has_alpha=True) is None
    assert bounds.subject([], has_alpha=False) is None
