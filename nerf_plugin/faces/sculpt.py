"""Sculpting by signed distance: a small machine, and its NumPy twin.

A head is a *program*: a table whose rows are carried out in order for every point. A row adds, takes away or intersects
a primitive with one of ten registers (signed distances of the skin, the hair, ...), copies or merges registers, or
ruffles one with noise. Blends are Quilez's quadratic smooth minimum with width `k`; primitives are his too
(https://iquilezles.org/articles/distfunctions). The distances are not exact (ellipsoids, blends, noise), but their zero
sets are what they should be, and near those they are close.

A row, float64: 0 what, 1 register, 2 primitive or source register, 3 mode, 4 k, 5 mirrored (x replaced by |x|), 6-8
centre, 9-17 rotation (world to local, row by row), 18-23 sizes, 24 radius about the centre that holds the primitive (0:
unbounded).

Rows that cannot matter are skipped, by rules that are part of the machine's definition: a bounded primitive further
away than one and a half times (its blend width + the register's distance), and noise where the register is more than
twelve times its height away.
"""

from __future__ import annotations

import math

import numpy as np

from nerf_plugin.faces.noise import noise1, noise_reference
from nerf_plugin.kernels import kernel

REGISTERS = 10
WIDTH = 25
PRIMITIVE, COPY, MERGE, NOISE, STRANDS, CLEAR = range(6)
ELLIPSOID, CONE, RING, HALFSPACE, ALMOND, BOX = range(6)
UNION, SUBTRACT, INTERSECT = range(3)
_FAR = 1e3


class Sculptor:
    """Writes a program. Lengths in world units, centres (x, y, z), angles in degrees about the world's x, y and z
    axes.
    """

    def __init__(self) -> None:
        self.rows: list[np.ndarray] = []

    def program(self) -> np.ndarray:
        """(rows, 25) float64."""
        return np.stack(self.rows)

    def _row(
        self, what, register, kind, mode=UNION, k=0.0, mirror=False, centre=(0, 0, 0), turn=None, sizes=(), bound=0.0
    ):
        row = np.zeros(WIDTH)
        row[:6] = what, register, kind, mode, k, mirror
        row[6:9] = centre
        row[9:18] = (np.eye(3) if turn is None else turn).ravel()
        row[18 : 18 + len(sizes)] = sizes
        row[24] = bound
        self.rows.append(row)

    def ellipsoid(self, register, centre, radii, angles=(0, 0, 0), **how):
        self._row(
            PRIMITIVE, register, ELLIPSOID, centre=centre, turn=turned(*angles), sizes=radii, bound=max(radii), **how
        )

    def box(self, register, centre, halves, rounding, angles=(0, 0, 0), **how):
        bound = float(np.linalg.norm(halves))
        self._row(
            PRIMITIVE, register, BOX, centre=centre, turn=turned(*angles), sizes=(*halves, rounding), bound=bound, **how
        )

    def cone(self, register, start, end, r_start, r_end, **how):
        """A capsule from `start` to `end` whose radius changes along it."""
        start, axis = np.array(start, float), np.array(end, float) - np.array(start, float)
        length = float(np.linalg.norm(axis))
        side = np.cross(axis, (1, 0, 0) if abs(axis[0]) < 0.9 * length else (0, 1, 0))
        side /= np.linalg.norm(side)
        axis /= length
        turn = np.stack([side, np.cross(axis, side), axis])
        bound = max(r_start, length + r_end)
        self._row(
            PRIMITIVE, register, CONE, centre=start, turn=turn, sizes=(length, r_start, r_end), bound=bound, **how
        )

    def ring(self, register, centre, halves, corner, tube, angles=(0, 0, 0), **how):
        """A tube along a rounded rectangle in the local xz plane."""
        sizes = (*halves, corner, tube)
        self._row(PRIMITIVE, register, RING, centre=centre, turn=turned(*angles), sizes=sizes, **how)

    def halfspace(self, register, point, outward, **how):
        z = np.array(outward, float) / np.linalg.norm(outward)
        turn = np.zeros((3, 3))
        turn[2] = z
        self._row(PRIMITIVE, register, HALFSPACE, centre=point, turn=turn, **how)

    def almond(self, register, centre, half_width, up, down, angles=(0, 0, 0), **how):
        """The opening of an eye: two arcs over the local x axis, reaching along local -y."""
        sizes = (half_width, up, down)
        self._row(PRIMITIVE, register, ALMOND, centre=centre, turn=turned(*angles), sizes=sizes, **how)

    def copy(self, source, register, offset=0.0):
        """register = source - offset: the same thing, thicker by `offset`."""
        self._row(COPY, register, source, sizes=(offset,))

    def clear(self, register):
        """register = far away."""
        self._row(CLEAR, register, 0)

    def merge(self, source, register, **how):
        self._row(MERGE, register, source, **how)

    def noise(self, register, frequency, height, seed):
        self._row(NOISE, register, 0, sizes=(frequency, height, seed))

    def strands(self, register, centre, across, along, height, seed, radial=False):
        """Ruffles along hair: from a crown (radial), or over the head from side to side; see `strand_coordinates`."""
        self._row(STRANDS, register, int(radial), centre=centre, sizes=(across, along, height, seed))


