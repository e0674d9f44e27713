"""From gradients to new parameters: packing, merging in a fixed order, and the optimiser's step.

A map task adds gradients up in a dense private array. What leaves it is packed, brick by brick: a word of 64 bits that
says which of the brick's rows were touched, and a record of 18 bytes for each of those:

    [density r g b] [e r g b] [f r g b] [w r g b] [t h]

Lanes are where they are in a row. Density is the whole number times 2^(e - 6), colours theirs times 2^(f - 6), with the
exponents of the row's largest, so that a number has seven bits (error at most 2^-8 of the largest, far below the noise
of a ray batch); w is the rendering weight as a float of eight bits, five of exponent and three of fraction, t such a
float of the trilinear weight (never 0, for the row was touched), and h one of the curvature times `CURVE_UNIT`. Little
more than a quarter of the bytes that float32 would take, and no row numbers.
Records of rows with harmonics of degree 2 have 16 bytes more, before t: the gradients of their second line where they
are in it, scaled by the largest of these, whose exponent is in the fourth last of the 16.
Reducers add the packets in map order, in float32: the order is fixed by the job, so the bits do not depend on who
computed what when.

A step is that of RMSprop, with one second moment v for a voxel's density and one for its colour, as long as that is
short, and a damped Gauss-Newton step where it would go too far:

    step = gradient / (damp * h + sqrt(v) / rate)

h is the curvature in this round: what `kernels.march` gathered for density, and the prior's (12 times its strength and
trilinear weight: six neighbours, each counted from both sides). For colour, of which a ray's is a weighted mean, it
follows from the rendering weight W and the voxel's own colour c: W SH0 (c (1 - c))^2, mean over red, green and blue, as
if the samples of a ray were alike. So rates can be four times as high, and rounds half as large again as with RMSprop
alone, for the same field (docs/radiance-fields.md).

The roots of the moments are kept in the two spare lanes 4 and 8 of the row itself: the state costs no memory and no
traffic of its own, and as halves the roots have the range of gradients. Only touched rows change; the first touch sets
the moment to the squared gradient (Plenoxels). Momentum is worth 0.1 dB, and a moment per coefficient (Adam) nothing,
for twice and three times the memory.
Coefficients of degree 2 take the step of colour times a rate of their own: they are many, and much of what photos of a
matt surface say of them is noise.
Lane 12 adds up the rendering weight that the voxel received at this level, which says later whether it was ever seen.
"""

from __future__ import annotations

import numpy as np

from nerf_plugin.kernels import kernel
from nerf_plugin.kernels.march import SH0
from nerf_plugin.kernels.simd import (
    bits,
    bload,
    bstore,
    hload,
    hstore,
    lowest,
    popcount,
    power,
    prefetch,
    vadd,
    vdiv,
    vexp,
    vfma,
    vfmas,
    vload,
    vmul,
    vpeak,
    vset,
    vstore,
    vsub,
)

