"""A pull of raw density towards its neighbours', which says what a field is where the photos do not.

Photos leave much open once a voxel is as small as a pixel: a change of density between two rays costs no error on the
photos that are trained on, and shows on others. So each voxel that a round's rays touched gets, beside the gradient
of their errors, that of

    strength / 2 * w * sum over the six neighbours that have a row of (raw - neighbour's raw)^2

by its own raw density, with w the trilinear weight that it received in this round (lane 8 of its gradients). It is a
smoothness prior as total variation is in Plenoxels (Fridovich-Keil et al. 2022, section 3.4), with these differences:
squares, for raw density is what a sharp surface is smooth in; of density alone, for colours lost by it; and by the
sample instead of by the voxel, so that the ratio of prior to data, and hence the strength, is the same in every level
and for every size of batch. Only a voxel's own gradient changes, from rows that no task writes: the order of voxels
changes no bit, and no voxel is touched that rays have not touched. It is linear in w, so the reduce tasks add it, once
to the sum of all packets, each for its range of bricks; which costs less than to add it to each packet, as map tasks
might.
"""

from __future__ import annotations

import numpy as np

from nerf_plugin.kernels import kernel
from nerf_plugin.kernels.simd import hload, lowest, popcount, vadd, vset, vstore, vsub


@kernel
def smooth(rows, grads, start, stop, table, bricks, first, present, places, strength):
    """Adds the gradient of the prior to lane 0 of `grads`, in place, for bricks start..stop.

    rows: (N*16,) uint16, bits of halves, of all bricks. grads: (M*16,) float32, whose first row is that of brick
    `start`. table, bricks, first, present: as for `kernels.march`. places: (B,) int64 of `grid.Grid`.
    """
    f, one = np.float32, np.uint64(1)
    s1 = bricks[2] + 1
    s0 = s1 * (bricks[1] + 1)
    pull = np.zeros(16, np.float32)
    beside = np.empty(6, np.int64)
    for b in range(start, stop):
        place = places[b]
        x, y, z = place // (bricks[1] * bricks[2]), place // bricks[2] % bricks[1], place % bricks[2]
        at = x * s0 + y * s1 + z
        beside[0] = table[at - s0] if x > 0 else -1
        beside[1] = table[at + s0]
        beside[2] = table[at - s1] if y > 0 else -1
        beside[3] = table[at + s1]
        beside[4] = table[at - 1] if z > 0 else -1
        beside[5] = table[at + 1]
        left, row = present[b], np.int64(first[b])
        o = (row - np.int64(first[start])) * 16
        while left != np.uint64(0):
            bit = np.int64(lowest(left))
            left &= left - one
            if grads[o + 8] > f(0.0):
                own, sum = hload(rows, row * 16), vset(f(0.0))
                for side in range(6):
                    shift, move = 4 - 2 * (side >> 1), 2 * (side & 1) - 1
                    number, other = bit + (move << shift), b
                    if ((bit >> shift) & 3) + (side & 1) in (0, 4):  # the neighbour is in the next brick
                        number -= (4 * move) << shift
                        other = beside[side]
                        if other < 0:
                            continue
                    there = present[other]
                    if (there >> np.uint64(number)) & one == np.uint64(0):
                        continue
                    below = there & ((one << np.uint64(number)) - one)
                    sum = vadd(sum, vsub(own, hload(rows, (np.int64(first[other]) + popcount(below)) * 16)))
                vstore(pull, 0, sum)
                grads[o] += f(strength) * grads[o + 8] * pull[0]
            row += 1
            o += 16
