"""Whether a mesh is one closed solid: edges, fans, components."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from nerf_plugin.mesh.surface import Mesh, MeshError


def edge_counts(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Undirected edges (E,2) int64, sorted, and in how many faces each lies (E,)."""
    directed = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)
    directed.sort(axis=1)
    size = int(faces.max()) + 1 if len(faces) else 1
    flat, counts = np.unique(directed[:, 0] * size + directed[:, 1], return_counts=True)
    return np.stack([flat // size, flat % size], axis=1), counts


def _pairs(count: int, a: np.ndarray, b: np.ndarray) -> tuple[int, np.ndarray]:
    graph = coo_matrix((np.ones(len(a), np.int8), (a, b)), shape=(count, count))
    number, labels = connected_components(graph, directed=False)
    return int(number), labels


def face_components(mesh: Mesh) -> tuple[int, np.ndarray]:
    """Number of connected pieces, and (F,) int32 the piece of each face."""
    faces = mesh.faces
    a = np.concatenate([faces[:, 0], faces[:, 1]])
    b = np.concatenate([faces[:, 1], faces[:, 2]])
    _, labels = _pairs(len(mesh.vertices), a, b)
    _, piece = np.unique(labels[faces[:, 0]], return_inverse=True)
    return (int(piece.max()) + 1 if len(piece) else 0), piece.astype(np.int32)


def pinched_vertices(faces: np.ndarray) -> int:
    """Vertices whose faces form more than one fan."""
    corners = faces.reshape(-1).astype(np.int64)
    ahead = faces[:, [1, 2, 0]].reshape(-1).astype(np.int64)
    behind = faces[:, [2, 0, 1]].reshape(-1).astype(np.int64)
    size = int(faces.max()) + 1
    number = len(corners)
    corner_ids = np.arange(number)
    spokes = np.concatenate([corners * size + ahead, corners * size + behind])
    _, spoke = np.unique(spokes, return_inverse=True)
    links = np.concatenate([corner_ids, corner_ids])
    fans, labels = _pairs(number + int(spoke.max()) + 1, links, spoke + number)
    pairs = np.unique(corners * (fans + 1) + labels[:number])
    return int((np.bincount(pairs // (fans + 1)) > 1).sum())


def check(mesh: Mesh) -> dict[str, Any]:
    """Facts about the surface: vertices, faces, components, boundary_edges, nonmanifold_edges, pinched_vertices,
    misoriented_edges, degenerate_faces, euler, genus (of the whole, where closed), watertight, manifold, volume,
    area."""
    faces = mesh.faces
    if not len(faces):
        raise MeshError("the mesh has no faces")
    edges, counts = edge_counts(faces)
    directed = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)
    _, repeats = np.unique(directed[:, 0] * (int(faces.max()) + 1) + directed[:, 1], return_counts=True)
    components, _ = face_components(mesh)
    used = len(np.unique(faces))
    boundary, crowded = int((counts == 1).sum()), int((counts > 2).sum())
    pinched, misoriented = pinched_vertices(faces), int((repeats > 1).sum())
    euler = used - len(edges) + len(faces)
    same = (faces[:, 0] == faces[:, 1]) | (faces[:, 1] == faces[:, 2]) | (faces[:, 2] == faces[:, 0])
    watertight = boundary == 0 and crowded == 0 and misoriented == 0
    return {
        "vertices": used,
        "faces": len(faces),
        "components": components,
        "boundary_edges": boundary,
        "nonmanifold_edges": crowded,
        "misoriented_edges": misoriented,
        "pinched_vertices": pinched,
        "degenerate_faces": int(same.sum()),
        "euler": euler,
        "genus": (2 * components - euler) // 2 if watertight and not pinched else None,
        "watertight": watertight,
        "manifold": watertight and pinched == 0,
        "volume": mesh.volume(),
        "area": mesh.area(),
    }


def require_solid(mesh: Mesh) -> dict[str, Any]:
    """`check`, raising MeshError where the mesh is not a closed 2-manifold."""
    facts = check(mesh)
    if not facts["manifold"]:
        wrong = {
            k: facts[k]
            for k in ("boundary_edges", "nonmanifold_edges", "misoriented_edges", "pinched_vertices")
            if facts[k]
        }
        raise MeshError(f"the mesh is not a closed 2-manifold: {wrong}")
    return facts


def keep_components(mesh: Mesh, count: int = 1, least: float = 0.0) -> Mesh:
    """The `count` pieces that enclose most, without those below `least` of the largest's volume.

    Pieces turned inside out (cavities within a solid) enclose a negative volume and go. Ties are broken by the order
    of faces.
    """
    number, piece = face_components(mesh)
    if number == 0:
        raise MeshError("the mesh has no faces")
    a, b, c = (mesh.vertices[mesh.faces[:, i]] - mesh.vertices.mean(axis=0) for i in range(3))
    volume = np.bincount(piece, np.einsum("ij,ij->i", a, np.cross(b, c)) / 6, minlength=number)
    order = np.argsort(-volume, kind="stable")[:count]
    order = order[(volume[order] > 0) & (volume[order] >= least * volume[order[0]])]
    if not len(order):
        raise MeshError("no piece of the mesh encloses a volume: the surface is inside out or flat")
    kept = mesh.with_(faces=mesh.faces[np.isin(piece, order)]).compact()
    kept.info["components_dropped"] = int(number - len(order))
    return kept
