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
from nerf_plugin.kernels.simd import hload, lowest, popcount, vstore


@kernel
def smooth(rows, grads, start, stop, table, bricks, first, present, places, strength, lines):
    """Adds the gradient of the prior to lane 0 of `grads`, in place, for bricks start..stop.

    rows: (N*L,) uint16, bits of halves, of all bricks. grads: (M*L,) float32, whose first row is that of brick `start`.
    lines, L, table, bricks, first, present: as for `kernels.march`. places: (B,) int64 of `grid.Grid`.
    """
    f, one, width = np.float32, np.uint64(1), 16 * len(lines)
    s1 = bricks[2] + 1
    s0 = s1 * (bricks[1] + 1)
    lanes, own = np.zeros(16, np.float32), np.zeros(64, np.float32)
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
        here, row = present[b], np.int64(first[b]) * width
        left = here
        while left != np.uint64(0):  # each density of the brick is widened once, not for each neighbour
            vstore(lanes, 0, hload(rows, row))
            own[np.int64(lowest(left))] = lanes[0]
            left &= left - one
            row += width
        left, o = here, (np.int64(first[b]) - np.int64(first[start])) * width
        while left != np.uint64(0):
            bit = np.int64(lowest(left))
            left &= left - one
            if grads[o + 8] > f(0.0):
                value, pull = own[bit], f(0.0)
                for side in range(6):
                    shift, move = 4 - 2 * (side >> 1), 2 * (side & 1) - 1
                    number = bit + (move << shift)
                    if ((bit >> shift) & 3) + (side & 1) not in (0, 4):
                        if (here >> np.uint64(number)) & one != np.uint64(0):
                            pull += value - own[number]
                        continue
                    other = beside[side]  # the neighbour is in the next brick
                    if other < 0:
                        continue
                    number -= (4 * move) << shift
                    there = present[other]
                    if (there >> np.uint64(number)) & one != np.uint64(0):
                        below = there & ((one << np.uint64(number)) - one)
                        vstore(lanes, 0, hload(rows, (np.int64(first[other]) + popcount(below)) * width))
                        pull += value - lanes[0]
                grads[o] += f(strength) * grads[o + 8] * pull
            o += width
