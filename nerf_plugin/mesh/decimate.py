"""Fewer faces with the same shape, without ever breaking the surface (Garland and Heckbert 1997, and Dey et al. 1999).

Edges are collapsed cheapest first. The price of a vertex position is the sum of squared distances to the planes of
the original faces it stands for, weighted by their area, plus a thousandth of the squared distance to the original
vertices: that keeps corners in flat parts apart and makes the best position unique.

Common quadric simplifiers check only that no face turns over, and leave edges with three or four faces behind. Here
an edge (u, v) is collapsed only where the *link condition* holds: u and v have exactly two neighbours in common, the
two that close the edge's faces, and their piece is not a tetrahedron. Then a closed 2-manifold stays one, with the
same genus and the same pieces.

Ties are broken by vertex number, so the result is a function of the mesh and the budget.
"""

from __future__ import annotations

import numpy as np

from nerf_plugin.kernels import kernel
from nerf_plugin.mesh.blocks import canonical_faces
from nerf_plugin.mesh.surface import Mesh, MeshError

LEAST = 4
_KEEP_APART = 1e-3
_TURN = 0.2
"""Least cosine between the normals of a face before and after."""


@kernel
def _less(cost, pair, a, b):  # type: ignore[no-untyped-def]
    if cost[a] != cost[b]:
        return cost[a] < cost[b]
    if pair[a, 0] != pair[b, 0]:
        return pair[a, 0] < pair[b, 0]
    return pair[a, 1] < pair[b, 1]


@kernel
def _swap(cost, pair, a, b):  # type: ignore[no-untyped-def]
    cost[a], cost[b] = cost[b], cost[a]
    for i in range(4):
        pair[a, i], pair[b, i] = pair[b, i], pair[a, i]


@kernel
def _sift_up(cost, pair, i):  # type: ignore[no-untyped-def]
    while i > 0 and _less(cost, pair, i, (i - 1) // 2):
        _swap(cost, pair, i, (i - 1) // 2)
        i = (i - 1) // 2


@kernel
def _sift_down(cost, pair, i, size):  # type: ignore[no-untyped-def]
    while True:
        child = 2 * i + 1
        if child >= size:
            return
        if child + 1 < size and _less(cost, pair, child + 1, child):
            child += 1
        if not _less(cost, pair, child, i):
            return
        _swap(cost, pair, i, child)
        i = child


@kernel
def _quadrics(vertices, faces):  # type: ignore[no-untyped-def]
    """(V,10) float64: A00 A01 A02 A11 A12 A22 b0 b1 b2 c of the error x'Ax + 2b'x + c."""
    q = np.zeros((len(vertices), 10))
    for f in range(len(faces)):
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        n = np.cross(b - a, c - a)
        length = np.sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2])
        if length <= 0.0:
            continue
        n = n / length
        d = -(n[0] * a[0] + n[1] * a[1] + n[2] * a[2])
        area = 0.5 * length / 3.0
        for corner in range(3):
            i = faces[f, corner]
            v = vertices[i]
            k = area * _KEEP_APART
            q[i, 0] += area * n[0] * n[0] + k
            q[i, 1] += area * n[0] * n[1]
            q[i, 2] += area * n[0] * n[2]
            q[i, 3] += area * n[1] * n[1] + k
            q[i, 4] += area * n[1] * n[2]
            q[i, 5] += area * n[2] * n[2] + k
            for j in range(3):
                q[i, 6 + j] += area * n[j] * d - k * v[j]
            q[i, 9] += area * d * d + k * (v[0] * v[0] + v[1] * v[1] + v[2] * v[2])
    return q


