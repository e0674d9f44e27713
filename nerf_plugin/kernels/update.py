"""From gradients to new parameters: packing, merging in a fixed order, and the optimiser's step.

A map task adds gradients up in a dense private array. What leaves it is packed: the numbers of the touched rows and
their gradients as 16-bit floats (relative error 2^-11, far below the noise of a ray batch), ordered by row, so that a
reduce task that owns a range of rows reads a contiguous piece. Reducers add the pieces in map order, in float32: the
order is fixed by the job, so the bits do not depend on who computed what when.

The optimiser is RMSprop with one second moment for a voxel's density and one for its colour, kept in the two spare
lanes 4 and 8 of the row itself: the state costs no memory and no traffic of its own. Only touched rows change; the
first touch sets the moment to the squared gradient (Plenoxels). Momentum, and a moment per coefficient (Adam), were
measured: no gain that pays for three times the memory. Lane 12 adds up the rendering weight that the voxel received
at this level, which says later whether it was ever seen.
"""

from __future__ import annotations

import numpy as np

from nerf_plugin.kernels import kernel
from nerf_plugin.kernels.simd import hload, hstore, popcount, vadd, vfma, vload, vmul, vset, vspread, vstore


@kernel
def count_touched(grads, touched, first, present, start, stop):
    """Rows of bricks start..stop whose lane 8 (trilinear weight) is positive."""
    n = 0
    for b in range(start, stop):
        if touched[b]:
            for row in range(first[b], first[b] + popcount(present[b])):
                if grads[np.int64(row) * 16 + 8] > 0:
                    n += 1
    return n


@kernel
def pack(grads, touched, first, present, start, stop, rows, halves):
    """Moves the touched rows of bricks start..stop out of `grads` (N*16,) float32, leaving zeros.

    rows: (n,) int32, halves: (n*16,) uint16 (IEEE half bits); n as `count_touched` says.
    """
    zero = vset(np.float32(0.0))
    n = 0
    for b in range(start, stop):
        if touched[b]:
            touched[b] = 0
            for row in range(first[b], first[b] + popcount(present[b])):
                o = np.int64(row) * 16
                if grads[o + 8] > 0:
                    rows[n] = row
                    hstore(halves, n * 16, vload(grads, o))
                    vstore(grads, o, zero)
                    n += 1


@kernel
def merge(total, base, rows, halves):
    """total[row - base] += halves, for total (M*16,) float32."""
    for n in range(len(rows)):
        o = np.int64(rows[n] - base) * 16
        vstore(total, o, vadd(vload(total, o), hload(halves, n * 16)))


@kernel
def step(old, total, rate_sigma, rate_color, rate_sh, beta, new):
    """One RMSprop step: new = old - rate * total / sqrt(second moment).

    old, total, new: (M*16,) float32 (layout: `kernels.march`). rate_sh multiplies rate_color for degree-1 coefficients.
    """
    f = np.float32
    lane = np.zeros(20, np.float32)
    for i in range(16):
        lane[i] = f(1.0) if i < 4 else (f(0.0) if i % 4 == 0 else f(rate_sh))
    which = vload(lane, 0)
    keep, fresh = f(beta), f(1.0 - beta)
    for row in range(len(old) // 16):
        o = row * 16
        if total[o + 8] == f(0.0):
            vstore(new, o, vload(old, o))
            continue
        g, r, gr, bl = total[o], total[o + 1], total[o + 2], total[o + 3]
        gs, gc = g * g, (r * r + gr * gr + bl * bl) * f(1.0 / 3.0)
        vs, vc = old[o + 4], old[o + 8]
        vs = gs if vs == f(0.0) else keep * vs + fresh * gs
        vc = gc if vc == f(0.0) else keep * vc + fresh * gc
        lane[16] = -f(rate_sigma) / (np.sqrt(vs) + f(1e-8))
        lane[17] = -f(rate_color) / (np.sqrt(vc) + f(1e-8))
        lane[18] = lane[17]
        lane[19] = lane[17]
        weight = old[o + 12] + total[o + 4]
        vstore(new, o, vfma(vmul(vspread(lane, 16), which), vload(total, o), vload(old, o)))
        new[o + 4] = vs
        new[o + 8] = vc
        new[o + 12] = weight
