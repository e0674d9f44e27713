"""From a program to a closed mesh with light: lattice, marching cubes, normals, occlusion, shadow.

The lattice is a product of three uneven axes, finer where eyes, nose and mouth are. It is cut into cells of 4^3
samples; samples are computed only in cells whose middle is near enough to the surface; elsewhere the middle's sign is
enough. Marching cubes works on indices and its vertices are carried to the world along the axes, piecewise linearly:
the mesh is closed whatever the spacing. This mesh *is* the face: what is photographed is it, not the distance function,
so it is exact ground truth.
"""

from __future__ import annotations

import math

import numpy as np

from nerf_plugin.faces.sculpt import REGISTERS, _run, distances
from nerf_plugin.kernels import kernel
from nerf_plugin.mesh.marching import march
from nerf_plugin.mesh.surface import Mesh
from nerf_plugin.mesh.topology import keep_components

COARSE = 4
MARGIN = 1.45
VOLUME = 88


def axis_samples(
    low: float, high: float, fine: tuple[float, float], coarse_step: float, fine_step: float
) -> np.ndarray:
    """(4 n + 1,) float64 positions from `low` past `high`, `fine_step` apart inside `fine`, else `coarse_step`."""
    blocks, at = [], low
    while at < high:
        step = fine_step if fine[0] - COARSE * coarse_step < at < fine[1] else coarse_step
        blocks.append(at + step * np.arange(COARSE))
        at += step * COARSE
    return np.append(np.concatenate(blocks), at)


@kernel
def _distance(program, x, y, z, layers, d):
    _run(program, x, y, z, d)
    low = d[0]
    for i in range(1, layers):
        low = min(low, d[i])
    return low


@kernel
def _sample(program, xs, ys, zs, layers, step):
    nx, ny, nz = len(xs), len(ys), len(zs)
    out = np.zeros((nx, ny, nz), np.float32)
    d = np.empty(REGISTERS)
    for bi in range(0, nx - 1, step):
        for bj in range(0, ny - 1, step):
            for bk in range(0, nz - 1, step):
                a, b, c = xs[bi + step] - xs[bi], ys[bj + step] - ys[bj], zs[bk + step] - zs[bk]
                x, y, z = xs[bi] + 0.5 * a, ys[bj] + 0.5 * b, zs[bk] + 0.5 * c
                middle = _distance(program, x, y, z, layers, d)
                fine = abs(middle) < 0.5 * MARGIN * math.sqrt(a * a + b * b + c * c)
                for i in range(bi, bi + step + 1):
                    for j in range(bj, bj + step + 1):
                        for k in range(bk, bk + step + 1):
                            if fine:
                                if out[i, j, k] == 0.0 or abs(out[i, j, k]) == 1.0:
                                    out[i, j, k] = -_distance(program, xs[i], ys[j], zs[k], layers, d)
                            elif out[i, j, k] == 0.0:
                                out[i, j, k] = -1.0 if middle > 0 else 1.0
    return out


