"""Marching cubes over one block of samples, with vertices that know which grid edge they lie on.

A vertex is named by its *key*: 3 times the flat index of the lower sample of its grid edge in the whole lattice, plus
the axis. Two blocks that share a layer of samples compute the same keys and, from the same sample values, the same
bits of position; so merging needs no tolerance, and the mesh does not depend on how the lattice was cut.

Positions are in sample units from the lattice's origin (float64); a crossing is kept a thousandth of an edge away
from its ends, so that no triangle collapses when a sample lies exactly on the surface.
"""

from __future__ import annotations

import numpy as np

from nerf_plugin.kernels import kernel
from nerf_plugin.mesh.table import CORNERS, EDGES, tables

CLEARANCE = 1e-3


@kernel
def _march(samples, iso, start, shape, counts, triangles, edges, corners):  # type: ignore[no-untyped-def]
    nx, ny, nz = samples.shape
    ids = np.full((3, nx, ny, nz), -1, np.int32)
    total = 0
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                inside = samples[i, j, k] > iso
                if i + 1 < nx and (samples[i + 1, j, k] > iso) != inside:
                    ids[0, i, j, k] = total
                    total += 1
                if j + 1 < ny and (samples[i, j + 1, k] > iso) != inside:
                    ids[1, i, j, k] = total
                    total += 1
                if k + 1 < nz and (samples[i, j, k + 1] > iso) != inside:
                    ids[2, i, j, k] = total
                    total += 1
    vertices = np.empty((total, 3), np.float64)
    keys = np.empty(total, np.int64)
    faces_total = 0
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                for axis in range(3):
                    v = ids[axis, i, j, k]
                    if v < 0:
                        continue
                    a = np.float64(samples[i, j, k])
                    if axis == 0:
                        b = np.float64(samples[i + 1, j, k])
                    elif axis == 1:
                        b = np.float64(samples[i, j + 1, k])
                    else:
                        b = np.float64(samples[i, j, k + 1])
                    t = min(max((iso - a) / (b - a), CLEARANCE), 1 - CLEARANCE)
                    vertices[v, 0] = start[0] + i
                    vertices[v, 1] = start[1] + j
                    vertices[v, 2] = start[2] + k
                    vertices[v, axis] += t
                    flat = ((start[0] + i) * shape[1] + start[1] + j) * shape[2] + start[2] + k
                    keys[v] = 3 * flat + axis
                if i + 1 < nx and j + 1 < ny and k + 1 < nz:
                    case = 0
                    for c in range(8):
                        if samples[i + corners[c, 0], j + corners[c, 1], k + corners[c, 2]] > iso:
                            case |= 1 << c
                    faces_total += counts[case]
    faces = np.empty((faces_total, 3), np.int32)
    row = 0
    for i in range(nx - 1):
        for j in range(ny - 1):
            for k in range(nz - 1):
                case = 0
                for c in range(8):
                    if samples[i + corners[c, 0], j + corners[c, 1], k + corners[c, 2]] > iso:
                        case |= 1 << c
                for t in range(counts[case]):
                    for side in range(3):
                        e = triangles[case, t, side]
                        c = edges[e, 1]
                        faces[row, side] = ids[edges[e, 0], i + corners[c, 0], j + corners[c, 1], k + corners[c, 2]]
                    row += 1
    return vertices, faces, keys


def march(
    samples: np.ndarray, iso: float, start: tuple[int, int, int], shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Surface of `samples > iso` inside one block.

    samples: (a,b,c) float32, whose first sample is `start` of a lattice with `shape` samples. Returns vertices (V,3)
    float64 in sample units of the lattice, faces (F,3) int32 that look from the solid outward, keys (V,) int64.
    """
    counts, triangles = tables()
    return _march(
        np.ascontiguousarray(samples, np.float32),
        float(iso),
        np.asarray(start, np.int64),
        np.asarray(shape, np.int64),
        counts,
        triangles,
        EDGES,
        CORNERS,
    )
