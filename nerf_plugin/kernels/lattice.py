"""Kernels on the grid's shape: marking cells, the table of bricks, carving, and reading rows at points."""

from __future__ import annotations

import numpy as np

from nerf_plugin.kernels import kernel
from nerf_plugin.kernels.simd import hload, popcount, vfmas, vload, vstore


@kernel
def mark_cells(cells, offset, ratio, bricks, occupied, present):
    """Sets the words of the cells of a lattice whose centres lie in set cells of another one.

    cells: (X, Y, Z) uint8. A cell (i, j, k) of the new lattice has its centre at offset + (i + 1/2, ...) * ratio in
    units of the old. bricks: (3,) of the new. occupied, present: dense uint64 words, zero on entry. Cells of the
    lattice's upper faces stay dead: they lack corners.
    """
    nx, ny, nz = bricks[0] * 4, bricks[1] * 4, bricks[2] * 4
    one = np.uint64(1)
    for i in range(nx - 1):
        u = int(np.floor(offset[0] + (i + 0.5) * ratio))
        if u < 0 or u >= cells.shape[0]:
            continue
        for j in range(ny - 1):
            v = int(np.floor(offset[1] + (j + 0.5) * ratio))
            if v < 0 or v >= cells.shape[1]:
                continue
            for k in range(nz - 1):
                w = int(np.floor(offset[2] + (k + 0.5) * ratio))
                if w < 0 or w >= cells.shape[2] or cells[u, v, w] == 0:
                    continue
                bit = np.uint64(((i & 3) << 4) | ((j & 3) << 2) | (k & 3))
                occupied[((i >> 2) * bricks[1] + (j >> 2)) * bricks[2] + (k >> 2)] |= one << bit
                for c in range(8):
                    x, y, z = i + (c >> 2), j + ((c >> 1) & 1), k + (c & 1)
                    bit = np.uint64(((x & 3) << 4) | ((y & 3) << 2) | (z & 3))
                    present[((x >> 2) * bricks[1] + (y >> 2)) * bricks[2] + (z >> 2)] |= one << bit