def extract(
    program: np.ndarray, layers: int, xs: np.ndarray, ys: np.ndarray, zs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) float64 world and faces (F, 3) int32, closed, looking outward; without hollows that nobody
    sees.
    """
    solid = _sample(program, xs, ys, zs, layers, COARSE)
    solid[solid == 0] = np.float32(1e-12)
    vertices, faces, _ = march(solid, 0.0, (0, 0, 0), solid.shape)
    axes = (np.interp(vertices[:, i], np.arange(len(axis)), axis) for i, axis in enumerate((xs, ys, zs)))
    whole = keep_components(Mesh(np.stack(list(axes), 1), faces), count=16, least=1e-5)
    return np.ascontiguousarray(whole.vertices), np.ascontiguousarray(whole.faces)


@kernel
def _trilinear(volume, low, step, x, y, z):
    x, y, z = (x - low) / step, (y - low) / step, (z - low) / step
    n = volume.shape[0] - 1.001
    x, y, z = min(max(x, 0.0), n), min(max(y, 0.0), n), min(max(z, 0.0), n)
    i, j, k = int(x), int(y), int(z)
    x, y, z = x - i, y - j, z - k
    a = volume[i, j, k] * (1 - z) + volume[i, j, k + 1] * z
    b = volume[i, j + 1, k] * (1 - z) + volume[i, j + 1, k + 1] * z
    c = volume[i + 1, j, k] * (1 - z) + volume[i + 1, j, k + 1] * z
    d = volume[i + 1, j + 1, k] * (1 - z) + volume[i + 1, j + 1, k + 1] * z
    return (a * (1 - y) + b * y) * (1 - x) + (c * (1 - y) + d * y) * x


@kernel
def _light(program, layers, volume, low, step, points, keys, normals, occlusion, shadow):
    d = np.empty(REGISTERS)
    for n in range(len(points)):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        e = 1.5e-3
        a = _distance(program, x + e, y - e, z - e, layers, d)
        b = _distance(program, x - e, y - e, z + e, layers, d)
        c = _distance(program, x - e, y + e, z - e, layers, d)
        f = _distance(program, x + e, y + e, z + e, layers, d)
        nx, ny, nz = a - b - c + f, -a - b + c + f, -a + b - c + f
        size = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-12
        nx, ny, nz = nx / size, ny / size, nz / size
        normals[n, 0], normals[n, 1], normals[n, 2] = nx, ny, nz
        dark, weight = 0.0, 1.0
        for tap in range(5):
            h = 0.012 + 0.035 * tap * (1.0 + 0.25 * tap)
            px, py, pz = x + nx * h, y + ny * h, z + nz * h
            if tap < 2:
                near = _distance(program, px, py, pz, layers, d)
            else:
                near = _trilinear(volume, low, step, px, py, pz)
            dark += weight * max(0.0, h - near) / h
            weight *= 0.72
        occlusion[n] = max(0.0, 1.0 - 0.42 * dark)
        for key in range(len(keys)):
            lx, ly, lz = keys[key, 0], keys[key, 1], keys[key, 2]
            free, t = 1.0, 0.03
            if nx * lx + ny * ly + nz * lz > -0.3:
                sx, sy, sz = x + 0.012 * nx, y + 0.012 * ny, z + 0.012 * nz
                for _ in range(14):
                    near = _trilinear(volume, low, step, sx + t * lx, sy + t * ly, sz + t * lz)
                    free = min(free, 0.5 + 0.5 * near / (0.22 * t))
                    if free <= 0.0 or t > 1.2:
                        break
                    t += max(near, 0.02)
                free = max(free, 0.0)
            shadow[n, key] = free * free * (3.0 - 2.0 * free)


def light(
    program: np.ndarray, layers: int, points: np.ndarray, keys: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit normals (N, 3), ambient occlusion (N,) and soft shadows (N, K) of lamps in directions `keys` (K, 3),
    float64.

    Occlusion by Evans' five taps along the normal ("Fast approximations for global illumination", 2006), shadow by the
    narrowest cone that passes the surface (Quilez, "soft shadows in raymarched SDFs"); 1 is open. Far distances
    are looked up in a volume of 88 samples a side.
    """
    normals, occlusion = np.empty((len(points), 3)), np.empty(len(points))
    shadow = np.empty((len(points), len(keys)))
    line = np.linspace(-1.0, 1.0, VOLUME)
    grid = np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    volume = distances(program, grid, layers).reshape(VOLUME, VOLUME, VOLUME)
    step = line[1] - line[0]
    _light(
        program,
        layers,
        volume,
        -1.0,
        step,
        np.ascontiguousarray(points),
        np.ascontiguousarray(keys),
        normals,
        occlusion,
        shadow,
    )
    return normals, occlusion, shadow


def split(vertices: int, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each triangle into four, at the middles of its sides: the same surface with twice the points to paint on.

    Returns the sides (E, 2) int32 whose middles become vertices `vertices`, `vertices` + 1, ..., and faces (4 F, 3)
    int32.
    """
    a, b, c = faces.T.astype(np.int64)
    pairs = np.concatenate([np.stack([a, b], 1), np.stack([b, c], 1), np.stack([c, a], 1)])
    pairs.sort(axis=1)
    _, first, inverse = np.unique(pairs[:, 0] * vertices + pairs[:, 1], return_index=True, return_inverse=True)
    ab, bc, ca = (vertices + inverse.reshape(3, -1)).astype(np.int64)
    fine = np.stack([a, ab, ca, ab, b, bc, ca, bc, c, ab, bc, ca], 1).reshape(-1, 3)
    return pairs[first].astype(np.int32), fine.astype(np.int32)
