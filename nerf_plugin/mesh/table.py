"""The triangulation of a cube's 256 sign patterns, derived rather than copied.

Marching cubes (Lorensen and Cline 1987) as first published leaves holes: two cubes that share an ambiguous face may
cut it in two different ways. Here the cut of a face depends on the signs of its four corners alone: walking the face
counter-clockwise, seen from outside the cube, each crossing into the solid is joined to the next crossing out of it,
so two solid corners on a diagonal are always separated. Two neighbours therefore agree on every segment, and traverse
it in opposite directions. The segments of a cube chain into closed loops, each cube edge at most once, so around each
grid edge the four cubes give one fan: the surface is closed and its vertices are manifold for *any* signs.

What is left is to fill each loop with triangles without making an edge that another cube could make too. A diagonal
between two vertices that lie on one face of the cube is such an edge (the neighbour may draw it as well, and four
triangles would meet there), so only diagonals through the interior are used. With solid corners separated every loop
has such a filling; of those the one with the shortest sides is taken.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np

CORNERS = np.array([[c & 1, c >> 1 & 1, c >> 2 & 1] for c in range(8)])
EDGES = np.array([(axis, c) for axis in range(3) for c in range(8) if not c >> axis & 1])
"""(12,2): the axis of a cube edge and the corner it starts from (the lower end)."""
_EDGE_OF = {frozenset((c, c | 1 << axis)): e for e, (axis, c) in enumerate(EDGES)}


def _face_cycles() -> list[list[int]]:
    """Corners of the six faces, counter-clockwise seen from outside."""
    cycles = []
    for axis, side in product(range(3), range(2)):
        u, v = 1 << (axis + 1) % 3, 1 << (axis + 2) % 3
        base = side << axis
        cycle = [base, base | u, base | u | v, base | v]
        cycles.append(cycle if side else cycle[::-1])
    return cycles


_FACES = _face_cycles()
_EDGE_FACES = [{f for f, cycle in enumerate(_FACES) if {c, c | 1 << axis} <= set(cycle)} for axis, c in EDGES]


def _loops(case: int) -> list[list[int]]:
    """Closed loops of cube edges that bound the surface inside one cube; bit c of `case` is set where corner c is
    solid."""
    after: dict[int, int] = {}
    for cycle in _FACES:
        crossings = []
        for a, b in zip(cycle, cycle[1:] + cycle[:1], strict=True):
            if (case >> a & 1) != (case >> b & 1):
                crossings.append((_EDGE_OF[frozenset((a, b))], bool(case >> b & 1)))
        for i, (edge, enters) in enumerate(crossings):
            if enters:
                after[crossings[(i + 1) % len(crossings)][0]] = edge
    loops = []
    while after:
        start = min(after)
        loop = [start]
        while (edge := after.pop(loop[-1])) != start:
            loop.append(edge)
        loops.append(loop)
    return loops


def _triangulations(loop: list[int]) -> list[list[tuple[int, int, int]]]:
    """Every way to fill a loop of edges with triangles whose diagonals pass through the cube's interior."""
    if len(loop) == 3:
        return [[(loop[0], loop[2], loop[1])]]
    found = []
    first, last = loop[0], loop[-1]
    for i in range(1, len(loop) - 1):
        apex = loop[i]
        if i > 1 and _EDGE_FACES[first] & _EDGE_FACES[apex]:
            continue
        if i < len(loop) - 2 and _EDGE_FACES[last] & _EDGE_FACES[apex]:
            continue
        left = _triangulations(loop[: i + 1]) if i > 1 else [[]]
        right = _triangulations(loop[i:]) if i < len(loop) - 2 else [[]]
        found += [[(first, last, apex), *a, *b] for a in left for b in right]
    return found


def _midpoint(edge: int) -> np.ndarray:
    axis, corner = EDGES[edge]
    return CORNERS[corner] + 0.5 * np.eye(3)[axis]


def _badness(triangles: list[tuple[int, int, int]]) -> float:
    return sum(
        float(np.sum((_midpoint(a) - _midpoint(b)) ** 2))
        for t in triangles
        for a, b in zip(t, t[1:] + t[:1], strict=True)
    )


@lru_cache(1)
def tables() -> tuple[np.ndarray, np.ndarray]:
    """(triangle counts (256,) int32, triangles (256,5,3) int32 of cube edges as in `EDGES`)."""
    rows = [
        [triangle for loop in _loops(case) for triangle in min(_triangulations(loop), key=_badness)]
        for case in range(256)
    ]
    counts = np.array([len(row) for row in rows], np.int32)
    triangles = np.zeros((256, int(counts.max()), 3), np.int32)
    for case, row in enumerate(rows):
        if row:
            triangles[case, : len(row)] = row
    return counts, triangles
