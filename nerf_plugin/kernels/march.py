"""Volume rendering along rays through the sparse grid, forward and backward: where nearly all the time goes.

The model (Max 1995; Mildenhall et al. 2020, eq. 3). Along a ray with samples every `step` voxels, the raw density x and
raw colours y are interpolated trilinearly from the eight corners of the sample's cell and only then activated
("post-activation", Sun et al. 2022, sec. 4.2), which lets a surface be sharper than a voxel:

    tau_i = scale * softplus(x_i + shift)          optical depth of one step
    alpha_i = 1 - exp(-tau_i),  w_i = T_i alpha_i,  T_{i+1} = T_i exp(-tau_i)
    c_i = sigmoid(y_i . SH(direction))             SH of degree 0 and 1 (and 2), real, unit norm
    C = sum w_i c_i + T_n * background,  A = 1 - T_n

Loss of a ray: 1/2 |C - target|^2 + lambda_a/2 (A - a)^2 + lambda_p/2 sum w_i |c_i - colour|^2, the last only for opaque
pixels and with w_i held fixed (DVGO's per-point colour loss). With e = C - target and q_i = c_i . e + lambda_a (A - a),
the derivative by optical depth is

    dL/dtau_i = T_{i+1} q_i - ( sum_{j>i} w_j q_j + T_n background . e )

so one walk from back to front with a running sum does it, without dividing by 1 - alpha. To this is added lambda_d
times the distortion loss (Barron et al. 2022, eq. 15), which pulls the weights of a ray together at one surface:
sum_ij w_i w_j |t_i - t_j| + 1/3 step sum w_i^2 with t in voxels. Its derivative by w_i joins q_i:

    2 sum_j w_j |t_i - t_j| + 2/3 step w_i,    from running sums of w_j and w_j t_j before and behind i.

Curvature. How far a step may go along a gradient is said by the Gauss-Newton matrix J^T J of the rays' errors. With

    J_i = dtau_i/dx_i * sqrt( |T_{i+1} c_i - sum_{j>i} w_j c_j - T_n background|^2 + lambda_a T_n^2 )

for how much sample i moves its ray's colour and opacity, the row of the matrix that belongs to a voxel sums up to no
more than sum over its samples of (trilinear weight) J_i sum_k J_k: the voxel's curvature. A step of gradient by
curvature does not overshoot although all voxels move at once (simultaneous algebraic reconstruction, Andersen & Kak
1984; as a separable surrogate, De Pierro 1995); `kernels.update` says what is made of it.

Layout. A voxel's row is 16 halves, two rows a cache line: four groups [density r g b] [- r g b] [- r g b] [- r g b] for
SH functions 1, x, y, z. Multiplying a row by the SH values in the same places and adding the four groups gives
[x, y_r, y_g, y_b] at once. Gradients are float32, a cache line a row, in the same lanes and the three spare ones: lane
4 collects the rendering weight that a voxel received, lane 8 the trilinear weight (so that lane 8 > 0 means "touched"),
lane 12 its curvature.
With harmonics of degree 2 a row has a second line behind the first, a cache line in all:
[r' r g b] [g' r g b] [b' r g b] [- r g b] for xy, yz, xz, x^2 - y^2, and r' g' b' for 3 z^2 - 1, which are added to the
sums of the groups. Its gradients are two cache lines, in the same lanes.
Halves cost no quality (`docs/radiance-fields.md`): an optimiser of large batches takes steps far above their rounding.

Voxels live in bricks of 4^3. `table` gives the brick of a place, or -d where no cell within d - 1 bricks is alive
(Chebyshev distance), which a ray skips in one jump. A brick has two 64-bit words: `occupied`, whose bit says that a
cell is alive (worth sampling), and `present`, whose bits say which voxels have a row; the row is the brick's first row
plus the number of present voxels before it. Bit of voxel (i, j, k) in its brick: 16 i + 4 j + k.

Order. Samples are collected in chunks: first addresses (with a prefetch each), then rows, then activations sixteen at
a time, then compositing, which stops when T falls below `stop`. A plain loop over samples waits for memory at each and
takes twice as long; a chunk that goes on behind the surface fetches rows for nothing. Rays come in the order of small
tiles, so a ray ends about where the one before it did: its first chunk has one sample more than that one used, the next
ones `FEW`. On a trained field a ray uses five of sixteen, and chunks of always sixteen took 1.15 to 1.7 times as long.
No result depends on it: `touched` may name rows that got no gradient, and whoever reads it looks.

Coordinates are in voxel units, voxel (i, j, k) at its integers, so `origins` is (world - lo) / voxel.
"""

