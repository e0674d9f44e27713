"""Measures of a capture's health: one view at a time, and views against each other.

*Blur* is Crete et al.'s perceptual blur ("The blur effect", 2007; scikit-image's `blur_effect`): how little a picture
changes when it is blurred again; 0 is crisp, 1 nothing but blur. It depends on the subject, so a view is held against
the capture's median.

*Poses* are checked without knowing the truth. With masks: space is carved by all views but a few (a voxel stays when
nine of ten views that see it agree), and every mask is compared with what is left, seen from its camera. Without masks:
corner features (ORB, Rublee et al. 2011) are matched between neighbouring views, and the matches' epipolar distances
say whether the two poses can both be right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nerf_plugin.cameras import Camera, focus_point
from nerf_plugin.datasets import images
from nerf_plugin.datasets.model import View

SIDE = 320
_LUMA = np.array([0.2126, 0.7152, 0.0722])


@dataclass(frozen=True, eq=False)
class Look:
    """One view, small: `pixels` (h, w, 4) uint8, its camera, and what was measured on it.

    `blur` 0..1; `light` median luminance 0..255 of the subject, `brightest` its 99th percentile; `clipped` share of it
    that is burnt out; `cover` share of the image that is subject; `cut` whether the subject runs over the border.
    """

    view: View
    camera: Camera
    pixels: np.ndarray
    blur: float
    light: float
    brightest: float
    clipped: float
    cover: float
    cut: bool


def look(view: View) -> Look:
    """Decodes a view and measures it."""
    from skimage.measure import blur_effect

    full = view.image()
    factor = min(1.0, SIDE / max(view.camera.width, view.camera.height))
    camera = view.camera.scaled(factor)
    pixels = images.resize(full, camera.width, camera.height)
    inside = pixels[..., 3] > 127
    grey = pixels[..., :3] @ _LUMA
    values = grey[inside]
    alpha = pixels[..., 3] / 255
    backed = grey * alpha + (float(np.median(values)) if len(values) else 0.0) * (1 - alpha)
    border = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
    return Look(
        view=view,
        camera=camera,
        pixels=pixels,
        blur=float(blur_effect(backed / 255)) if min(pixels.shape[:2]) > 16 else 0.0,
        light=float(np.median(values)) if len(values) else 0.0,
        brightest=float(np.percentile(values, 99)) if len(values) else 0.0,
        clipped=float((pixels[inside][:, :3].min(1) >= 250).mean()) if len(values) else 0.0,
        cover=float(inside.mean()),
        cut=bool(border.mean() > 0.02) and not bool(inside.all()),
    )


def silhouette_agreement(looks: list[Look], box: np.ndarray, side: int = 44) -> np.ndarray:
    """(V,) intersection over union of each view's mask with the carved shape seen from it; NaN where the mask is
    empty.
    """
    axes = [np.linspace(box[0, i], box[1, i], side) for i in range(3)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    inside, seen = np.zeros(len(points), np.int32), np.zeros(len(points), np.int32)
    places = []
    for one in looks:
        pixels, depth = one.camera.project(points)
        at = np.floor(pixels).astype(np.int64)
        size = (one.camera.width, one.camera.height)
        here = (depth > 0) & (at >= 0).all(1) & (at < size).all(1)
        at[~here] = 0
        mask = (one.pixels[at[:, 1], at[:, 0], 3] > 127) & here
        seen += here
        inside += mask
        places.append((at, here))
    solid = (seen > 0) & (inside >= 0.9 * seen)
    step = float((box[1] - box[0]).max()) / (side - 1)
    result = np.full(len(looks), np.nan)
    for number, (one, (at, here)) in enumerate(zip(looks, places)):
        mask = one.pixels[..., 3] > 127
        if not mask.any():
            continue
        keep = solid & here
        away = np.median(np.linalg.norm(points[keep] - one.camera.position, axis=1)) if keep.any() else 1.0
        radius = max(1, int(np.ceil(0.6 * step * one.camera.fx / away)))
        shape = _splat(mask.shape, at[keep], radius)
        result[number] = (shape & mask).sum() / max((shape | mask).sum(), 1)
    return result


def _splat(shape: tuple[int, int], at: np.ndarray, radius: int) -> np.ndarray:
    """(H, W) bool: squares of half side `radius` around each of `at` (N, 2) columns and rows, by an integral image."""
    height, width = shape
    edges = np.zeros((height + 1, width + 1), np.int64)
    x0, y0 = np.maximum(at[:, 0] - radius, 0), np.maximum(at[:, 1] - radius, 0)
    x1, y1 = np.minimum(at[:, 0] + radius + 1, width), np.minimum(at[:, 1] + radius + 1, height)
    for y, x, sign in ((y0, x0, 1), (y0, x1, -1), (y1, x0, -1), (y1, x1, 1)):
        np.add.at(edges, (y, x), sign)
    return np.asarray(edges.cumsum(0).cumsum(1)[:height, :width] > 0)


def epipolar_agreement(looks: list[Look], neighbours: int = 3) -> np.ndarray:
    """(V,) share of feature matches with the nearest views that obey both poses; NaN where too little could be
    matched.
    """
    features = [_features(one) for one in looks]
    votes: list[list[float]] = [[] for _ in looks]
    unmatched: list[tuple[int, int]] = []
    positions = np.stack([one.camera.position for one in looks])
    scale = float(np.median(np.linalg.norm(positions - positions.mean(0), axis=1)))
    for i, beside in enumerate(nearest([one.camera for one in looks], neighbours)):
        for j in (int(v) for v in beside):
            share = _pair_agreement(looks[i], looks[j], features[i], features[j])
            if share is not None:
                votes[i].append(share)
                votes[j].append(share)
            elif min(len(features[i][0]), len(features[j][0])) >= 100:
                if _should_match(looks[i].camera, looks[j].camera, scale):
                    unmatched.append((i, j))
    # Where most views match their neighbours, failing to match a view that should look the same tells against a pose.
    if sum(map(bool, votes)) * 2 > len(looks):
        for pair in unmatched:
            for i in pair:
                votes[i].append(0.0)
    return np.array([np.median(v) if v else np.nan for v in votes])


def _should_match(a: Camera, b: Camera, scale: float) -> bool:
    """Whether two cameras, if their poses are right, see nearly the same picture."""
    near = float(np.linalg.norm(a.position - b.position)) < 0.35 * scale
    return near and float(a.forward @ b.forward) > 0.94 and float(a.rotation[:, 1] @ b.rotation[:, 1]) > 0.9


def nearest(cameras: list[Camera], count: int) -> np.ndarray:
    """(V, count) indices of the cameras that stand and look most alike, nearest first; fewer columns when there are
    few.
    """
    positions = np.stack([camera.position for camera in cameras])
    ahead = np.stack([camera.forward for camera in cameras])
    scale = np.median(np.linalg.norm(positions - positions.mean(0), axis=1)) + 1e-9
    apart = np.linalg.norm(positions[:, None] - positions, axis=2) / scale + 2 * (1 - ahead @ ahead.T)
    np.fill_diagonal(apart, np.inf)
    return np.argsort(apart, axis=1, kind="stable")[:, : min(count, len(cameras) - 1)]


def _features(one: Look) -> tuple[np.ndarray, np.ndarray]:
    from skimage.feature import ORB

    grey = one.pixels[..., :3] @ _LUMA / 255
    finder = ORB(n_keypoints=400, fast_threshold=0.04)
    try:
        finder.detect_and_extract(grey)
    except (RuntimeError, ValueError, IndexError):  # what ORB raises for a picture without corners
        return np.empty((0, 2)), np.empty((0, 256), bool)
    return finder.keypoints[:, ::-1] + 0.5, finder.descriptors


def _pair_agreement(
    a: Look, b: Look, of_a: tuple[np.ndarray, np.ndarray], of_b: tuple[np.ndarray, np.ndarray]
) -> float | None:
    from skimage.feature import match_descriptors

    if len(of_a[0]) < 20 or len(of_b[0]) < 20:
        return None
    pairs = match_descriptors(of_a[1], of_b[1], cross_check=True, max_ratio=0.85)
    if len(pairs) < 12:
        return None
    return float((_epipolar_pixels(a.camera, b.camera, of_a[0][pairs[:, 0]], of_b[0][pairs[:, 1]]) < 2.5).mean())


def _epipolar_pixels(a: Camera, b: Camera, xa: np.ndarray, xb: np.ndarray) -> np.ndarray:
    """(N,) Sampson distance in pixels of matches `xa`, `xb` (N, 2) (Hartley and Zisserman, eq. 11.9)."""

    def inverse(camera: Camera) -> np.ndarray:
        k = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
        return np.linalg.inv(k)

    flip = np.array([1.0, -1.0, -1.0])
    ra, rb = a.rotation * flip, b.rotation * flip
    baseline = rb.T @ (a.position - b.position)
    if np.linalg.norm(baseline) < 1e-9:
        return np.zeros(len(xa))
    cross = np.array([[0, -baseline[2], baseline[1]], [baseline[2], 0, -baseline[0]], [-baseline[1], baseline[0], 0]])
    f = inverse(b).T @ cross @ rb.T @ ra @ inverse(a)
    ha, hb = (np.concatenate([x, np.ones((len(x), 1))], 1) for x in (xa, xb))
    lb, la = ha @ f.T, hb @ f
    value = (hb * lb).sum(1) ** 2 / ((lb[:, :2] ** 2).sum(1) + (la[:, :2] ** 2).sum(1) + 1e-12)
    return np.asarray(np.sqrt(value))


@dataclass(frozen=True)
class Coverage:
    """From where the subject was seen: degrees; azimuth about the cameras' mean up, from an arbitrary zero."""

    azimuth: np.ndarray
    elevation: np.ndarray
    gap: float
    gap_at: float
    parallax: float