def turned(rx: float, ry: float, rz: float) -> np.ndarray:
    """World-to-local rotation of something turned about x, then y, then z (degrees)."""
    result = np.eye(3)
    for axis, angle in enumerate((rx, ry, rz)):
        c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        step = np.eye(3)
        a, b = [(1, 2), (2, 0), (0, 1)][axis]
        step[a, a], step[a, b], step[b, a], step[b, b] = c, -s, s, c
        result = step @ result
    return result.T


@kernel
def _smin(a, b, k):
    low = min(a, b)
    if k <= 0.0:
        return low
    h = max(k - abs(a - b), 0.0) / k
    return low - h * h * k * 0.25


@kernel
def _primitive(kind, x, y, z, s):
    if kind == ELLIPSOID:
        a, b, c = x / s[0], y / s[1], z / s[2]
        k0 = math.sqrt(a * a + b * b + c * c)
        a, b, c = a / s[0], b / s[1], c / s[2]
        k1 = math.sqrt(a * a + b * b + c * c)
        return k0 * (k0 - 1.0) / max(k1, 1e-9)
    if kind == CONE:
        r, h, r1, r2 = math.sqrt(x * x + y * y), s[0], s[1], s[2]
        slope = (r1 - r2) / h
        a = math.sqrt(max(1.0 - slope * slope, 0.0))
        t = -slope * r + a * z
        if t < 0.0:
            return math.sqrt(r * r + z * z) - r1
        if t > a * h:
            return math.sqrt(r * r + (z - h) * (z - h)) - r2
        return r * a + z * slope - r1
    if kind == RING:
        u, w = abs(x) - s[0] + s[2], abs(z) - s[1] + s[2]
        outside = math.sqrt(max(u, 0.0) ** 2 + max(w, 0.0) ** 2)
        flat = outside + min(max(u, w), 0.0) - s[2]
        return math.sqrt(flat * flat + y * y) - s[3]
    if kind == HALFSPACE:
        return z
    if kind == ALMOND:
        up = (s[0] * s[0] + s[1] * s[1]) / (2.0 * s[1])
        down = (s[0] * s[0] + s[2] * s[2]) / (2.0 * s[2])
        a = math.sqrt(x * x + (z - s[1] + up) ** 2) - up
        b = math.sqrt(x * x + (z + s[2] - down) ** 2) - down
        return max(max(a, b), y)
    a, b, c = abs(x) - s[0] + s[3], abs(y) - s[1] + s[3], abs(z) - s[2] + s[3]
    outside = math.sqrt(max(a, 0.0) ** 2 + max(b, 0.0) ** 2 + max(c, 0.0) ** 2)
    return outside + min(max(a, max(b, c)), 0.0) - s[3]


@kernel
def strand_coordinates(x, y, z, radial, across, along):
    """Where a point relative to the head's middle lies in the hair's flow: two coordinates across the strands and one
    along.
    """
    if radial:
        r = math.sqrt(x * x + y * y) + 1e-9
        return x / r * across, y / r * across, math.atan2(r, z) * along
    span = math.sqrt(x * x + max(z, 0.0) ** 2) + 1e-9
    side = 7.5 if x > 0 else 0.0
    return math.atan2(y, span) * across, side, math.atan2(abs(x), z) * along


@kernel
def _run(program, px, py, pz, d):
    for i in range(REGISTERS):
        d[i] = _FAR
    for n in range(len(program)):
        row = program[n]
        what, register, kind, mode, k = int(row[0]), int(row[1]), int(row[2]), int(row[3]), row[4]
        if what == COPY:
            d[register] = d[kind] - row[18]
            continue
        if what == CLEAR:
            d[register] = _FAR
            continue
        x = (abs(px) if row[5] != 0.0 else px) - row[6]
        y, z = py - row[7], pz - row[8]
        if row[24] > 0.0:
            beyond = row[24] + 1.5 * (k + abs(d[register]))
            if x * x + y * y + z * z > beyond * beyond:
                continue
        if what == NOISE:
            if abs(d[register]) > 12.0 * row[19]:
                continue
            d[register] += row[19] * noise1(px * row[18], py * row[18], pz * row[18], int(row[20]))
            continue
        if what == STRANDS:
            if abs(d[register]) > 12.0 * row[20]:
                continue
            u, v, w = strand_coordinates(x, y, z, kind == 1, row[18], row[19])
            ruffle = noise1(u, v, w, int(row[21])) + 0.5 * noise1(2.1 * u, 2.1 * v, 1.6 * w, int(row[21]) + 1)
            d[register] += row[20] * ruffle
            continue
        if what == MERGE:
            value = d[kind]
        else:
            lx = row[9] * x + row[10] * y + row[11] * z
            ly = row[12] * x + row[13] * y + row[14] * z
            lz = row[15] * x + row[16] * y + row[17] * z
            value = _primitive(kind, lx, ly, lz, row[18:])
        if mode == UNION:
            d[register] = _smin(d[register], value, k)
        elif mode == SUBTRACT:
            d[register] = -_smin(-d[register], value, k)
        else:
            d[register] = -_smin(-d[register], -value, k)


