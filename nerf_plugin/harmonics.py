"""Spherical harmonics of degree 0, 1 and 2, and where their coefficients lie in a voxel's row (see `kernels.march`).

Rows of degree 0 are rows of degree 1 whose linear coefficients are zero. Those of degree 2 have a second line.
"""

from __future__ import annotations

import numpy as np

from nerf_plugin.kernels.march import SH0, SH1, SH2

MOST = 2
"""Largest degree."""
LINES = ((0,), (0,), (0, 16))
"""By degree, where each line of a row begins: what kernels are told."""
LANES = [0, 1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19, 21, 22, 23, 25, 26, 27, 29, 30, 31, 16, 20, 24]
"""Of density, then red, green and blue of the functions 1, x, y, z, xy, yz, xz, x^2 - y^2, 3 z^2 - 1."""
STATE = [4, 8, 12]
"""Lanes of what training keeps in a row beside its values."""


def width(degree: int) -> int:
    """Numbers of a row."""
    return 16 * len(LINES[degree])


def degree_of(rows: np.ndarray) -> int:
    """Degree of rows (N, 16) or (N, 32); 1 for those of degree 0."""
    return rows.shape[1] // 16


def lanes(degree: int) -> list[int]:
    """Where the values of a row are: density, then three of each function."""
    return LANES[: 1 + 3 * (degree + 1) ** 2]


def converted(rows: np.ndarray, degree: int) -> np.ndarray:
    """Rows of another degree: functions that these lack are zero, those that are too many are left out; so is what
    training keeps."""
    new = np.zeros((len(rows), width(degree)), rows.dtype)
    kept = lanes(min(degree, degree_of(rows)))
    new[:, kept] = rows[:, kept]
    return new


def functions(directions: np.ndarray, degree: int) -> np.ndarray:
    """(N, (degree + 1)^2) float32 in the order of `LANES`: the functions' values along unit directions (N, 3)."""
    x, y, z = np.asarray(directions, np.float32).T
    found = [np.full_like(x, SH0), SH1 * x, SH1 * y, SH1 * z]
    found += [SH2[0] * x * y, SH2[0] * y * z, SH2[0] * x * z, SH2[1] * (x * x - y * y), SH2[2] * (3 * z * z - 1)]
    return np.stack(found[: (degree + 1) ** 2], 1).astype(np.float32)