@kernel
def brick_table(places, occupied, bricks):
    """Brick number by place, or minus the Chebyshev distance to the nearest brick with an alive cell.

    Two sweeps over the 26 neighbours give exact chessboard distances (Rosenfeld and Pfaltz 1968). Flat int32 over
    (bx + 1, by + 1, bz + 1).
    """
    X, Y, Z = bricks[0] + 1, bricks[1] + 1, bricks[2] + 1
    far = 1 << 20
    distance = np.full(X * Y * Z, far, np.int32)
    for b in range(len(places)):
        if occupied[b] != np.uint64(0):
            p = places[b]
            x, y, z = p // (bricks[1] * bricks[2]), p // bricks[2] % bricks[1], p % bricks[2]
            distance[(x * Y + y) * Z + z] = 0
    for sweep in range(2):
        sign = 1 - 2 * sweep
        for a in range(X * Y * Z):
            at = a if sweep == 0 else X * Y * Z - 1 - a
            x, y, z = at // (Y * Z), at // Z % Y, at % Z
            best = distance[at]
            for n in range(13):
                m = n if n < 13 else n + 1
                u, v, w = x + sign * (m // 9 - 1), y + sign * (m // 3 % 3 - 1), z + sign * (m % 3 - 1)
                if 0 <= u < X and 0 <= v < Y and 0 <= w < Z:
                    best = min(best, distance[(u * Y + v) * Z + w] + 1)
            distance[at] = best
    table = np.empty(X * Y * Z, np.int32)
    for at in range(X * Y * Z):
        table[at] = -max(1, distance[at])
    for b in range(len(places)):
        p = places[b]
        x, y, z = p // (bricks[1] * bricks[2]), p // bricks[2] % bricks[1], p % bricks[2]
        table[(x * Y + y) * Z + z] = b
    return table


@kernel
def carve(keep, start, lo, voxel, camera, mask):
    """Clears the voxels of an x-slab that one view sees outside its mask.

    keep: (n, Y, Z) uint8, changed in place, slab of voxels start..start+n. lo: (3,) float64 of voxel (0, 0, 0).
    camera: (16,) float64 rotation (row-major), position, fx, fy, cx, cy in pixels of the mask. mask: (H, W) uint8.
    Voxels behind the camera or outside its picture are left alone.
    """
    h, w = mask.shape
    for i in range(keep.shape[0]):
        a = lo[0] + (start + i) * voxel - camera[9]
        for j in range(keep.shape[1]):
            b = lo[1] + j * voxel - camera[10]
            for k in range(keep.shape[2]):
                if keep[i, j, k] == 0:
                    continue
                c = lo[2] + k * voxel - camera[11]
                z = -(camera[2] * a + camera[5] * b + camera[8] * c)
                if z <= 1e-9:
                    continue
                u = int(np.floor(camera[12] * (camera[0] * a + camera[3] * b + camera[6] * c) / z + camera[14]))
                v = int(np.floor(-camera[13] * (camera[1] * a + camera[4] * b + camera[7] * c) / z + camera[15]))
                if 0 <= u < w and 0 <= v < h and mask[v, u] == 0:
                    keep[i, j, k] = 0


@kernel
def interpolate(rows, lanes, table, bricks, first, present, points, empty, out, lines):
    """Trilinear values of rows at points, for points anywhere.

    rows: (N*L,) uint16, bits of halves; lines, L: as for `kernels.march`. points: (n, 3) float32 voxel units. Corners
    without a row count as `empty` in lane 0 and are left out of the mean in the other lanes. out: (n, lanes) float32,
    lanes <= L.
    """
    s1 = bricks[2] + 1
    s0 = s1 * (bricks[1] + 1)
    width, wide = 16 * len(lines), len(lines) == 2
    sums = np.zeros(width, np.float32)
    for p in range(points.shape[0]):
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
        fx, fy, fz = x - np.float32(i), y - np.float32(j), z - np.float32(k)
        sums[:] = 0
        known, missing = np.float32(0.0), np.float32(0.0)
        for c in range(8):
            u, v, w = i + (c >> 2), j + ((c >> 1) & 1), k + (c & 1)
            weight = fx if c >> 2 else np.float32(1.0) - fx
            weight *= fy if (c >> 1) & 1 else np.float32(1.0) - fy
            weight *= fz if c & 1 else np.float32(1.0) - fz
            row = -1
            if u >= 0 and v >= 0 and w >= 0 and u < bricks[0] * 4 and v < bricks[1] * 4 and w < bricks[2] * 4:
                brick = table[(u >> 2) * s0 + (v >> 2) * s1 + (w >> 2)]
                if brick >= 0:
                    bit = np.uint64(((u & 3) << 4) | ((v & 3) << 2) | (w & 3))
                    if (present[brick] >> bit) & np.uint64(1):
                        row = first[brick] + popcount(present[brick] & ((np.uint64(1) << bit) - np.uint64(1)))
            if row < 0:
                missing += weight
                continue
            known += weight
            vstore(sums, 0, vfmas(hload(rows, np.int64(row) * width), weight, vload(sums, 0)))
            if wide:
                vstore(sums, 16, vfmas(hload(rows, np.int64(row) * width + 16), weight, vload(sums, 16)))
        out[p, 0] = sums[0] + missing * np.float32(empty)
        for lane in range(1, lanes):
            out[p, lane] = sums[lane] / known if known > 0 else np.float32(0.0)


@kernel
def inside(table, bricks, occupied, points, out):
    """out[p] = 1 where the point (voxel units) lies in an alive cell."""
    s1 = bricks[2] + 1
    s0 = s1 * (bricks[1] + 1)
    for p in range(points.shape[0]):
        i = int(np.floor(points[p, 0]))
        j = int(np.floor(points[p, 1]))
        k = int(np.floor(points[p, 2]))
        out[p] = 0
        if i >= 0 and j >= 0 and k >= 0 and i < bricks[0] * 4 and j < bricks[1] * 4 and k < bricks[2] * 4:
            brick = table[(i >> 2) * s0 + (j >> 2) * s1 + (k >> 2)]
            if brick >= 0:
                bit = np.uint64(((i & 3) << 4) | ((j & 3) << 2) | (k & 3))
                out[p] = np.uint8((occupied[brick] >> bit) & np.uint64(1))


@kernel
def count_seen(seen, start, lo, voxel, camera, width, height, near):
    """Adds one to the voxels of an x-slab that a view has in its picture, farther than `near` from the camera.

    seen: (n, Y, Z) uint16, slab of voxels start..start+n. lo, voxel, camera: as for `carve`; near in world units.
    """
    for i in range(seen.shape[0]):
        a = lo[0] + (start + i) * voxel - camera[9]
        for j in range(seen.shape[1]):
            b = lo[1] + j * voxel - camera[10]
            for k in range(seen.shape[2]):
                c = lo[2] + k * voxel - camera[11]
                z = -(camera[2] * a + camera[5] * b + camera[8] * c)
                if z <= 1e-9 or a * a + b * b + c * c < near * near:
                    continue
                u = camera[12] * (camera[0] * a + camera[3] * b + camera[6] * c) / z + camera[14]
                v = -camera[13] * (camera[1] * a + camera[4] * b + camera[7] * c) / z + camera[15]
                if 0 <= u < width and 0 <= v < height:
                    seen[i, j, k] += 1