@kernel
def _registers(program, points, out):
    for n in range(len(points)):
        _run(program, points[n, 0], points[n, 1], points[n, 2], out[n])


@kernel
def _distances(program, points, layers, out):
    d = np.empty(REGISTERS)
    for n in range(len(points)):
        _run(program, points[n, 0], points[n, 1], points[n, 2], d)
        low = d[0]
        for i in range(1, layers):
            low = min(low, d[i])
        out[n] = low


def registers(program: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N, 10) float64: every register at `points` (N, 3) world; 1000 in those that the program never touches."""
    points = np.ascontiguousarray(points, np.float64)
    out = np.empty((len(points), REGISTERS))
    _registers(program, points, out)
    return out


def distances(program: np.ndarray, points: np.ndarray, layers: int) -> np.ndarray:
    """(N,) float64: distance to the union of the first `layers` registers, negative inside."""
    points = np.ascontiguousarray(points, np.float64)
    out = np.empty(len(points))
    _distances(program, points, layers, out)
    return out


def registers_reference(program: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The slow twin of `registers`: one row after another over all points."""

    def smin(a, b, k):
        h = np.maximum(k - np.abs(a - b), 0) / k if k > 0 else 0.0
        return np.minimum(a, b) - h * h * k / 4

    def primitive(kind, q, s):
        x, y, z = q.T
        if kind == ELLIPSOID:
            k0, k1 = np.linalg.norm(q / s[:3], axis=1), np.linalg.norm(q / s[:3] ** 2, axis=1)
            return k0 * (k0 - 1) / np.maximum(k1, 1e-9)
        if kind == CONE:
            r, (h, r1, r2) = np.hypot(x, y), s[:3]
            slope = (r1 - r2) / h
            a = np.sqrt(max(1 - slope**2, 0))
            t = -slope * r + a * z
            middle = r * a + z * slope - r1
            return np.where(t < 0, np.hypot(r, z) - r1, np.where(t > a * h, np.hypot(r, z - h) - r2, middle))
        if kind == RING:
            flat = rounded(np.stack([x, z], 1), s[:2], s[2])
            return np.hypot(flat, y) - s[3]
        if kind == HALFSPACE:
            return z
        if kind == ALMOND:
            up, down = (s[0] ** 2 + s[1] ** 2) / (2 * s[1]), (s[0] ** 2 + s[2] ** 2) / (2 * s[2])
            arcs = np.hypot(x, z - s[1] + up) - up, np.hypot(x, z + s[2] - down) - down
            return np.maximum(np.maximum(*arcs), y)
        return rounded(q, s[:3], s[3])

    def rounded(q, halves, corner):
        beyond = np.abs(q) - halves + corner
        return np.linalg.norm(np.maximum(beyond, 0), axis=1) + np.minimum(beyond.max(1), 0) - corner

    points = np.asarray(points, np.float64)
    d = np.full((len(points), REGISTERS), _FAR)
    for row in program:
        what, register, kind, mode = (int(value) for value in row[:4])
        k, sizes = row[4], row[18:24]
        q = points.copy()
        if row[5]:
            q[:, 0] = np.abs(q[:, 0])
        q -= row[6:9]
        old = d[:, register].copy()
        if what == COPY:
            d[:, register] = d[:, kind] - sizes[0]
        elif what == CLEAR:
            d[:, register] = _FAR
        elif what == NOISE:
            ruffle = sizes[1] * noise_reference(points * sizes[0], int(sizes[2]))
            d[:, register] = np.where(np.abs(old) > 12 * sizes[1], old, old + ruffle)
        elif what == STRANDS:
            x, y, z = q.T
            if kind == 1:
                r = np.hypot(x, y) + 1e-9
                flow = np.stack([x / r * sizes[0], y / r * sizes[0], np.arctan2(r, z) * sizes[1]], 1)
            else:
                span = np.hypot(x, np.maximum(z, 0)) + 1e-9
                side = np.where(x > 0, 7.5, 0.0)
                flow = np.stack([np.arctan2(y, span) * sizes[0], side, np.arctan2(np.abs(x), z) * sizes[1]], 1)
            fine = noise_reference(flow * (2.1, 2.1, 1.6), int(sizes[3]) + 1)
            ruffle = sizes[2] * (noise_reference(flow, int(sizes[3])) + 0.5 * fine)
            d[:, register] = np.where(np.abs(old) > 12 * sizes[2], old, old + ruffle)
        else:
            value = d[:, kind] if what == MERGE else primitive(kind, q @ row[9:18].reshape(3, 3).T, sizes)
            new = smin(old, value, k) if mode == UNION else -smin(-old, value if mode == SUBTRACT else -value, k)
            far = (row[24] > 0) & (np.linalg.norm(q, axis=1) > row[24] + 1.5 * (k + np.abs(old)))
            d[:, register] = np.where(far, old, new)
    return d
