"""Smoothing without shrinking (Taubin, "A signal processing approach to fair surface design", 1995, section 3).

One step pulls every vertex towards the mean of its neighbours by `lam`, a second pushes it away by `mu`, a little
more: noise at the scale of an edge dies out, and shapes larger than the pass band 1/lam + 1/mu keep their volume.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from nerf_plugin.mesh.surface import Mesh
from nerf_plugin.mesh.topology import edge_counts


def neighbours(mesh: Mesh) -> csr_matrix:
    """(V,V) float64, row-normalised adjacency."""
    edges, _ = edge_counts(mesh.faces)
    count = len(mesh.vertices)
    rows = np.concatenate([edges[:, 0], edges[:, 1]])
    columns = np.concatenate([edges[:, 1], edges[:, 0]])
    weights = 1.0 / np.maximum(np.bincount(rows, minlength=count), 1)
    return csr_matrix((weights[rows], (rows, columns)), shape=(count, count))


def taubin(mesh: Mesh, rounds: int = 10, lam: float = 0.5, passband: float = 0.1) -> Mesh:
    """`rounds` pairs of smoothing steps; faces are unchanged. `passband` is 1/lam + 1/mu with mu < 0."""
    mu = 1.0 / (passband - 1.0 / lam)
    mean = neighbours(mesh)
    vertices = mesh.vertices
    for _ in range(rounds):
        for factor in (lam, mu):
            vertices = vertices + factor * (mean @ vertices - vertices)
    return mesh.with_(vertices=vertices)
