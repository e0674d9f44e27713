"""What lies outside the box: concentric spheres of colour and opacity, forward and backward along rays.

A multi-sphere image (Attal et al. 2020; the background of Plenoxels, Yu et al. 2022, sec. 3.4): a ray that leaves the
grid goes on through `layers` spheres around one centre, each a map of texels, and ends at the last one, which is
infinitely far and opaque. One layer is a plain environment map; several have parallax. With alpha_l, c_l bilinear in
the texels of layer l where the ray leaves its sphere, both through a sigmoid after the interpolation:

    C = sum_l T_l alpha_l c_l,   T_{l+1} = T_l (1 - alpha_l),   alpha = 1 in the last layer.

For g = dL/dC, from back to front with R_l the colour of all that is behind layer l:

    dL/dalpha_l = T_l g . (c_l - R_l),    dL/dc_l = T_l alpha_l g,    R_{l-1} = alpha_l c_l + (1 - alpha_l) R_l.

A sphere that a ray does not leave (the camera is outside and misses it) is clear for this ray.

Texels lie on the octahedral map of the direction from the centre (Cigolle et al. 2014, "A Survey of Efficient
Representations for Independent Unit Vectors", sec. 2): a square without poles, whose border is glued to itself, each
side to its own mirror image. So a texel beyond the border is one within, and interpolation has no seam.

A texel is four float32: raw opacity, raw red, green, blue. Gradients use the same places.
"""

from __future__ import annotations

import numpy as np

from nerf_plugin.kernels import kernel

MAX_LAYERS = 64


@kernel
def octahedral(x, y, z):
    """(u, v) in 0..1 of a direction."""
    s = np.float32(1.0) / (abs(x) + abs(y) + abs(z))
    u, v = x * s, y * s
    if z < 0:
        a = np.float32(1.0) - abs(v)
        b = np.float32(1.0) - abs(u)
        u, v = (a if u >= 0 else -a), (b if v >= 0 else -b)
    half = np.float32(0.5)
    return u * half + half, v * half + half


@kernel
def texel(i, j, side):
    """Number of texel (i, j) of a layer, -1 <= i, j <= side: beyond the border, the one that is glued to it."""
    if i < 0:
        i, j = 0, side - 1 - j
    elif i >= side:
        i, j = side - 1, side - 1 - j
    if j < 0:
        i, j = side - 1 - i, 0
    elif j >= side:
        i, j = side - 1 - i, side - 1
    return i * side + j


