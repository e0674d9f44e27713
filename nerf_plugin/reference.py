"""The slow, obvious twin of every kernel, in NumPy and plain loops: the oracle that tests hold the kernels against.

Nothing here is fast, shares code with the kernels, or follows their tricks: alive cells are a dense array, a voxel's
row number comes from a dictionary, rays step everywhere and skip nothing, and all sums are float64. Only the positions
of samples are computed in float32, as the kernels do, so that both decide alike which cell a sample is in.
"""

from __future__ import annotations

from typing import Any

import numpy as np

SH = np.array([0.28209479177387814, 0.4886025119029199, 0.4886025119029199, 0.4886025119029199])
"""Factors of the real spherical harmonics 1, x, y, z (unit norm over the sphere)."""
SH2 = np.sqrt(np.array([15, 15, 15, 15 / 4, 5]) / (4 * np.pi))
"""And of xy, yz, xz, x^2 - y^2, (3 z^2 - 1) / 2."""


def hash32(x: int) -> int:
    """A well mixed 32-bit hash."""
    x ^= x >> 16
    x = x * 0x7FEB352D & 0xFFFFFFFF
    x ^= x >> 15
    x = x * 0x846CA68B & 0xFFFFFFFF
    return x ^ x >> 16


def row_numbers(grid: Any) -> dict[tuple[int, int, int], int]:
    """Row of each voxel, counted one by one: bricks in order, bits in order."""
    rows: dict[tuple[int, int, int], int] = {}
    _, by, bz = grid.bricks
    for place, word in zip(grid.places.tolist(), grid.present.tolist()):
        x, y, z = place // (by * bz), place // bz % by, place % bz
        for bit in range(64):
            if word >> bit & 1:
                rows[(4 * x + bit // 16, 4 * y + bit // 4 % 4, 4 * z + bit % 4)] = len(rows)
    return rows


def brick_distances(grid: Any) -> np.ndarray:
    """(bx+1, by+1, bz+1) int: brick number, or minus the Chebyshev distance to the nearest brick with alive cells."""
    shape = tuple(b + 1 for b in grid.bricks)
    places = [np.unravel_index(p, grid.bricks) for p in grid.places]
    full = np.array([p for p, word in zip(places, grid.occupied) if word])
    table = np.zeros(shape, np.int64)
    for at in np.ndindex(*shape):
        table[at] = -max(1, int(np.abs(full - np.array(at)).max(1).min()))
    for number, place in enumerate(places):
        table[place] = number
    return table


def corners(point: np.ndarray) -> list[tuple[tuple[int, int, int], float]]:
    """The eight voxels around a point (voxel units) and their trilinear weights."""
    low = np.floor(point).astype(int)
    f = np.maximum(np.asarray(point, np.float64) - low, 1e-6)
    result = []
    for a in (0, 1):
        for b in (0, 1):
            for c in (0, 1):
                weight = (f[0] if a else 1 - f[0]) * (f[1] if b else 1 - f[1]) * (f[2] if c else 1 - f[2])
                result.append(((int(low[0]) + a, int(low[1]) + b, int(low[2]) + c), float(weight)))
    return result


def samples(grid: Any, ray: np.ndarray, step: float, jitter: float) -> list[np.ndarray]:
    """Points (voxel units, float32) of one ray that lie in alive cells, front to back, with t in a fourth place."""
    alive, box = grid.alive(), grid.box
    origin, direction = ray[:3], ray[3:]
    near, far = np.float32(0), np.float32(np.inf)
    for axis in range(3):
        inverse = np.float32(1) / direction[axis] if direction[axis] != 0 else np.float32(1e30)
        a, b = (box[axis] - origin[axis]) * inverse, (box[axis + 3] - origin[axis]) * inverse
        near, far = max(near, min(a, b)), min(far, max(a, b))
    points = []
    if far > near:
        for k in range(int((far - near) * np.float32(1 / step) - np.float32(jitter))):
            t = near + (np.float32(k) + np.float32(jitter)) * np.float32(step)
            point = origin + t * direction
            cell = tuple(point.astype(int))
            if alive[cell]:
                points.append(np.append(point, t))
    return points


def march(grid: Any, rows: np.ndarray, rays: np.ndarray, target: np.ndarray, back: np.ndarray, step: float,
          scale: float, shift: float, lambda_a: float = 0.0, lambda_p: float = 0.0,
          lambda_d: float = 0.0, seed: int = -1) -> dict[str, np.ndarray]:  # fmt: skip
    """Forward and backward through rays, without early stop.

    rows: (N, L); rays: (R, 6) float32; target: (R, 4); back: (R, 3). Returns out (R, 5), grads (N, L), back_grad
    (R, 3), loss (the scalar of `kernels.march`, without the per-point term, which has no gradient by weights) and
    point_loss (that term).
    """
    number = row_numbers(grid)
    rows = np.asarray(rows, np.float64)
    grads = np.zeros_like(rows)
    out, back_grad = np.zeros((len(rays), 5)), np.zeros((len(rays), 3))
    loss = point_loss = 0.0
    for r, ray in enumerate(rays):
        jitter = 0.5 if seed < 0 else (hash32((seed + hash32(r)) & 0xFFFFFFFF) >> 8) * 5.9604645e-08
        x, y, z = ray[3:].astype(np.float64)
        basis = SH * np.array([1, x, y, z])
        if rows.shape[1] == 32:
            basis = np.append(basis, SH2 * [x * y, y * z, x * z, x * x - y * y, (3 * z * z - 1) / 2])
        through, color, depth, kept = 1.0, np.zeros(3), 0.0, []
        for point in samples(grid, ray, step, jitter):
            weights = [(number[voxel], w) for voxel, w in corners(point[:3])]
            raw = sum(w * rows[i] for i, w in weights)
            tau = scale * np.logaddexp(0, raw[0] + shift)
            c = 1 / (1 + np.exp(-(basis @ raw[np.array(COLOR_LANES[: len(basis)])])))
            weight = through * -np.expm1(-tau)
            color = color + weight * c
            through *= np.exp(-tau)
            if depth == 0 and through < 0.5:
                depth = point[3]
            kept.append((weights, raw, c, weight, through, float(point[3])))
        color = color + through * back[r]
        out[r] = [*color, 1 - through, depth]
        a = target[r, 3]
        error = color - target[r, :3] - (1 - a) * back[r]
        alpha_error = 1 - through - a
        loss += 0.5 * error @ error + 0.5 * lambda_a * alpha_error**2
        back_grad[r] = (through - (1 - a)) * error
        w, t = np.array([k[3] for k in kept]), np.array([k[5] for k in kept])
        apart = np.abs(t[:, None] - t)
        loss += lambda_d * (w @ apart @ w + step / 3 * w @ w)
        spread = 2 * lambda_d * (apart @ w + step / 3 * w)
        own = lambda_p if a > 0.99 else 0.0
        behind = through * (error @ back[r])
        moves = []
        for i, (_, raw, c, _, after, _) in enumerate(kept):
            shift_of_color = after * c - sum((k[3] * k[2] for k in kept[i + 1 :]), through * back[r])
            slope = scale / (1 + np.exp(-raw[0] - shift))
            moves.append(slope * np.sqrt(shift_of_color @ shift_of_color + lambda_a * through**2))
        for (weights, raw, c, weight, after, _), pull, move in zip(reversed(kept), reversed(spread), reversed(moves)):
            point_loss += 0.5 * own * weight * ((c - target[r, :3]) ** 2).sum()
            value = c @ error + lambda_a * alpha_error + pull
            row = np.zeros(rows.shape[1])
            row[0] = (after * value - behind) * scale / (1 + np.exp(-raw[0] - shift))
            behind += weight * value
            lanes = np.array(COLOR_LANES[: len(basis)])
            row[lanes] = np.outer(basis, weight * (error + own * (c - target[r, :3])) * c * (1 - c))
            row[4], row[8], row[12] = weight, 1.0, move * sum(moves)
            for i, w in weights:
                grads[i] += w * row
    return {
        "out": out,
        "grads": grads,
        "back_grad": back_grad,
        "loss": np.array(loss),
        "point_loss": np.array(point_loss),
    }


def interpolate(grid: Any, rows: np.ndarray, points: np.ndarray, empty: float) -> np.ndarray:
    """(n, L) values at points (voxel units); voxels without a row count as `empty` in lane 0, not at all elsewhere."""
    number = row_numbers(grid)
    out = np.zeros((len(points), rows.shape[1]))
    for p, point in enumerate(points):
        known = 0.0
        low = np.floor(point).astype(int)
        for corner in np.ndindex(2, 2, 2):
            f = np.asarray(point, np.float64) - low
            weight = np.prod([x if bit else 1 - x for x, bit in zip(f, corner)])
            voxel = tuple(int(v) for v in low + corner)
            if voxel in number:
                out[p] += weight * rows[number[voxel]]
                known += weight
            else:
                out[p, 0] += weight * empty
        if known > 0:
            out[p, 1:] /= known
    return out


def step(old: np.ndarray, total: np.ndarray, rate_sigma: float, rate_color: float, rate_sh: float, rate_sh2: float,
         damp_sigma: float, damp_color: float, smooth: float, beta: float) -> np.ndarray:  # fmt: skip
    """One step on rows (n, L) with summed gradients (n, L); untouched rows (lane 8 zero) stay. Lanes 4 and 8 of a row
    are the roots of its second moments. Not rounded."""
    new = np.array(old, np.float64)
    for i in np.flatnonzero(total[:, 8] != 0):
        g = np.asarray(total[i], np.float64)
        sigma, color = g[0] ** 2, np.mean(g[1:4] ** 2)
        new[i, 4] = np.sqrt(sigma if old[i, 4] == 0 else beta * float(old[i, 4]) ** 2 + (1 - beta) * sigma)
        new[i, 8] = np.sqrt(color if old[i, 8] == 0 else beta * float(old[i, 8]) ** 2 + (1 - beta) * color)
        stiff = damp_sigma * (g[12] + 12 * smooth * g[8]) + (new[i, 4] + 1e-8) / rate_sigma
        new[i, 0] -= g[0] / stiff
        shown = 1 / (1 + np.exp(-SH[0] * np.asarray(old[i, 1:4], np.float64)))
        stiff = damp_color * SH[0] * g[4] * np.mean((shown * (1 - shown)) ** 2) + (new[i, 8] + 1e-8) / rate_color
        for group in range(4):
            pace = (rate_sh if group else 1.0) / stiff
            new[i, 4 * group + 1 : 4 * group + 4] -= pace * g[4 * group + 1 : 4 * group + 4]
        for lane in [lane for function in COLOR_LANES[4:] for lane in function if lane < old.shape[1]]:
            new[i, lane] -= rate_sh2 / stiff * g[lane]
        new[i, 12] += g[4]
    return new


COLORS = [lane for lane in range(16) if lane % 4]
COLOR_LANES = [[4 * group + n for n in (1, 2, 3)] for group in range(8)] + [[16, 20, 24]]
"""Where the red, green and blue of each harmonic are in a row."""
MORE = [lane for lane in range(16, 32) if lane != 28]


def smooth(grid: Any, rows: np.ndarray, grads: np.ndarray, strength: float) -> np.ndarray:
    """(N, L) float64 gradients with that of the smoothness prior (`kernels.smooth`) added to them."""
    numbers = row_numbers(grid)
    new = grads.astype(np.float64)
    for (x, y, z), row in numbers.items():
        for near in ((x - 1, y, z), (x + 1, y, z), (x, y - 1, z), (x, y + 1, z), (x, y, z - 1), (x, y, z + 1)):
            if near in numbers:
                new[row, 0] += strength * max(0.0, grads[row, 8]) * (rows[row, 0] - rows[numbers[near], 0])
    return new


def pack(row: np.ndarray) -> list[int]:
    """The record of one row of gradients (L,), L + 2 int8, as `kernels.update` describes it."""
    packed = [0] * len(row)
    for lanes, where in (([0], 4), (COLORS, 8), (MORE, 28))[: 2 if len(row) == 16 else 3]:
        peak = max(abs(float(row[lane])) for lane in lanes)
        exponent = max(-100, int(np.frexp(peak)[1]) - 1) if peak else -100
        for lane in lanes:
            packed[lane] = int(np.clip(np.rint(float(row[lane]) * 2.0 ** (6 - exponent)), -127, 127))
        packed[where] = exponent
    packed[12] = short_code(row[4]) - 128
    return [*packed, max(1, short_code(row[8])) - 128, short_code(row[12] * 256) - 128]


def unpack(packed: np.ndarray) -> np.ndarray:
    """(L,) float64: the gradients that a record stands for."""
    row = np.zeros(len(packed) - 2)
    row[0] = float(packed[0]) * 2.0 ** (int(packed[4]) - 6)
    for lane in COLORS:
        row[lane] = float(packed[lane]) * 2.0 ** (int(packed[8]) - 6)
    if len(row) == 32:
        row[MORE] = packed[MORE] * 2.0 ** (int(packed[28]) - 6)
    row[4], row[8], row[12] = (short_float(int(packed[i]) + 128) for i in (12, -2, -1))
    row[12] /= 256
    return row


def short_code(x: float) -> int:
    """The eight bits of `kernels.update.short_float`."""
    fraction, exponent = np.frexp(float(x))
    if x < 2.0**-14:
        return int(np.floor(float(x) * 2.0**17 + 0.5))
    return min(247, (int(exponent) + 14) * 8 + int(np.floor((2 * fraction - 1) * 8 + 0.5)))


def short_float(code: int) -> float:
    """What eight bits of `kernels.update.short_float` stand for."""
    return code * 2.0**-17 if code < 8 else (1 + code % 8 / 8) * 2.0 ** (code // 8 - 15)


def merge(grid: Any, brick: int, count: int, packets: list[dict[str, np.ndarray]], size: int = 16) -> np.ndarray:
    """(count, size) float32 sum of the packets, in their order, of the range of bricks that begins with `brick`."""
    total = np.zeros((count, size), np.float32)
    for packet in packets:
        records = iter(packet["records"].reshape(-1, size + 2))
        for offset, word in enumerate(packet["words"].tolist()):
            base = int(grid.first[brick + offset]) - int(grid.first[brick])
            for bit in range(64):
                if word >> bit & 1:
                    total[base + bit] += unpack(next(records)).astype(np.float32)
    return total


def carve(keep: np.ndarray, lo: np.ndarray, voxel: float, camera: Any, mask: np.ndarray) -> np.ndarray:
    """(X, Y, Z): keep, less the voxels that the camera (of the mask's size) sees where the mask is 0."""
    at = np.stack(np.meshgrid(*[np.arange(n) for n in keep.shape], indexing="ij"), -1).reshape(-1, 3)
    pixels, depth = camera.project(np.asarray(lo) + at * voxel)
    u, v = np.floor(pixels).astype(int).T
    seen = (depth > 1e-9) & (u >= 0) & (v >= 0) & (u < mask.shape[1]) & (v < mask.shape[0])
    outside = np.zeros(len(at), bool)
    outside[seen] = mask[v[seen], u[seen]] == 0
    return np.where(outside.reshape(keep.shape), 0, keep)


def count_seen(shape: tuple[int, ...], lo: np.ndarray, voxel: float, camera: Any, near: float) -> np.ndarray:
    """(X, Y, Z): 1 for voxels in the camera's picture that are at least `near` away."""
    at = (
        np.asarray(lo) + np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1).reshape(-1, 3) * voxel
    )
    pixels, depth = camera.project(at)
    inside = (pixels >= 0).all(1) & (pixels < [camera.width, camera.height]).all(1) & (depth > 1e-9)
    return (inside & (np.linalg.norm(at - camera.position, axis=1) >= near)).reshape(shape).astype(int)


def mark_cells(cells: np.ndarray, offset: np.ndarray, ratio: float, resolution: tuple[int, int, int]) -> np.ndarray:
    """Dense bool: which cells of a lattice have their centre in a set cell of another (see `kernels.lattice`)."""
    alive = np.zeros(resolution, bool)
    for cell in np.ndindex(*[n - 1 for n in resolution]):
        at = np.floor(offset + (np.array(cell) + 0.5) * ratio).astype(int)
        if (at >= 0).all() and (at < cells.shape).all():
            alive[cell] = bool(cells[tuple(at)])
    return alive


def halve(image: np.ndarray) -> np.ndarray:
    """Mean of 2 x 2 pixels of (H, W, 4) uint8, halves rounded up."""
    h, w = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    blocks = image[:h, :w].astype(np.int64).reshape(h // 2, 2, w // 2, 2, -1)
    return ((blocks.sum((1, 3)) + 2) // 4).astype(np.uint8)


def premultiply(image: np.ndarray) -> np.ndarray:
    """Straight-alpha RGBA uint8 to premultiplied."""
    color = (image[..., :3].astype(np.int64) * image[..., 3:] + 127) // 255
    return np.concatenate([color.astype(np.uint8), image[..., 3:]], -1)


def dilate(mask: np.ndarray, radius: int) -> np.ndarray:
    """Largest value in the square of `radius` pixels around each."""
    padded = np.pad(mask, radius)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * radius + 1, 2 * radius + 1))
    return windows.max((2, 3))


def tile_order(mask: np.ndarray, tile: int) -> np.ndarray:
    """Row-major numbers of set pixels, sorted by square of four tiles, then by tile, then by row, then by column."""
    v, u = np.nonzero(mask)
    order = np.lexsort((u, v, u // tile, v // tile, u // (2 * tile), v // (2 * tile)))
    return (v * mask.shape[1] + u)[order]


def octahedral(d: np.ndarray) -> np.ndarray:
    """(2,) place in 0..1 of a direction on the octahedral map."""
    x, y = d[:2] / np.abs(d).sum()
    if d[2] < 0:
        x, y = (1 - abs(y)) * (1 if x >= 0 else -1), (1 - abs(x)) * (1 if y >= 0 else -1)
    return np.array([x, y]) / 2 + 0.5


def glued(layer: np.ndarray) -> np.ndarray:
    """(S + 2, S + 2, C): a layer of texels with the border that the octahedral map glues to its own."""
    rows = np.concatenate([layer[:1, ::-1], layer, layer[-1:, ::-1]])
    sides = np.concatenate([rows[:, :1], rows, rows[:, -1:]], 1)
    sides[1:-1, 0], sides[1:-1, -1] = layer[::-1, 0], layer[::-1, -1]
    sides[[0, 0, -1, -1], [0, -1, 0, -1]] = layer[[-1, -1, 0, 0], [-1, 0, -1, 0]]
    return sides


def shells(values: np.ndarray, centre: np.ndarray, radii: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """(R, 3) colours at the end of rays (R, 6): values (L, S, S, 4) of `kernels.shells`."""
    side = values.shape[1]
    out = np.zeros((len(rays), 3))
    for r, ray in enumerate(np.asarray(rays, np.float64)):
        origin, direction = ray[:3] - centre, ray[3:]
        through = 1.0
        for layer, texels in enumerate(values):
            at = direction
            if layer < len(radii):
                a, b, c = direction @ direction, 2 * origin @ direction, origin @ origin - radii[layer] ** 2
                far = max(np.roots([a, b, c]), key=lambda t: t.real)
                if abs(far.imag) > 0 or far.real <= 0:
                    continue
                at = origin + far.real * direction
            u, v = octahedral(at) * side + 0.5  # in the glued map, whose first texel is the border
            i, j = int(u), int(v)
            p, q, padded = u - i, v - j, glued(texels)
            raw = (1 - p) * ((1 - q) * padded[i, j] + q * padded[i, j + 1])
            raw = raw + p * ((1 - q) * padded[i + 1, j] + q * padded[i + 1, j + 1])
            active = 1 / (1 + np.exp(-raw))
            alpha = active[0] if layer < len(radii) else 1.0
            out[r] += through * alpha * active[1:]
            through *= 1 - alpha
    return out