from __future__ import annotations

import numpy as np

from nerf_plugin.kernels import kernel
from nerf_plugin.kernels.simd import (
    hblend,
    popcount,
    prefetch,
    vadd,
    vdiv,
    vexp,
    vfma,
    vfmas,
    vfold,
    vfold2,
    vlane4,
    vload,
    vlog,
    vmin,
    vmul,
    vset,
    vspread,
    vspread2,
    vstore,
    vsub,
)

MAX_SAMPLES = 1024
"""Samples of one ray that are kept; a ray that meets more is cut there."""

FEW, MANY = 4, 16
"""Least and most samples of a chunk."""

SCRATCH_FLOATS = MAX_SAMPLES * 26
SCRATCH_ROWS = MAX_SAMPLES * 8

SH0 = 0.28209479177387814
SH1 = 0.4886025119029199
SH2 = (1.0925484305920792, 0.5462742152960396, 0.31539156525252005)
"""Of xy, yz and xz; of x^2 - y^2; of 3 z^2 - 1."""


def scratch() -> tuple[np.ndarray, np.ndarray]:
    """Working memory for `march`: (float32, int32), reusable between calls of one thread."""
    return np.zeros(SCRATCH_FLOATS, np.float32), np.zeros(SCRATCH_ROWS, np.int32)


@kernel
def hash32(x):
    """A well mixed 32-bit hash of a uint32 ("lowbias32", C. Wellons): counter-based jitter."""
    x = np.uint32(x)
    x ^= x >> np.uint32(16)
    x = np.uint32(x * np.uint32(0x7FEB352D))
    x ^= x >> np.uint32(15)
    x = np.uint32(x * np.uint32(0x846CA68B))
    x ^= x >> np.uint32(16)
    return x