@kernel
def shade(values, side, layers, centre, radii, rays, count, train, pull, grads, touched, out):
    """Colour behind the grid for `count` rays, and if `train` the gradients of the texels.

    values: (layers*side*side*4,) float32. centre: (3,), radii: (layers - 1,) float32 ascending, in the units of rays:
    (count*6,) float32 origin and unit direction. pull: (count*3,) float32, dL/d(colour). grads: like values, added to;
    touched: (layers*side*side,) uint8, set where a gradient was added. out: (count*3,) float32; with `train` it is
    written too.
    """
    f = np.float32
    one = f(1.0)
    place = np.zeros((MAX_LAYERS, 4), np.int64)
    share = np.zeros((MAX_LAYERS, 4), np.float32)
    seen = np.zeros((MAX_LAYERS, 5), np.float32)  # T, alpha, red, green, blue
    for ray in range(count):
        ox, oy, oz = rays[ray * 6] - centre[0], rays[ray * 6 + 1] - centre[1], rays[ray * 6 + 2] - centre[2]
        dx, dy, dz = rays[ray * 6 + 3], rays[ray * 6 + 4], rays[ray * 6 + 5]
        along = ox * dx + oy * dy + oz * dz
        square = ox * ox + oy * oy + oz * oz
        through, red, green, blue = one, f(0.0), f(0.0), f(0.0)
        last = layers
        for layer in range(layers):
            if layer < layers - 1:
                root = along * along - square + radii[layer] * radii[layer]
                t = np.sqrt(root) - along if root > 0 else f(-1.0)
                if t <= 0:
                    seen[layer, 1] = f(-1.0)
                    continue
                u, v = octahedral(ox + t * dx, oy + t * dy, oz + t * dz)
            else:
                u, v = octahedral(dx, dy, dz)
            a, b = u * f(side) - f(0.5), v * f(side) - f(0.5)
            i, j = int(np.floor(a)), int(np.floor(b))
            p, q = a - f(i), b - f(j)
            base = layer * side * side
            place[layer, 0] = base + texel(i, j, side)
            place[layer, 1] = base + texel(i, j + 1, side)
            place[layer, 2] = base + texel(i + 1, j, side)
            place[layer, 3] = base + texel(i + 1, j + 1, side)
            share[layer, 0], share[layer, 1] = (one - p) * (one - q), (one - p) * q
            share[layer, 2], share[layer, 3] = p * (one - q), p * q
            x0, x1, x2, x3 = f(0.0), f(0.0), f(0.0), f(0.0)
            for c in range(4):
                w, o = share[layer, c], place[layer, c] * 4
                x0 += w * values[o]
                x1 += w * values[o + 1]
                x2 += w * values[o + 2]
                x3 += w * values[o + 3]
            alpha = one / (one + np.exp(-x0)) if layer < layers - 1 else one
            c0, c1, c2 = one / (one + np.exp(-x1)), one / (one + np.exp(-x2)), one / (one + np.exp(-x3))
            seen[layer, 0], seen[layer, 1] = through, alpha
            seen[layer, 2], seen[layer, 3], seen[layer, 4] = c0, c1, c2
            weight = through * alpha
            red += weight * c0
            green += weight * c1
            blue += weight * c2
            through *= one - alpha
            if through < f(1e-3):
                last = layer + 1
                break
        out[ray * 3], out[ray * 3 + 1], out[ray * 3 + 2] = red, green, blue
        if not train:
            continue
        g0, g1, g2 = pull[ray * 3], pull[ray * 3 + 1], pull[ray * 3 + 2]
        if abs(g0) + abs(g1) + abs(g2) < f(1e-7):
            continue
        r0, r1, r2 = f(0.0), f(0.0), f(0.0)
        for back in range(last):
            layer = last - 1 - back
            alpha = seen[layer, 1]
            if alpha < 0:
                continue
            before, c0, c1, c2 = seen[layer, 0], seen[layer, 2], seen[layer, 3], seen[layer, 4]
            slope = f(0.0)
            if layer < layers - 1:
                slope = before * (g0 * (c0 - r0) + g1 * (c1 - r1) + g2 * (c2 - r2)) * alpha * (one - alpha)
            weight = before * alpha
            s0, s1, s2 = weight * g0 * c0 * (one - c0), weight * g1 * c1 * (one - c1), weight * g2 * c2 * (one - c2)
            for c in range(4):
                w, o = share[layer, c], place[layer, c] * 4
                touched[place[layer, c]] = 1
                grads[o] += w * slope
                grads[o + 1] += w * s0
                grads[o + 2] += w * s1
                grads[o + 3] += w * s2
            r0 = alpha * c0 + (one - alpha) * r0
            r1 = alpha * c1 + (one - alpha) * r1
            r2 = alpha * c2 + (one - alpha) * r2


@kernel
def descend(old, total, moments, rate_opacity, rate_color, beta, new, new_moments):
    """One RMSprop step of texels: new = old - rate * total / sqrt(second moment).

    old, total, new: (n*4,) float32. moments, new_moments: (n*2,) float32, of opacity and of colour; a moment of 0 is
    set to the squared gradient at the first touch. Texels without a gradient stay.
    """
    f = np.float32
    keep, fresh = f(beta), f(1.0 - beta)
    for n in range(len(old) // 4):
        o = n * 4
        a, r, g, b = total[o], total[o + 1], total[o + 2], total[o + 3]
        sa, sc = a * a, (r * r + g * g + b * b) * f(1.0 / 3.0)
        va, vc = moments[n * 2], moments[n * 2 + 1]
        if sa + sc > 0:
            va = sa if va == 0 else keep * va + fresh * sa
            vc = sc if vc == 0 else keep * vc + fresh * sc
        ra, rc = f(rate_opacity) / (np.sqrt(va) + f(1e-8)), f(rate_color) / (np.sqrt(vc) + f(1e-8))
        new[o], new[o + 1] = old[o] - ra * a, old[o + 1] - rc * r
        new[o + 2], new[o + 3] = old[o + 2] - rc * g, old[o + 3] - rc * b
        new_moments[n * 2], new_moments[n * 2 + 1] = va, vc
