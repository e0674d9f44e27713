"""From gradients to new parameters: packing, merging in a fixed order, and the optimiser's step.

A map task adds gradients up in a dense private array. What leaves it is packed, brick by brick: a word of 64 bits that
says which of the brick's rows were touched, and 16 bytes for each of those:

    [density r g b] [e r g b] [f r g b] [w r g b]

Lanes are where they are in a row. Density is the whole number times 2^(e - 6), colours theirs times 2^(f - 6), with the
exponents of the row's largest, so that a number has seven bits (error at most 2^-8 of the largest, far below the noise
of a ray batch); w is the rendering weight as a float of eight bits, five of exponent and three of fraction. A quarter
of the bytes that float32 would take, and no row numbers. Reducers add the packets in map order, in float32: the order
is fixed by the job, so the bits do not depend on who computed what when.

The optimiser is RMSprop with one second moment for a voxel's density and one for its colour. Their roots are kept in
the two spare lanes 4 and 8 of the row itself: the state costs no memory and no traffic of its own, and as halves the
roots have the range of gradients. Only touched rows change; the first touch sets the moment to the squared gradient
(Plenoxels). Momentum, and a moment per coefficient (Adam), were measured: no gain that pays for three times the memory.
Lane 12 adds up the rendering weight that the voxel received at this level, which says later whether it was ever seen.
"""

from __future__ import annotations

import numpy as np

from nerf_plugin.kernels import kernel
from nerf_plugin.kernels.simd import (
    bits,
    bload,
    bstore,
    hload,
    hstore,
    lowest,
    popcount,
    power,
    vadd,
    vfma,
    vfmas,
    vload,
    vmul,
    vpeak,
    vset,
    vspread,
    vstore,
)

TINIEST = -100
"""Least exponent of a packed gradient."""


@kernel
def mark_touched(grads, touched, first, present, start, stop, words):
    """words[b - start] gets a bit for each row of brick b that was touched: its lane 8 (trilinear weight) is positive.

    Returns how many rows that are. words: (stop - start,) uint64.
    """
    n = 0
    for b in range(start, stop):
        word = np.uint64(0)
        if touched[b]:
            base = np.int64(first[b])
            for i in range(popcount(present[b])):
                if grads[(base + i) * 16 + 8] > 0:
                    word |= np.uint64(1) << np.uint64(i)
                    n += 1
        words[b - start] = word
    return n


@kernel
def pack(grads, touched, first, start, words, packed):
    """Moves the rows that `words` names out of `grads` (N*16,) float32, leaving zeros and their bricks untouched.

    start: number of the brick of words[0]. packed: (n*16,) int8; n as `mark_touched` says.
    """
    f = np.float32
    lanes = np.zeros(32, np.float32)
    for i in range(16):
        lanes[i] = f(1.0) if i % 4 else f(0.0)
    lanes[16] = f(1.0)
    colors, density, zero = vload(lanes, 0), vload(lanes, 16), vset(f(0.0))
    half, note = np.zeros(16, np.uint16), np.zeros(16, np.float32)
    n = 0
    for w in range(len(words)):
        word = words[w]
        if word == np.uint64(0):
            continue
        touched[start + w] = 0
        base = np.int64(first[start + w])
        while word != np.uint64(0):
            o = (base + lowest(word)) * 16
            word &= word - np.uint64(1)
            row = vload(grads, o)
            e = max(TINIEST, (bits(vpeak(vmul(row, density))) >> 23) - 127)
            c = max(TINIEST, (bits(vpeak(vmul(row, colors))) >> 23) - 127)
            scale = vfmas(density, power(6 - e), vmul(colors, vset(power(6 - c))))
            note[0] = grads[o + 4]
            hstore(half, 0, vload(note, 0))
            bstore(packed, n * 16, vmul(row, scale))
            packed[n * 16 + 4] = e
            packed[n * 16 + 8] = c
            packed[n * 16 + 12] = np.int8(min(247, (np.int64(half[0]) + 64) >> 7) - 128)
            vstore(grads, o, zero)
            n += 1


@kernel
def merge(total, first, start, words, packed):
    """Adds a packet to `total` (M*16,) float32, whose first row is that of brick `start`. Lane 8 counts packets."""
    f = np.float32
    lanes = np.zeros(48, np.float32)
    for i in range(16):
        lanes[i] = f(1.0) if i % 4 else f(0.0)
    lanes[16] = f(1.0)
    lanes[32 + 8] = f(1.0)
    colors, density, once = vload(lanes, 0), vload(lanes, 16), vload(lanes, 32)
    half, note = np.zeros(16, np.uint16), np.zeros(16, np.float32)
    n = 0
    for w in range(len(words)):
        word = words[w]
        base = np.int64(first[start + w]) - np.int64(first[start])
        while word != np.uint64(0):
            o = (base + lowest(word)) * 16
            word &= word - np.uint64(1)
            e, c = np.int64(packed[n * 16 + 4]), np.int64(packed[n * 16 + 8])
            scale = vfmas(density, power(e - 6), vmul(colors, vset(power(c - 6))))
            half[0] = (np.int64(packed[n * 16 + 12]) + 128) << 7
            vstore(note, 0, hload(half, 0))
            vstore(total, o, vfma(bload(packed, n * 16), scale, vadd(vload(total, o), once)))
            total[o + 4] += note[0]
            n += 1


@kernel
def step(old, total, rate_sigma, rate_color, rate_sh, beta, new):
    """One RMSprop step: new = old - rate * total / sqrt(second moment).

    old, new: (M*16,) uint16, bits of halves (layout: `kernels.march`); total: (M*16,) float32. rate_sh multiplies
    rate_color for degree-1 coefficients.
    """
    f = np.float32
    lane, row = np.zeros(20, np.float32), np.zeros(16, np.float32)
    for i in range(16):
        lane[i] = f(1.0) if i < 4 else (f(0.0) if i % 4 == 0 else f(rate_sh))
    which = vload(lane, 0)
    keep, fresh = f(beta), f(1.0 - beta)
    for o in range(0, len(old), 16):
        if total[o + 8] == f(0.0):
            hstore(new, o, hload(old, o))
            continue
        vstore(row, 0, hload(old, o))
        g, r, gr, bl = total[o], total[o + 1], total[o + 2], total[o + 3]
        gs, gc = g * g, (r * r + gr * gr + bl * bl) * f(1.0 / 3.0)
        vs, vc = row[4] * row[4], row[8] * row[8]
        vs = np.sqrt(gs if vs == f(0.0) else keep * vs + fresh * gs)
        vc = np.sqrt(gc if vc == f(0.0) else keep * vc + fresh * gc)
        lane[16] = -f(rate_sigma) / (vs + f(1e-8))
        lane[17] = -f(rate_color) / (vc + f(1e-8))
        lane[18] = lane[17]
        lane[19] = lane[17]
        weight = row[12] + total[o + 4]
        vstore(row, 0, vfma(vmul(vspread(lane, 16), which), vload(total, o), vload(row, 0)))
        row[4] = vs
        row[8] = vc
        row[12] = weight
        hstore(new, o, vload(row, 0))
