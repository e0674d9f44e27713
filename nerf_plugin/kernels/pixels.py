"""Kernels on pixels: rays with their targets from one view, and resampling for the image pyramid."""

from __future__ import annotations

import numpy as np

from nerf_plugin.kernels import kernel


@kernel
def rays_of_pixels(pixels, width, chosen, camera, lo, voxel, rays, target, at):
    """Writes rays and targets of the pixels `chosen` from position `at` on.

    pixels: (H*W*4,) uint8 premultiplied; chosen: (n,) int32 row-major pixel numbers; camera: (16,) float64 rotation
    (row-major camera-to-world), position, fx, fy, cx, cy in pixels of this image; rays: (R*6,) origin in voxel units
    and unit direction; target: (R*4,) colour and alpha in 0..1. Pixel centres at + 1/2.
    """
    lx, ly, lz = (camera[9] - lo[0]) / voxel, (camera[10] - lo[1]) / voxel, (camera[11] - lo[2]) / voxel
    ox, oy, oz = np.float32(lx), np.float32(ly), np.float32(lz)
    m0, m1, m2, m3, m4, m5 = camera[0], camera[1], camera[2], camera[3], camera[4], camera[5]
    m6, m7, m8 = camera[6], camera[7], camera[8]
    fx, fy, cx, cy = camera[12], camera[13], camera[14], camera[15]
    wide, unit = np.uint32(width), np.float32(1.0 / 255.0)
    for n in range(len(chosen)):
        p = np.uint32(chosen[n])
        v = p // wide
        u = p - v * wide
        x, y = (u + 0.5 - cx) / fx, -(v + 0.5 - cy) / fy
        a = m0 * x + m1 * y - m2
        b = m3 * x + m4 * y - m5
        c = m6 * x + m7 * y - m8
        s = 1.0 / np.sqrt(a * a + b * b + c * c)
        r = (at + n) * 6
        rays[r], rays[r + 1], rays[r + 2] = ox, oy, oz
        rays[r + 3], rays[r + 4], rays[r + 5] = a * s, b * s, c * s
        q, o = np.int64(p) * 4, (at + n) * 4
        target[o], target[o + 1] = np.float32(pixels[q]) * unit, np.float32(pixels[q + 1]) * unit
        target[o + 2], target[o + 3] = np.float32(pixels[q + 2]) * unit, np.float32(pixels[q + 3]) * unit


@kernel
def take_chunks(candidates, order, size, out):
    """Writes the chunks number order[0], order[1], ... of `candidates`, (n,) int32, one after another into `out`; a
    chunk is `size` of them, the last one perhaps fewer. Returns how many were written."""
    n = 0
    for number in order:
        start = np.int64(number) * size
        for i in range(start, min(start + size, len(candidates))):
            out[n] = candidates[i]
            n += 1
    return n


@kernel
def premultiply(image, out):
    """Straight-alpha RGBA (H, W, 4) uint8 to premultiplied, rounded to nearest."""
    for v in range(image.shape[0]):
        for u in range(image.shape[1]):
            alpha = np.int32(image[v, u, 3])
            for i in range(3):
                out[v, u, i] = (np.int32(image[v, u, i]) * alpha + 127) // 255
            out[v, u, 3] = alpha


@kernel
def halve(image, out):
    """Mean of 2 x 2 pixels, (H, W, 4) uint8 to (H // 2, W // 2, 4), rounded; a last odd row or column is dropped."""
    for v in range(out.shape[0]):
        for u in range(out.shape[1]):
            for i in range(4):
                total = np.int32(image[2 * v, 2 * u, i]) + np.int32(image[2 * v, 2 * u + 1, i])
                total += np.int32(image[2 * v + 1, 2 * u, i]) + np.int32(image[2 * v + 1, 2 * u + 1, i])
                out[v, u, i] = (total + 2) >> 2


@kernel
def dilate(mask, radius, out):
    """Largest value within a square of `radius` pixels; mask, out (H, W) uint8."""
    h, w = mask.shape
    rowwise = np.empty_like(mask)
    for v in range(h):
        for u in range(w):
            best = mask[v, u]
            for d in range(max(0, u - radius), min(w, u + radius + 1)):
                best = max(best, mask[v, d])
            rowwise[v, u] = best
    for v in range(h):
        for u in range(w):
            best = rowwise[v, u]
            for d in range(max(0, v - radius), min(h, v + radius + 1)):
                best = max(best, rowwise[d, u])
            out[v, u] = best


@kernel
def tile_order(mask, tile, out):
    """Row-major numbers of the set pixels, tile by tile (four tiles of a square, then the next square, row-major
    inside): neighbours stay together.

    mask: (H, W) uint8; out: int32, long enough. Returns how many.
    """
    h, w = mask.shape
    n = 0
    for square in range(0, h, 2 * tile):
        for column in range(0, w, 2 * tile):
            for quarter in range(4):
                top, left = square + (quarter >> 1) * tile, column + (quarter & 1) * tile
                for v in range(top, min(h, top + tile)):
                    for u in range(left, min(w, left + tile)):
                        if mask[v, u]:
                            out[n] = v * w + u
                            n += 1
    return n
