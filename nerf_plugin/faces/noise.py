"""Gradient noise from an integer hash (Perlin, "Improving noise", 2002, with a hash in place of the permutation table).

The hash works on unsigned 32-bit integers and the rest is float64 in a fixed order, so that the NumPy twin agrees to
the last bits and a face is the same wherever it is made.
"""

from __future__ import annotations

import numpy as np

from nerf_plugin.kernels import kernel


@kernel
def _hash(i, j, k, seed):
    # Numba widens products of 32-bit integers, so every step is cut back.
    h = np.uint32(np.uint32(seed) * np.uint32(0x9E3779B1))
    h = np.uint32(h ^ np.uint32(np.uint32(i) * np.uint32(0x85EBCA77)))
    h = np.uint32(h ^ np.uint32(np.uint32(j) * np.uint32(0xC2B2AE3D)))
    h = np.uint32(h ^ np.uint32(np.uint32(k) * np.uint32(0x27D4EB2F)))
    h = np.uint32(np.uint32(h ^ (h >> np.uint32(15))) * np.uint32(0x2C1B3C6D))
    h = np.uint32(np.uint32(h ^ (h >> np.uint32(12))) * np.uint32(0x297A2D39))
    h = np.uint32(h ^ (h >> np.uint32(15)))
    return h


@kernel
def _corner(i, j, k, seed, x, y, z):
    h = _hash(i, j, k, seed) & np.uint32(15)
    u = x if h < 8 else y
    v = y if h < 4 else (x if h == 12 or h == 14 else z)
    return (u if (h & np.uint32(1)) == 0 else -u) + (v if (h & np.uint32(2)) == 0 else -v)


@kernel
def noise1(x, y, z, seed):
    """Noise at one point; about -1..1, zero at integer lattice points, features of size one."""
    fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
    i, j, k = np.int64(fx), np.int64(fy), np.int64(fz)
    x -= fx
    y -= fy
    z -= fz
    u = x * x * x * (x * (x * 6.0 - 15.0) + 10.0)
    v = y * y * y * (y * (y * 6.0 - 15.0) + 10.0)
    w = z * z * z * (z * (z * 6.0 - 15.0) + 10.0)
    a = _corner(i, j, k, seed, x, y, z)
    b = _corner(i + 1, j, k, seed, x - 1.0, y, z)
    c = _corner(i, j + 1, k, seed, x, y - 1.0, z)
    d = _corner(i + 1, j + 1, k, seed, x - 1.0, y - 1.0, z)
    e = _corner(i, j, k + 1, seed, x, y, z - 1.0)
    f = _corner(i + 1, j, k + 1, seed, x - 1.0, y, z - 1.0)
    g = _corner(i, j + 1, k + 1, seed, x, y - 1.0, z - 1.0)
    h = _corner(i + 1, j + 1, k + 1, seed, x - 1.0, y - 1.0, z - 1.0)
    ab, cd = a + u * (b - a), c + u * (d - c)
    ef, gh = e + u * (f - e), g + u * (h - g)
    abcd, efgh = ab + v * (cd - ab), ef + v * (gh - ef)
    return abcd + w * (efgh - abcd)


@kernel
def _fbm(points, octaves, seed, out):
    for n in range(len(points)):
        x, y, z, size, total = points[n, 0], points[n, 1], points[n, 2], 1.0, 0.0
        for octave in range(octaves):
            total += size * noise1(x, y, z, seed + octave)
            x, y, z, size = x * 2.03, y * 2.03, z * 2.03, size * 0.5
        out[n] = total


def fbm(points: np.ndarray, seed: int, octaves: int = 1) -> np.ndarray:
    """(N,) float64 sum of `octaves` of noise, each twice as fine and half as strong; `points` (N, 3) in units of a
    feature.
    """
    points = np.ascontiguousarray(points, np.float64)
    out = np.empty(len(points))
    _fbm(points, octaves, seed, out)
    return out


def noise_reference(points: np.ndarray, seed: int) -> np.ndarray:
    """The slow twin of `noise1`, over (N, 3) points."""
    base = np.floor(points)
    cell, frac = base.astype(np.int64), points - base
    fade = frac**3 * (frac * (frac * 6 - 15) + 10)
    total = np.zeros(len(points))
    for corner in np.ndindex(2, 2, 2):
        at = (cell + corner).astype(np.uint32)
        h = np.full(len(points), seed, np.uint32) * np.uint32(0x9E3779B1)
        for axis, prime in enumerate((0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F)):
            h ^= at[:, axis] * np.uint32(prime)
        h ^= h >> np.uint32(15)
        h *= np.uint32(0x2C1B3C6D)
        h ^= h >> np.uint32(12)
        h *= np.uint32(0x297A2D39)
        h ^= h >> np.uint32(15)
        h &= np.uint32(15)
        x, y, z = (frac - corner).T
        u = np.where(h < 8, x, y)
        v = np.where(h < 4, y, np.where((h == 12) | (h == 14), x, z))
        value = np.where(h & 1, -u, u) + np.where(h & 2, -v, v)
        total += value * np.where(corner, fade, 1 - fade).prod(1)
    return total
