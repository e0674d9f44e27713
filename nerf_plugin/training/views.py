"""What training needs of a photo: its pixels on the rungs of a pyramid, and which of them are worth a ray."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from nerf_plugin.kernels.pixels import dilate, halve, premultiply, take_chunks, tile_order
from nerf_plugin.training.schedule import TILE, RoundPlan, generator, rungs
from nerf_plugin.training.settings import Settings


def camera_row(camera: Any) -> np.ndarray:
    """(16,) float64: rotation (row-major), position, fx, fy, cx, cy of a `nerf_plugin.cameras.Camera`."""
    intrinsics = [camera.fx, camera.fy, camera.cx, camera.cy]
    return np.concatenate([np.asarray(camera.rotation).ravel(), camera.position, intrinsics]).astype(np.float64)


def prepare_view(settings: Settings, index: int, camera: Any, image: np.ndarray) -> dict[str, Any]:
    """The map function of the preparing stage: one photo, once.

    image: (H, W, 4) uint8 straight-alpha RGBA as `View.image()` gives it. Returns: camera (16,) float64, size
    [width, height]; rungs: {str(rung): {pixels (h, w, 4) uint8 premultiplied, candidates (n,) int32 pixel numbers in
    the order of tiles}}; mask (h, w) uint8, 1 where the ring around the object ends, on rung mask_rung; opaque:
    whether the photo has no transparency at all.
    """
    height, width = image.shape[:2]
    wanted = rungs(settings, (width, height))
    pixels = np.empty_like(image)
    premultiply(np.ascontiguousarray(image), pixels)
    opaque = bool((pixels[..., 3] == 255).all())
    result: dict[str, Any] = {"camera": camera_row(camera), "size": [width, height], "rungs": {}}
    result["opaque"] = opaque
    for rung in range(wanted[-1] + 1):
        if rung:
            smaller = np.empty((pixels.shape[0] // 2, pixels.shape[1] // 2, 4), np.uint8)
            halve(pixels, smaller)
            pixels = smaller
        near = np.empty(pixels.shape[:2], np.uint8)
        dilate((pixels[..., 3] > 0).astype(np.uint8), settings.ring, near)
        if rung == wanted[0]:
            result["mask"], result["mask_rung"] = near, rung
        if rung in wanted:
            lucky = generator(settings.seed, 1, index, rung).random(near.shape, np.float32) < settings.outside
            order = np.empty(near.size, np.int32)
            count = tile_order(near | lucky.astype(np.uint8), TILE, order)
            result["rungs"][str(rung)] = {"pixels": pixels, "candidates": order[:count].copy()}
    return result


def rung_camera(camera: np.ndarray, rung: int) -> np.ndarray:
    """The camera row for an image that was halved `rung` times."""
    scaled = camera.copy()
    scaled[12:] *= 0.5**rung
    return scaled


@lru_cache(256)
def _order(seed: int, level: int, index: int, epoch: int, total: int) -> np.ndarray:
    """(total,) int32: in which order an epoch of a view's stream reads its chunks; kept, for a round reads few."""
    return generator(seed, 2, level, index, epoch).permutation(total).astype(np.int32)


def draw(settings: Settings, index: int, plan: RoundPlan, candidates: np.ndarray) -> np.ndarray:
    """Pixel numbers, (n,) int32, of the chunks that a round reads from the endless stream of view `index`."""
    start, chunks = plan.position, plan.chunks
    total = -(-len(candidates) // plan.chunk)
    if total == 0:
        return candidates[:0]
    orders = []
    left = chunks
    while left > 0:
        epoch, offset = divmod(start, total)
        orders.append(_order(settings.seed, plan.level, index, epoch, total)[offset : offset + left])
        start += len(orders[-1])
        left -= len(orders[-1])
    picked = np.empty(chunks * plan.chunk, np.int32)
    count = take_chunks(candidates, np.concatenate(orders) if len(orders) > 1 else orders[0], plan.chunk, picked)
    return picked[:count]