@kernel
def march(rows, grads, touched, table, bricks, first, present, occupied, box, rays, target, back, back_grad, count,
          seed, step, scale, shift, lambda_a, lambda_p, lambda_d, stop, train, out, work, corner, lines):  # fmt: skip
    """Render `count` rays and, if `train`, add the loss gradients to `grads`.

    rows: (N*L,) uint16, bits of halves; lines says where each line of a row begins, (0,) or (0, 16), and L is 16 for
    each. grads: (N*L,) float32. touched: (B,) uint64, bits set for the rows of a brick that got a gradient. table:
    (nx+1, ny+1, nz+1) int32, flat; bricks: (3,) its first three extents less one. first: (B,) int32, present, occupied:
    (B,) uint64. box: (6,) float32, lower and upper corner of what is alive. rays: (count*6,) float32 origin and unit
    direction.
    target: (count*4,) float32 premultiplied colour and alpha. back, back_grad: (count*3,) float32, colour behind the
    grid and the loss gradient by it. seed: of the jitter of the first sample; negative for none (half a step).
    out: (count*5,) float32 colour, alpha, distance in voxels at which T falls to 1/2 (0 if it never does).

    Returns (sum of squared colour errors, alive samples, steps marched).
    """
    f = np.float32
    stride, wide = 16 * len(lines), len(lines) == 2
    RAW = 0
    TRANS = 4 * MAX_SAMPLES
    SLOPE = TRANS + MAX_SAMPLES
    RED = SLOPE + MAX_SAMPLES
    GREEN = RED + MAX_SAMPLES
    BLUE = GREEN + MAX_SAMPLES
    WEIGHT = BLUE + MAX_SAMPLES
    AFTER = WEIGHT + MAX_SAMPLES
    WHERE = AFTER + MAX_SAMPLES
    TRI = WHERE + MAX_SAMPLES
    GRAD = TRI + 8 * MAX_SAMPLES
    CURVE = GRAD + 4 * MAX_SAMPLES
    LANES = CURVE + MAX_SAMPLES
    s1 = bricks[2] + 1
    s0 = s1 * (bricks[1] + 1)
    fstep = f(step)
    per_step = f(1.0) / fstep
    one, zero, ceiling = vset(f(1.0)), vset(f(0.0)), vset(f(40.0))
    vshift, vscale = vset(f(shift)), vset(f(scale))
    for i in range(80):
        work[LANES + i] = 0.0
    work[LANES + 4] = 1.0
    work[LANES + 16 + 8] = 1.0
    work[LANES + 48 + 12] = 1.0
    lane_weight, lane_touch, lane_curve = vload(work, LANES), vload(work, LANES + 16), vload(work, LANES + 48)
    total, alive, steps, guess = 0.0, 0, 0, MANY
    for ray in range(count):
        ox, oy, oz = rays[ray * 6], rays[ray * 6 + 1], rays[ray * 6 + 2]
        dx, dy, dz = rays[ray * 6 + 3], rays[ray * 6 + 4], rays[ray * 6 + 5]
        ix = f(1.0) / dx if dx != 0 else f(1e30)
        iy = f(1.0) / dy if dy != 0 else f(1e30)
        iz = f(1.0) / dz if dz != 0 else f(1e30)
        a, b = (box[0] - ox) * ix, (box[3] - ox) * ix
        near, far = min(a, b), max(a, b)
        a, b = (box[1] - oy) * iy, (box[4] - oy) * iy
        near, far = max(near, min(a, b)), min(far, max(a, b))
        a, b = (box[2] - oz) * iz, (box[5] - oz) * iz
        near, far = max(near, min(a, b), f(0.0)), min(far, max(a, b))
        through, red, green, blue, depth = f(1.0), f(0.0), f(0.0), f(0.0), f(0.0)
        mean_t = f(0.0)
        n = 0
        jitter = f(0.5)
        if seed >= 0:
            jitter = f(hash32(np.uint32(seed) + hash32(np.uint32(ray))) >> np.uint32(8)) * f(5.9604645e-08)
        last = int((far - near) * per_step - jitter) if far > near else 0
        k = 0
        sh = LANES + 32
        for group in range(4):
            value = f(SH0) if group == 0 else f(SH1) * (dx if group == 1 else (dy if group == 2 else dz))
            work[sh + 4 * group] = f(1.0) if group == 0 else f(0.0)
            work[sh + 4 * group + 1] = value
            work[sh + 4 * group + 2] = value
            work[sh + 4 * group + 3] = value
        basis = vload(work, sh)
        if wide:
            work[sh + 32] = work[sh + 36] = work[sh + 40] = f(SH2[2]) * (f(3.0) * dz * dz - f(1.0))
            for group in range(4):
                value = f(SH2[1]) * (dx * dx - dy * dy)
                if group < 3:
                    value = f(SH2[0]) * (dx * dy if group == 0 else (dy * dz if group == 1 else dx * dz))
                work[sh + 32 + 4 * group + 1] = value
                work[sh + 32 + 4 * group + 2] = value
                work[sh + 32 + 4 * group + 3] = value
            basis2 = vload(work, sh + 32)
        room = guess
        while k < last and n <= MAX_SAMPLES - MANY:
            chunk = n
            while k < last and n < chunk + room:
                steps += 1
                t = near + (f(k) + jitter) * fstep
                px, py, pz = ox + t * dx, oy + t * dy, oz + t * dz
                cx, cy, cz = int(px), int(py), int(pz)
                bx, by, bz = cx >> 2, cy >> 2, cz >> 2
                brick = table[bx * s0 + by * s1 + bz]
                if brick < 0:
                    a = ((f((bx - brick) * 4) if dx > 0 else f((bx + brick + 1) * 4)) - px) * ix
                    b = ((f((by - brick) * 4) if dy > 0 else f((by + brick + 1) * 4)) - py) * iy
                    c = ((f((bz - brick) * 4) if dz > 0 else f((bz + brick + 1) * 4)) - pz) * iz
                    k += max(1, int(min(a, b, c) * per_step) + 1)
                    continue
                k += 1
                bit = ((cx & 3) << 4) | ((cy & 3) << 2) | (cz & 3)
                if (occupied[brick] >> np.uint64(bit)) & np.uint64(1) == np.uint64(0):
                    continue
                fx = max(px - f(cx), f(1e-6))
                fy = max(py - f(cy), f(1e-6))
                fz = max(pz - f(cz), f(1e-6))
                gx, gy, gz = f(1.0) - fx, f(1.0) - fy, f(1.0) - fz
                w00, w01, w10, w11 = gx * gy, gx * fy, fx * gy, fx * fy
                q = TRI + n * 8
                work[q], work[q + 1], work[q + 2], work[q + 3] = w00 * gz, w00 * fz, w01 * gz, w01 * fz
                work[q + 4], work[q + 5], work[q + 6], work[q + 7] = w10 * gz, w10 * fz, w11 * gz, w11 * fz
                work[WHERE + n] = t
                for c in range(8):
                    jx, jy, jz = cx + (c >> 2), cy + ((c >> 1) & 1), cz + (c & 1)
                    other = table[(jx >> 2) * s0 + (jy >> 2) * s1 + (jz >> 2)]
                    bit = ((jx & 3) << 4) | ((jy & 3) << 2) | (jz & 3)
                    before = present[other] & ((np.uint64(1) << np.uint64(bit)) - np.uint64(1))
                    place = popcount(before)
                    row = first[other] + place
                    corner[n * 8 + c] = row
                    prefetch(rows, row * stride)
                    if train:
                        touched[other] |= np.uint64(1) << np.uint64(place)
                        prefetch(grads, row * stride)
                        if wide:
                            prefetch(grads, row * stride + 16)
                n += 1
            if n == chunk:
                break
            room = FEW
            for j in range(chunk, n):
                q, w = j * 8, TRI + j * 8
                mixed = vmul(hblend(rows, corner, q, stride, 0, work, w), basis)
                if wide:
                    beyond = vmul(hblend(rows, corner, q, stride, 16, work, w), basis2)
                    vfold2(work, RAW + j * 4, mixed, beyond)
                else:
                    vfold(work, RAW + j * 4, mixed)
            grown = vexp(vmin(vadd(vlane4(work, RAW + chunk * 4, 0), vshift), ceiling))
            more = vadd(grown, one)
            vstore(work, SLOPE + chunk, vmul(vdiv(grown, more), vscale))
            vstore(work, TRANS + chunk, vexp(vsub(zero, vmul(vlog(more), vscale))))
            vstore(work, RED + chunk, vdiv(one, vadd(one, vexp(vsub(zero, vlane4(work, RAW + chunk * 4, 1))))))
            vstore(work, GREEN + chunk, vdiv(one, vadd(one, vexp(vsub(zero, vlane4(work, RAW + chunk * 4, 2))))))
            vstore(work, BLUE + chunk, vdiv(one, vadd(one, vexp(vsub(zero, vlane4(work, RAW + chunk * 4, 3))))))
            done = False
            for j in range(chunk, n):
                trans = work[TRANS + j]
                weight = through * (f(1.0) - trans)
                work[WEIGHT + j] = weight
                red += weight * work[RED + j]
                green += weight * work[GREEN + j]
                blue += weight * work[BLUE + j]
                mean_t += weight * work[WHERE + j]
                through *= trans
                work[AFTER + j] = through
                if depth == 0 and through < f(0.5):
                    depth = work[WHERE + j]
                if through < stop:
                    n = j + 1
                    done = True
                    break
            if done:
                break
        alive += n
        guess = min(MANY, max(FEW, n + 1))
        opacity = f(1.0) - through
        b0, b1, b2 = back[ray * 3], back[ray * 3 + 1], back[ray * 3 + 2]
        red += through * b0
        green += through * b1
        blue += through * b2
        out[ray * 5] = red
        out[ray * 5 + 1] = green
        out[ray * 5 + 2] = blue
        out[ray * 5 + 3] = opacity
        out[ray * 5 + 4] = depth
        if not train:
            continue
        clear = f(1.0) - target[ray * 4 + 3]
        e0 = red - target[ray * 4] - clear * b0
        e1 = green - target[ray * 4 + 1] - clear * b1
        e2 = blue - target[ray * 4 + 2] - clear * b2
        total += e0 * e0 + e1 * e1 + e2 * e2
        back_grad[ray * 3] = (through - clear) * e0
        back_grad[ray * 3 + 1] = (through - clear) * e1
        back_grad[ray * 3 + 2] = (through - clear) * e2
        if n == 0:
            continue
        ea = f(lambda_a) * (opacity - target[ray * 4 + 3])
        behind = through * (e0 * b0 + e1 * b1 + e2 * b2)
        own = f(lambda_p) if clear < f(0.01) else f(0.0)
        p0, p1, p2 = target[ray * 4], target[ray * 4 + 1], target[ray * 4 + 2]
        two_d, width = f(2.0 * lambda_d), fstep * f(1.0 / 3.0)
        front_w, front_wt, rear_w, rear_wt = opacity, mean_t, f(0.0), f(0.0)
        h0, h1, h2 = through * b0, through * b1, through * b2
        clearing, moves = f(lambda_a) * through * through, f(0.0)
        for back_j in range(n):
            j = n - 1 - back_j
            c0, c1, c2, weight = work[RED + j], work[GREEN + j], work[BLUE + j], work[WEIGHT + j]
            t = work[WHERE + j]
            front_w -= weight
            front_wt -= weight * t
            spread = t * (front_w - rear_w) - front_wt + rear_wt + width * weight
            rear_w += weight
            rear_wt += weight * t
            value = c0 * e0 + c1 * e1 + c2 * e2 + ea + two_d * spread
            after, slope = work[AFTER + j], work[SLOPE + j]
            work[GRAD + j * 4] = (after * value - behind) * slope
            m0, m1, m2 = after * c0 - h0, after * c1 - h1, after * c2 - h2
            h0 += weight * c0
            h1 += weight * c1
            h2 += weight * c2
            move = np.sqrt(m0 * m0 + m1 * m1 + m2 * m2 + clearing) * slope
            work[CURVE + j] = move
            moves += move
            behind += weight * value
            work[GRAD + j * 4 + 1] = weight * (e0 + own * (c0 - p0)) * c0 * (f(1.0) - c0)
            work[GRAD + j * 4 + 2] = weight * (e1 + own * (c1 - p1)) * c1 * (f(1.0) - c1)
            work[GRAD + j * 4 + 3] = weight * (e2 + own * (c2 - p2)) * c2 * (f(1.0) - c2)
        for j in range(n):
            grad = vfma(vspread(work, GRAD + j * 4), basis, lane_touch)
            grad = vfmas(lane_weight, work[WEIGHT + j], grad)
            grad = vfmas(lane_curve, work[CURVE + j] * moves, grad)
            if wide:
                beyond = vmul(vspread2(work, GRAD + j * 4), basis2)
            for c in range(8):
                o = np.int64(corner[j * 8 + c]) * stride
                vstore(grads, o, vfmas(grad, work[TRI + j * 8 + c], vload(grads, o)))
                if wide:
                    vstore(grads, o + 16, vfmas(beyond, work[TRI + j * 8 + c], vload(grads, o + 16)))
    return total, alive, steps