BESIDE = 2
"""Bytes of a record beside one for each lane of its row."""
CURVE_UNIT = 256.0
"""What a curvature is multiplied by before it becomes a float of eight bits, which would lose small ones."""
TINIEST = -100
"""Least exponent of a packed gradient."""
LONG = np.array([n * 2.0**-17 if n < 8 else (1 + n % 8 / 8) * 2.0 ** (n // 8 - 15) for n in range(256)], np.float32)
"""What each eight bits of `short_float` stand for."""
AHEAD = 48
"""Rows that `pack` asks for before it needs them: there are gaps between those that were touched."""


def _lanes(*which: int) -> np.ndarray:
    return np.array([lane in which for lane in range(16)], np.float32)


DENSITY, COLORS = _lanes(0), _lanes(*(lane for lane in range(16) if lane % 4))
WEIGHT, ONCE, CURVE = _lanes(4), _lanes(8), _lanes(12)
SECOND = np.array([lane != 12 for lane in range(16)], np.float32)
"""Lanes of the second line that are coefficients."""


@kernel
def count_touched(touched, start, stop):
    """At most so many rows of bricks start..stop have a gradient."""
    n = 0
    for b in range(start, stop):
        n += popcount(touched[b])
    return n


@kernel
def short_float(x):
    """The eight bits of a float that is not negative: five of exponent (bias 15), three of fraction; nearest, ties
    upwards."""
    if x < np.float32(2.0**-14):
        return np.int64(x * np.float32(2.0**17) + np.float32(0.5))
    return min(((bits(x) + (1 << 19)) >> 20) - ((127 - 15) << 3), 247)


@kernel
def pack(grads, touched, first, start, stop, words, records, lines):
    """Moves the rows of bricks start..stop that have a gradient (a positive lane 8: trilinear weight) out of `grads`
    (N*L,) float32, leaving zeros there and in `touched`, (B,) uint64, whose bits say where to look.

    words: (stop - start,) uint64, which rows of each brick are packed. records: (n*(L+BESIDE),) int8, n as
    `count_touched` says. lines, L: as for `kernels.march`. Returns how many rows are packed.
    """
    colors, density, zero = vload(COLORS, 0), vload(DENSITY, 0), vset(np.float32(0.0))
    width, wide = 16 * len(lines), len(lines) == 2
    n, p = 0, 0
    for b in range(start, stop):
        word, kept = touched[b], np.uint64(0)
        base = np.int64(first[b])
        while word != np.uint64(0):
            o = (base + lowest(word)) * width
            bit = word & (np.uint64(0) - word)
            word ^= bit
            prefetch(grads, o + AHEAD * width)
            if wide:
                prefetch(grads, o + AHEAD * width + 16)
            if grads[o + 8] <= 0:
                continue
            kept |= bit
            row = vload(grads, o)
            e = max(TINIEST, (bits(abs(grads[o])) >> 23) - 127)
            c = max(TINIEST, (vpeak(vmul(row, colors)) >> 23) - 127)
            weight = short_float(grads[o + 4])
            once, curve = max(1, short_float(grads[o + 8])), short_float(grads[o + 12] * np.float32(CURVE_UNIT))
            bstore(records, p, vmul(row, vfmas(density, power(6 - e), vmul(colors, vset(power(6 - c))))))
            records[p + 4] = e
            records[p + 8] = c
            records[p + 12] = weight - 128
            if wide:
                row = vload(grads, o + 16)
                e = max(TINIEST, (vpeak(row) >> 23) - 127)
                bstore(records, p + 16, vmul(row, vset(power(6 - e))))
                records[p + 28] = e
                vstore(grads, o + 16, zero)
            records[p + width] = once - 128
            records[p + width + 1] = curve - 128
            vstore(grads, o, zero)
            n += 1
            p += width + BESIDE
        touched[b] = 0
        words[b - start] = kept
    return n


@kernel
def merge(total, first, start, words, records, lines):
    """Adds the rows of the next len(words) bricks of a packet to `total` (M*L,) float32, whose first row is that of
    brick `start`. records may go on. lines, L: as for `kernels.march`. Returns how many rows there were."""
    colors, density = vload(COLORS, 0), vload(DENSITY, 0)
    weigh, once, curve = vload(WEIGHT, 0), vload(ONCE, 0), vmul(vload(CURVE, 0), vset(np.float32(1 / CURVE_UNIT)))
    width, wide = 16 * len(lines), len(lines) == 2
    second = vload(SECOND, 0)
    n, p = 0, 0
    for w in range(len(words)):
        word = words[w]
        base = np.int64(first[start + w]) - np.int64(first[start])
        while word != np.uint64(0):
            o = (base + lowest(word)) * width
            word &= word - np.uint64(1)
            e, c = np.int64(records[p + 4]), np.int64(records[p + 8])
            scale = vfmas(density, power(e - 6), vmul(colors, vset(power(c - 6))))
            sum = vfmas(weigh, LONG[np.int64(records[p + 12]) + 128], vload(total, o))
            sum = vfmas(once, LONG[np.int64(records[p + width]) + 128], sum)
            sum = vfmas(curve, LONG[np.int64(records[p + width + 1]) + 128], sum)
            vstore(total, o, vfma(bload(records, p), scale, sum))
            if wide:
                scale = vmul(second, vset(power(np.int64(records[p + 28]) - 6)))
                vstore(total, o + 16, vfma(bload(records, p + 16), scale, vload(total, o + 16)))
            n += 1
            p += width + BESIDE
    return n


@kernel
def step(old, total, rate_sigma, rate_color, rate_sh, rate_sh2, damp_sigma, damp_color, smooth, beta, new, lines):
    """One step: new = old - total / (damp * curvature + sqrt(second moment) / rate).

    old, new: (M*L,) uint16, bits of halves (lines, L and layout: `kernels.march`); total: (M*L,) float32, zeros on
    return. rate_sh multiplies the steps of degree-1 coefficients, rate_sh2 those of degree 2. smooth: strength of the
    prior that `total` has in it.
    """
    f = np.float32
    lanes, row = np.zeros(16, np.float32), np.zeros(16, np.float32)
    for i in range(1, 16):
        lanes[i] = -COLORS[i] * (f(1.0) if i < 4 else f(rate_sh))
    density, colors, zero, one = vload(DENSITY, 0), vload(lanes, 0), vset(f(0.0)), vset(f(1.0))
    keep, fresh, of_mean = f(beta), f(1.0 - beta), vset(f(-SH0))
    slow_sigma, slow_color = f(1.0) / f(rate_sigma), f(1.0) / f(rate_color)
    prior, share = f(12.0 * smooth), f(damp_color * SH0 / 3.0)
    width, wide = 16 * len(lines), len(lines) == 2
    second = vmul(vload(SECOND, 0), vset(f(-rate_sh2)))
    for o in range(0, len(old), width):
        if total[o + 8] == f(0.0):
            hstore(new, o, hload(old, o))
            if wide:
                hstore(new, o + 16, hload(old, o + 16))
            continue
        before = hload(old, o)
        shown = vdiv(one, vadd(one, vexp(vmul(before, of_mean))))
        shown = vmul(shown, vsub(one, shown))
        vstore(row, 0, vmul(shown, shown))
        bend = share * total[o + 4] * (row[1] + row[2] + row[3])
        vstore(row, 0, before)
        g, r, gr, bl = total[o], total[o + 1], total[o + 2], total[o + 3]
        gs, gc = g * g, (r * r + gr * gr + bl * bl) * f(1.0 / 3.0)
        vs, vc = row[4] * row[4], row[8] * row[8]
        vs = np.sqrt(gs if vs == f(0.0) else keep * vs + fresh * gs)
        vc = np.sqrt(gc if vc == f(0.0) else keep * vc + fresh * gc)
        weight = row[12] + total[o + 4]
        stiff = f(damp_sigma) * (total[o + 12] + prior * total[o + 8]) + (vs + f(1e-8)) * slow_sigma
        pace = vset(f(1.0) / (bend + (vc + f(1e-8)) * slow_color))
        rate = vmul(colors, pace)
        rate = vfmas(density, f(-1.0) / stiff, rate)
        vstore(row, 0, vfma(rate, vload(total, o), before))
        row[4] = vs
        row[8] = vc
        row[12] = weight
        hstore(new, o, vload(row, 0))
        if wide:
            hstore(new, o + 16, vfma(vmul(second, pace), vload(total, o + 16), hload(old, o + 16)))
            vstore(total, o + 16, zero)
        vstore(total, o, zero)