def coverage(cameras: list[Camera]) -> Coverage:
    """Directions from the point that the cameras look at. `gap` is the widest sector without a camera, centred on
    `gap_at`; `parallax` the largest spread of positions over the distance to that point."""
    centre = focus_point(cameras)
    up = np.mean([camera.rotation[:, 1] for camera in cameras], axis=0)
    up = up / np.linalg.norm(up) if np.linalg.norm(up) > 0.1 else np.array([0.0, 0.0, 1.0])
    side = np.cross(up, (1, 0, 0) if abs(up[0]) < 0.8 else (0, 1, 0))
    side /= np.linalg.norm(side)
    offset = np.stack([camera.position for camera in cameras]) - centre
    distance = np.linalg.norm(offset, axis=1) + 1e-12
    azimuth = np.degrees(np.arctan2(offset @ np.cross(up, side), offset @ side)) % 360
    elevation = np.degrees(np.arcsin(np.clip(offset @ up / distance, -1, 1)))
    flat = np.sort(azimuth[np.abs(elevation) < 75]) if (np.abs(elevation) < 75).any() else np.sort(azimuth)
    gaps = np.diff(np.append(flat, flat[0] + 360))
    widest = int(gaps.argmax())
    spread = np.linalg.norm(offset - offset.mean(0), axis=1).max() / float(np.median(distance))
    middle = float((flat[widest] + gaps[widest] / 2) % 360)
    return Coverage(azimuth, elevation, float(gaps[widest]), middle, float(spread))