@kernel
def _best(q, a, b, x):  # type: ignore[no-untyped-def]
    """The cheapest position for an edge between positions a and b under quadric q goes into x; returns its cost."""
    c00 = q[3] * q[5] - q[4] * q[4]
    c01 = q[2] * q[4] - q[1] * q[5]
    c02 = q[1] * q[4] - q[2] * q[3]
    det = q[0] * c00 + q[1] * c01 + q[2] * c02
    scale = q[0] + q[3] + q[5]
    solved = det > 1e-12 * scale * scale * scale
    if solved:
        c11 = q[0] * q[5] - q[2] * q[2]
        c12 = q[1] * q[2] - q[0] * q[4]
        c22 = q[0] * q[3] - q[1] * q[1]
        x[0] = -(c00 * q[6] + c01 * q[7] + c02 * q[8]) / det
        x[1] = -(c01 * q[6] + c11 * q[7] + c12 * q[8]) / det
        x[2] = -(c02 * q[6] + c12 * q[7] + c22 * q[8]) / det
        reach, away = 0.0, 0.0
        for j in range(3):
            reach += (a[j] - b[j]) ** 2
            away += (x[j] - 0.5 * (a[j] + b[j])) ** 2
        solved = away <= 4.0 * reach
    if not solved:
        for j in range(3):
            x[j] = 0.5 * (a[j] + b[j])
    cost = q[9] + 2.0 * (q[6] * x[0] + q[7] * x[1] + q[8] * x[2])
    cost += q[0] * x[0] * x[0] + q[3] * x[1] * x[1] + q[5] * x[2] * x[2]
    cost += 2.0 * (q[1] * x[0] * x[1] + q[2] * x[0] * x[2] + q[4] * x[1] * x[2])
    return max(cost, 0.0)


@kernel
def _turns_over(vertices, faces, f, moved, x):  # type: ignore[no-untyped-def]
    """Whether face f, which holds `moved`, turns too far or collapses when `moved` goes to x."""
    p = np.empty((3, 3))
    n = np.empty((3, 3))
    for k in range(3):
        i = faces[f, k]
        for j in range(3):
            p[k, j] = vertices[i, j]
            n[k, j] = x[j] if i == moved else vertices[i, j]
    before = np.cross(p[1] - p[0], p[2] - p[0])
    after = np.cross(n[1] - n[0], n[2] - n[0])
    bb, aa, ab, longest = 0.0, 0.0, 0.0, 0.0
    for j in range(3):
        bb += before[j] * before[j]
        aa += after[j] * after[j]
        ab += before[j] * after[j]
    for k in range(3):
        side = 0.0
        for j in range(3):
            side += (n[k, j] - n[(k + 1) % 3, j]) ** 2
        longest = max(longest, side)
    if np.sqrt(aa) < 0.02 * longest:
        return True
    return ab < _TURN * np.sqrt(aa * bb)


