"""A pull of raw density towards its neighbours', which says what a field is where the photos do not.

Photos leave much open once a voxel is as small as a pixel: a change of density between two rays costs no error on the
photos that are trained on, and shows on others. So each voxel that a map task's rays touched gets, beside the gradient
of their errors, that of

    strength / 2 * w * sum over the six neighbours that have a row of (raw - neighbour's raw)^2

by its own raw density, with w the trilinear weight that it received in this task (lane 8 of its gradients). It is a
smoothness prior as total variation is in Plenoxels (Fridovich-Keil et al. 2022, section 3.4), with these differences:
squares, for raw density is what a sharp surface is smooth in; of density alone, for colours lost by it; and by the
sample instead of by the voxel, so that the ratio of prior to data, and hence the strength, is the same in every level,
for every size of batch and any number of map tasks. Only a voxel's own gradient changes, from rows that no task
writes: the order of voxels changes no bit, and no voxel is touched that rays have not touched.
"""

from __future__ import annotations

import numpy as np

from nerf_plugin.kernels import kernel
from nerf_plugin.kernels.simd import hload, lowest, popcount, vadd, vset, vstore, vsub


@kernel
def smooth(rows, grads, touched, table, bricks, first, present, places, strength):
    """Adds the gradient of the prior to lane 0 of `grads`, in place.

    rows: (N*16,) uint16, bits of halves. grads: (N*16,) float32. touched: (B,) uint64, bits of the rows to look at.
    table, bricks, first, present: as for `kernels.march`. places: (B,) int64 of `grid.Grid`.
    """
    f, one = np.float32, np.uint64(1)
    s1 = bricks[2] + 1
    s0 = s1 * (bricks[1] + 1)
    pull = np.zeros(16, np.float32)
    for b in range(len(places)):
        word = touched[b]
        if word == np.uint64(0):
            continue
        place = places[b]
        x, y, z = place // (bricks[1] * bricks[2]), place // bricks[2] % bricks[1], place % bricks[2]
        left, row = present[b], np.int64(first[b]) - 1
        while word != np.uint64(0):
            bit = np.int64(lowest(left))
            left &= left - one
            row += 1
            wanted = word & one
            word >>= one
            o = row * 16
            if wanted == np.uint64(0) or grads[o + 8] <= f(0.0):
                continue
            own, sum = hload(rows, o), vset(f(0.0))
            for side in range(6):
                axis, ahead = side >> 1, side & 1
                shift = 4 - 2 * axis
                at, number, other = (bit >> shift) & 3, bit, b
                if at + ahead in (0, 4):  # the neighbour is in the next brick
                    move = 2 * ahead - 1
                    u = x + (move if axis == 0 else 0)
                    v = y + (move if axis == 1 else 0)
                    w = z + (move if axis == 2 else 0)
                    if u < 0 or v < 0 or w < 0:
                        continue
                    other = np.int64(table[u * s0 + v * s1 + w])
                    if other < 0:
                        continue
                    number -= (3 * move) << shift
                else:
                    number += (2 * ahead - 1) << shift
                there = present[other]
                if (there >> np.uint64(number)) & one == np.uint64(0):
                    continue
                below = there & ((one << np.uint64(number)) - one)
                sum = vadd(sum, vsub(own, hload(rows, (np.int64(first[other]) + popcount(below)) * 16)))
            vstore(pull, 0, sum)
            grads[o] += f(strength) * grads[o + 8] * pull[0]