@kernel
def _collapse_all(vertices, faces, target):  # type: ignore[no-untyped-def]
    count, number = len(vertices), len(faces)
    q = _quadrics(vertices, faces)
    # Faces around a vertex: linked lists of corners; a merged vertex inherits the other's list.
    head = np.full(count, -1, np.int64)
    tail = np.full(count, -1, np.int64)
    after = np.full(3 * number, -1, np.int64)
    for corner in range(3 * number - 1, -1, -1):
        i = faces[corner // 3, corner % 3]
        if head[i] < 0:
            tail[i] = corner
        after[corner] = head[i]
        head[i] = corner
    alive = np.ones(number, np.bool_)
    stamp = np.zeros(count, np.int64)
    mark = np.full(count, -1, np.int64)
    turn = 0
    capacity = 8 * number
    cost = np.empty(capacity)
    pair = np.empty((capacity, 4), np.int64)
    x = np.empty(3)
    size = 0
    for f in range(number):
        for k in range(3):
            u, v = faces[f, k], faces[f, (k + 1) % 3]
            if u < v:
                cost[size] = _best(q[u] + q[v], vertices[u], vertices[v], x)
                pair[size, 0], pair[size, 1], pair[size, 2], pair[size, 3] = u, v, 0, 0
                size += 1
    for i in range(size // 2 - 1, -1, -1):
        _sift_down(cost, pair, i, size)
    left = number
    while left > target and size > 0:
        u, v, su, sv = pair[0, 0], pair[0, 1], pair[0, 2], pair[0, 3]
        size -= 1
        _swap(cost, pair, 0, size)
        _sift_down(cost, pair, 0, size)
        if stamp[u] != su or stamp[v] != sv:
            continue
        # Link condition.
        turn += 1
        around_u = 0
        corner = head[u]
        while corner >= 0:
            f = corner // 3
            if alive[f]:
                around_u += 1
                for k in range(3):
                    mark[faces[f, k]] = turn
            corner = after[corner]
        turn += 1
        around_v, common = 0, 0
        corner = head[v]
        while corner >= 0:
            f = corner // 3
            if alive[f]:
                around_v += 1
                for k in range(3):
                    i = faces[f, k]
                    if mark[i] == turn - 1 and i != u and i != v:
                        common += 1
                        mark[i] = turn
            corner = after[corner]
        if common != 2 or (around_u == 3 and around_v == 3):
            continue
        _best(q[u] + q[v], vertices[u], vertices[v], x)
        bad = False
        for moved, other in ((u, v), (v, u)):
            corner = head[moved]
            while corner >= 0 and not bad:
                f = corner // 3
                if alive[f] and faces[f, 0] != other and faces[f, 1] != other and faces[f, 2] != other:
                    bad = _turns_over(vertices, faces, f, moved, x)
                corner = after[corner]
        if bad:
            continue
        # Collapse v into u.
        corner = head[v]
        while corner >= 0:
            f = corner // 3
            if alive[f]:
                if faces[f, 0] == u or faces[f, 1] == u or faces[f, 2] == u:
                    alive[f] = False
                    left -= 1
                else:
                    faces[f, corner % 3] = u
            corner = after[corner]
        after[tail[u]] = head[v]
        tail[u] = tail[v]
        head[v] = -1
        # Dead faces leave the list, so that it stays as long as the valence.
        last, corner = -1, head[u]
        while corner >= 0:
            ahead = after[corner]
            if alive[corner // 3]:
                if last < 0:
                    head[u] = corner
                else:
                    after[last] = corner
                last = corner
            corner = ahead
        after[last] = -1
        tail[u] = last
        for j in range(3):
            vertices[u, j] = x[j]
        q[u] += q[v]
        stamp[u] += 1
        stamp[v] += 1
        corner = head[u]
        while corner >= 0:
            # The corner after u in each face: every neighbour once.
            i = faces[corner // 3, (corner % 3 + 1) % 3]
            if size == capacity:
                capacity *= 2
                more_cost, more_pair = np.empty(capacity), np.empty((capacity, 4), np.int64)
                more_cost[:size], more_pair[:size] = cost[:size], pair[:size]
                cost, pair = more_cost, more_pair
            a, b = min(u, i), max(u, i)
            cost[size] = _best(q[a] + q[b], vertices[a], vertices[b], x)
            pair[size, 0], pair[size, 1], pair[size, 2], pair[size, 3] = a, b, stamp[a], stamp[b]
            _sift_up(cost, pair, size)
            size += 1
            corner = after[corner]
    return faces[alive]


def decimate(mesh: Mesh, faces: int) -> Mesh:
    """The mesh with at most `faces` faces; colours are dropped (ask the field again).

    The mesh must be a closed 2-manifold; what comes back is one, with the same pieces and genus. Raises MeshError for
    a budget that no closed surface, or not this one, can meet.
    """
    if faces < LEAST:
        raise MeshError(
            f"a face budget of {faces} is too small: a closed surface has at least {LEAST} faces; ask for 1,000 or more"
        )
    if len(mesh.faces) <= faces:
        return mesh
    center = mesh.vertices.mean(axis=0)
    scale = float(np.abs(mesh.vertices - center).max()) or 1.0
    vertices = np.ascontiguousarray((mesh.vertices - center) / scale)
    fewer = _collapse_all(vertices, mesh.faces.astype(np.int32), int(faces))
    if len(fewer) > faces:
        raise MeshError(
            f"this surface cannot go below {len(fewer)} faces without turning over or breaking; "
            f"raise the face budget of {faces}"
        )
    return Mesh(vertices * scale + center, canonical_faces(fewer), None, dict(mesh.info)).compact()
