"""From a person to a program: bones, flesh, features, hair and clothes, in this order.

Lengths: one unit is about 21 cm; the chin lies near z = -0.33, the crown near 0.78, eyes half way between; the face
looks along -y (`at` turns "forward" into that). The proportions are those of adult head surveys (breadth 152 mm, length
195 mm, between pupils 63 mm, between jaw angles 105 mm, ear 63 mm), which the identity varies by a few per cent, about
as people do.

Registers 0..5 are the layers whose union is the surface; what a point is made of is the layer nearest to it. The lips'
own distance stays in register 6 for the painter.
"""

from __future__ import annotations

import numpy as np

from nerf_plugin.faces.identity import Identity
from nerf_plugin.faces.sculpt import INTERSECT, SUBTRACT, Sculptor

SKIN, EYES, HAIR, CLOTH, BROW, FRAME, LIPS, A, B, C = range(10)
LAYERS = 6
BOTTOM = -0.88


def at(x: float, forward: float, z: float) -> tuple[float, float, float]:
    """World position of something `forward` of the head's middle."""
    return (x, -forward, z)


def sculpt(who: Identity) -> np.ndarray:
    """The program of a person, for `nerf_plugin.faces.sculpt`."""
    s = Sculptor()
    seed = who.seed % 65_521 * 16
    _bust(s, who)
    _clothes(s, who, seed)
    _skull(s, who)
    _hair(s, who, seed)
    _face(s, who)
    _eyes(s, who)
    _nose(s, who)
    _mouth(s, who)
    _ears(s, who)
    s.noise(SKIN, 2.1, 0.006 * who.lopsided, seed + 1)
    s.noise(SKIN, 11.0, 0.0012, seed + 2)
    _brows(s, who, seed)
    _beard(s, who, seed)
    if who.glasses:
        _glasses(s, who)
    for layer in (SKIN, HAIR, CLOTH):
        s.halfspace(layer, (0, 0, BOTTOM), (0, 0, -1), mode=INTERSECT, k=0.03)
    return s.program()


def eye_centre(who: Identity) -> np.ndarray:
    """(3,) world, of the eye at positive x."""
    return np.array(at(0.152 * who.eye_spacing, 0.345 - who.eye_depth, 0.225))


def eye_radius(who: Identity) -> float:
    return 0.068 * who.eye_size


def _bust(s: Sculptor, who: Identity) -> None:
    n, w = who.neck_width, who.shoulders
    s.cone(SKIN, at(0, -0.10, -0.05), at(0, -0.14, -0.64), 0.205 * n, 0.225 * n)
    s.cone(SKIN, at(0.20 * n, -0.12, -0.02), at(0.045, 0.055, -0.62), 0.045, 0.035, mirror=True, k=0.09)
    s.ellipsoid(SKIN, at(0, -0.13, -0.95), (0.63 * w, 0.29, 0.36), k=0.10)
    s.cone(SKIN, at(0.09, -0.17, -0.42), at(0.46 * w, -0.14, -0.74), 0.11, 0.14, mirror=True, k=0.14)
    s.ellipsoid(SKIN, at(0.17, 0.0, -0.93), (0.25, 0.20, 0.26), mirror=True, k=0.12)
    s.cone(SKIN, at(0.05, 0.10, -0.645), at(0.42 * w, -0.02, -0.63), 0.022, 0.018, mirror=True, k=0.05)
    if who.masculine > 0.5:
        s.ellipsoid(SKIN, at(0, 0.095, -0.37), (0.035, 0.045, 0.045), k=0.04)


def _clothes(s: Sculptor, who: Identity, seed: int) -> None:
    s.copy(SKIN, CLOTH, 0.022)
    s.noise(CLOTH, 5.0, 0.010, seed + 3)
    neck, band = who.neck_width, 0.03
    s.copy(SKIN, C, 0.038)
    s.clear(A)
    s.clear(B)
    if who.cloth_style == "turtleneck":
        s.halfspace(CLOTH, at(0, 0, -0.40), (0, -0.25, 0.97), mode=INTERSECT, k=0.01)
        s.halfspace(C, at(0, 0, -0.335), (0, -0.25, 0.97), mode=INTERSECT, k=0.03)
        s.halfspace(C, at(0, 0, -0.50), (0, 0.25, -0.97), mode=INTERSECT, k=0.03)
    else:
        deep = {"vneck": 0.10, "shirt": 0.10, "hoodie": 0.02}.get(who.cloth_style, 0.0)
        for register, grow in ((A, 0.0), (B, band)):
            s.ellipsoid(register, at(0, -0.07, -0.50), (0.265 * neck + grow, 0.26 + grow, 0.15 + grow))
            s.cone(register, at(0, -0.13, -0.38), at(0, -0.13, 0.10), 0.27 + grow, 0.34 + grow, k=0.05)
            if deep:
                s.cone(register, at(0, 0.10, -0.52), at(0, 0.17, -0.60 - deep), 0.13 + grow, 0.015 + grow, k=0.02)
        s.merge(A, CLOTH, mode=SUBTRACT, k=0.008)
        s.merge(B, C, mode=INTERSECT, k=0.014)
        s.merge(A, C, mode=SUBTRACT, k=0.014)
    s.merge(C, CLOTH, k=0.01)
    if who.cloth_style == "hoodie":
        s.ring(CLOTH, at(0, -0.13, -0.56), (0.29, 0.26), 0.25, 0.055, angles=(112, 0, 0), k=0.05)
        s.ellipsoid(CLOTH, at(0, -0.42, -0.62), (0.25, 0.10, 0.20), k=0.08)
        s.cone(CLOTH, at(0.07, 0.145, -0.66), at(0.075, 0.21, -0.84), 0.009, 0.009, mirror=True)
    if who.cloth_style == "shirt":
        s.box(CLOTH, at(0.135, 0.115, -0.565), (0.085, 0.018, 0.05), 0.016, angles=(-28, 34, 22), mirror=True, k=0.02)
        s.cone(CLOTH, at(0, 0.135, -0.57), at(0, 0.30, -0.75), 0.07, 0.015, mode=SUBTRACT, k=0.02)


def _skull(s: Sculptor, who: Identity) -> None:
    w, d, h = who.skull_width, who.skull_length, who.skull_height
    s.clear(C)
    s.ellipsoid(C, at(0, -0.065, 0.355), (0.372 * w, 0.455 * d, 0.415 * h))
    s.ellipsoid(C, at(0, 0.125 * d, 0.315), (0.300 * w, 0.325, 0.30 * h), k=0.10)
    s.merge(C, SKIN, k=0.07)


def _face(s: Sculptor, who: Identity) -> None:
    w, jaw, long = who.face_width, who.jaw_width, who.face_length
    chin = at(0, 0.388 + who.chin_forward, -0.115 - 0.155 * long)
    s.ellipsoid(SKIN, at(0, 0.09, 0.04), (0.285 * w, 0.32, 0.34 * long), k=0.10)
    s.cone(SKIN, at(0.190 * jaw, 0.02, -0.10), at(0.055, 0.34, chin[2] + 0.01), 0.060, 0.055, mirror=True, k=0.11)
    s.ellipsoid(SKIN, at(0, 0.15, -0.165 * long), (0.20 * jaw, 0.25, 0.12), k=0.08)
    s.cone(SKIN, at(0, 0.27, chin[2] + 0.02), at(0, 0.03, chin[2] - 0.10), 0.075, 0.10, k=0.10)
    s.ellipsoid(SKIN, chin, (0.075 * who.chin_width, 0.065, 0.058), k=0.07)
    s.ellipsoid(SKIN, at(0.215 * w, 0.27, 0.125), (0.085, 0.085, 0.055 * who.cheekbones), mirror=True, k=0.09)
    s.ellipsoid(SKIN, at(0.155 * w, 0.27, -0.03), (0.105, 0.125, 0.15 * who.cheeks), mirror=True, k=0.12)
    s.cone(SKIN, at(0.05, 0.405, 0.305), at(0.225, 0.315, 0.315), 0.045 * who.brow_ridge, 0.035, mirror=True, k=0.09)
    s.ellipsoid(SKIN, at(0.40 * w, 0.20, 0.33), (0.055, 0.12, 0.10), mode=SUBTRACT, mirror=True, k=0.08)


def _eyes(s: Sculptor, who: Identity) -> None:
    x, y, z = eye_centre(who)
    r = eye_radius(who)
    s.ellipsoid(SKIN, (x, y - 0.125, z), (0.100, 0.085, 0.058), mode=SUBTRACT, mirror=True, k=0.075)
    s.ellipsoid(SKIN, (x + 0.01, y - 0.115, z - 0.075), (0.055, 0.03, 0.016), mode=SUBTRACT, mirror=True, k=0.05)
    s.clear(A)
    s.ellipsoid(A, (x, y, z), (1.12 * r, 1.12 * r, 1.12 * r), mirror=True)
    s.ellipsoid(A, (x, y - 0.004, z + 0.038), (1.25 * r, 0.95 * r, 0.42 * r), angles=(0, -4, 0), mirror=True, k=0.03)
    s.merge(A, SKIN, k=0.028)
    opening = 0.5 * r * who.eye_open
    size = {"half_width": 1.02 * r, "up": opening, "down": 0.62 * opening}
    s.almond(SKIN, (x, y - 0.2 * r, z), **size, angles=(0, -who.eye_tilt, 0), mode=SUBTRACT, mirror=True, k=0.008)
    s.ellipsoid(EYES, (x, y, z), (r, r, r), mirror=True)
    s.ellipsoid(SKIN, (x - 0.98 * r, y - 0.78 * r, z - 0.08 * r), (0.011, 0.012, 0.010), mirror=True, k=0.01)


def _nose(s: Sculptor, who: Identity) -> None:
    w, out = who.nose_width, who.nose_forward
    low = 0.235 - 0.165 * who.nose_length
    tip = at(0, 0.525 + out, low + who.nose_up)
    s.cone(SKIN, at(0, 0.385 + who.nose_bridge, 0.275), at(0, 0.480 + out, tip[2] + 0.03), 0.030, 0.040 * w, k=0.05)
    s.ellipsoid(SKIN, at(0, 0.425, low + 0.035), (0.055 * w, 0.075, 0.085), k=0.05)
    s.ellipsoid(SKIN, tip, (0.046 * w, 0.048, 0.042), k=0.035)
    s.ellipsoid(SKIN, at(0.054 * w, 0.450 + 0.6 * out, low - 0.010), (0.034 * w, 0.055, 0.036), mirror=True, k=0.03)
    s.ellipsoid(SKIN, at(0, 0.465 + 0.6 * out, low - 0.03), (0.022, 0.045, 0.018), k=0.02)
    nostril = at(0.030 * w, 0.49 + 0.7 * out, low - 0.036)
    s.ellipsoid(SKIN, nostril, (0.014 * w, 0.025, 0.018), angles=(0, 0, -18), mode=SUBTRACT, mirror=True, k=0.012)


def _mouth(s: Sculptor, who: Identity) -> None:
    low = 0.235 - 0.165 * who.nose_length
    z = low - 0.155 * who.face_length
    x, up, down = 0.118 * who.mouth_width, who.lip_upper, who.lip_lower
    s.ellipsoid(SKIN, at(0, 0.350, z + 0.015), (0.145, 0.105, 0.115), k=0.08)
    half, corner = at(0.55 * x, 0.446, z), at(x, 0.402, z)
    for sign, full, rise in ((1, 0.0235 * up, 0.019 * up), (-1, 0.028 * down, 0.024 * down)):
        top = at(0.016 if sign > 0 else 0.0, 0.458, z + sign * rise)
        mid = (half[0], half[1], z + sign * 0.72 * rise)
        s.cone(LIPS, top, mid, full, 0.78 * full, mirror=True, k=0.003)
        s.cone(LIPS, mid, corner, 0.78 * full, 0.006, mirror=True, k=0.003)
    s.merge(LIPS, SKIN, k=0.014)
    s.cone(SKIN, at(0, 0.489, z), at(0.55 * x, 0.474, z - 0.002), 0.006, 0.006, mode=SUBTRACT, mirror=True, k=0.012)
    s.cone(
        SKIN,
        at(0.55 * x, 0.474, z - 0.002),
        at(1.02 * x, 0.414, z + 0.002),
        0.006,
        0.006,
        mode=SUBTRACT,
        mirror=True,
        k=0.012,
    )
    s.cone(SKIN, at(0, 0.482, z + 0.052), at(0, 0.478, z + 0.095), 0.010, 0.008, mode=SUBTRACT, k=0.022)
    s.ellipsoid(SKIN, at(0, 0.472, z - 0.090), (0.06, 0.03, 0.016), mode=SUBTRACT, k=0.05)


def _ears(s: Sculptor, who: Identity) -> None:
    e = who.ear_size
    x, forward, z = 0.362 * who.skull_width, -0.035, 0.125
    s.clear(B)
    lean = (-12, 0, -who.ear_flare)
    s.ellipsoid(B, at(x, forward, z + 0.02 * e), (0.034, 0.088 * e, 0.120 * e), angles=lean, mirror=True)
    s.ellipsoid(
        B, at(x - 0.005, forward + 0.02, z - 0.095 * e), (0.024, 0.042 * e, 0.05 * e), angles=lean, mirror=True, k=0.03
    )
    s.ellipsoid(
        B,
        at(x + 0.036, forward + 0.006, z + 0.020),
        (0.034, 0.060 * e, 0.092 * e),
        angles=lean,
        mode=SUBTRACT,
        mirror=True,
        k=0.008,
    )
    s.cone(
        B,
        at(x + 0.014, forward - 0.022, z - 0.04),
        at(x + 0.018, forward - 0.032, z + 0.05 * e),
        0.009,
        0.010,
        mirror=True,
        k=0.010,
    )
    s.cone(
        B,
        at(x + 0.018, forward - 0.032, z + 0.05 * e),
        at(x + 0.014, forward + 0.015, z + 0.085 * e),
        0.010,
        0.006,
        mirror=True,
        k=0.010,
    )
    s.ellipsoid(
        B,
        at(x + 0.022, forward + 0.030, z - 0.012),
        (0.022, 0.03, 0.036),
        angles=lean,
        mode=SUBTRACT,
        mirror=True,
        k=0.012,
    )
    s.ellipsoid(B, at(x + 0.012, forward + 0.066, z - 0.018), (0.018, 0.014, 0.026), mirror=True, k=0.02)
    s.merge(B, SKIN, k=0.022)


def _brows(s: Sculptor, who: Identity, seed: int) -> None:
    s.clear(A)
    t, z = 0.85 * who.brow_thickness, 0.320
    x = eye_centre(who)[0]
    s.ellipsoid(
        A, at(x - 0.035, 0.42, z + 0.004), (0.068, 0.2, 0.019 * t), angles=(0, -5 - who.brow_angle, 0), mirror=True
    )
    s.ellipsoid(
        A,
        at(x + 0.045, 0.38, z + 0.005),
        (0.060, 0.2, 0.013 * t),
        angles=(0, 15 - who.brow_angle, 0),
        mirror=True,
        k=0.01,
    )
    s.copy(SKIN, BROW, 0.006)
    s.noise(BROW, 70.0, 0.004, seed + 4)
    s.merge(A, BROW, mode=INTERSECT, k=0.004)


def _beard(s: Sculptor, who: Identity, seed: int) -> None:
    if who.beard in ("none", "stubble"):
        return
    low = 0.235 - 0.165 * who.nose_length
    z = low - 0.155 * who.face_length
    x = 0.118 * who.mouth_width
    s.clear(A)
    s.clear(C)
    s.cone(A, at(0.012, 0.474, z + 0.060), at(1.12 * x, 0.395, z - 0.008), 0.021, 0.015, mirror=True)
    if who.beard != "moustache":
        wide, reach = (0.15, 0.12) if who.beard == "goatee" else (0.34, 0.36)
        s.copy(SKIN, B, 0.022 if who.beard == "goatee" else 0.034)
        s.ellipsoid(C, at(0, 0.40 - reach, z - 0.145), (wide, reach + 0.16, 0.175))
        if who.beard == "full":
            s.cone(C, at(0.36, 0.02, 0.10), at(0.29, 0.08, -0.10), 0.06, 0.10, mirror=True, k=0.08)
        s.halfspace(C, at(0, 0.0, 0), (0, 1, 0), mode=INTERSECT, k=0.04)
        s.merge(C, B, mode=INTERSECT, k=0.05)
        s.ellipsoid(B, at(0, 0.45, z - 0.004), (0.95 * x, 0.12, 0.036), mode=SUBTRACT, k=0.02)
        s.merge(B, A, k=0.01)
    s.strands(A, at(0, 0.1, 0.1), 42.0, 7.0, 0.006, seed + 5)
    s.merge(A, HAIR)


def _hair(s: Sculptor, who: Identity, seed: int) -> None:
    """Register C holds the bare skull; A becomes what the hair may not cover (face, neck, ears)."""
    style = who.hair_style
    if style == "bald":
        return
    w, d = who.skull_width, who.skull_length
    thick = {"buzz": 0.012, "fringe": 0.022, "short": 0.04, "side": 0.05, "quiff": 0.035, "afro": 0.05, "curly": 0.06}
    s.copy(C, HAIR, thick.get(style, 0.045))
    if style == "short":
        s.ellipsoid(HAIR, at(0, 0.02, 0.60), (0.33 * w, 0.42 * d, 0.23), k=0.08)
    if style == "quiff":
        s.ellipsoid(HAIR, at(0, 0.12, 0.66), (0.27 * w, 0.34, 0.19), angles=(12, 0, 0), k=0.09)
    if style == "side":
        s.ellipsoid(HAIR, at(0.07, 0.08, 0.63), (0.30 * w, 0.38, 0.21), angles=(6, -14, 0), k=0.07)
    if style == "afro":
        s.ellipsoid(HAIR, at(0, -0.10, 0.44), (0.55, 0.54, 0.49))
    if style == "curly":
        s.ellipsoid(HAIR, at(0, -0.07, 0.44), (0.45 * w, 0.51 * d, 0.44), k=0.05)
        s.ellipsoid(HAIR, at(0.30, -0.12, 0.16), (0.15, 0.2, 0.24), mirror=True, k=0.1)
    if style in ("bob", "long"):
        s.ellipsoid(HAIR, at(0, -0.06, 0.42), (0.42 * w, 0.49 * d, 0.42), k=0.05)
        end = -0.24 if style == "bob" else -0.62
        s.cone(HAIR, at(0.31 * w, -0.06, 0.30), at(0.335, -0.07, end), 0.12, 0.095, mirror=True, k=0.10)
        s.cone(HAIR, at(0.12, -0.32, 0.20), at(0.15, -0.30, end), 0.16, 0.13, mirror=True, k=0.12)
        s.ellipsoid(HAIR, at(0, -0.30, 0.5 * (0.3 + end)), (0.30, 0.17, 0.5 * (0.5 - end)), k=0.10)
    if style in ("bun", "ponytail"):
        s.ellipsoid(HAIR, at(0, -0.05, 0.42), (0.385 * w, 0.475 * d, 0.395), k=0.05)
    below = {"fringe": 0.0, "buzz": 0.0, "short": 0.0, "side": 0.0, "quiff": 0.0, "bun": 0.0, "ponytail": 0.0}
    line = 0.40 + who.hairline
    s.clear(A)
    s.ellipsoid(A, at(0, 0.44, 0.10), (0.335 * w, 0.34, line))
    if style in below:
        s.ellipsoid(A, at(0.37 * w, 0.19, 0.06), (0.13, 0.15, 0.22), mirror=True, k=0.10)
        s.ellipsoid(A, at(0.40 * w, -0.03, 0.09), (0.13, 0.095, 0.155), mirror=True, k=0.06)
        s.halfspace(A, at(0, -0.20, -0.06), (0, 0.28, 0.96), k=0.03)
    if style == "afro":
        s.ellipsoid(A, at(0.40, 0.02, -0.04), (0.2, 0.3, 0.2), mirror=True, k=0.05)
        s.halfspace(A, at(0, -0.20, -0.08), (0, 0.28, 0.96), k=0.05)
    if style == "fringe":
        s.ellipsoid(A, at(0, 0.17, 0.78), (0.30, 0.52, 0.43), k=0.06)
    s.merge(A, HAIR, mode=SUBTRACT, k=0.025 if style not in ("buzz", "fringe") else 0.01)
    if style == "bun":
        s.ellipsoid(HAIR, at(0, -0.40, 0.70), (0.145, 0.14, 0.13), k=0.03)
    if style == "ponytail":
        s.ellipsoid(HAIR, at(0, -0.52, 0.52), (0.075, 0.09, 0.075), k=0.02)
        s.cone(HAIR, at(0, -0.60, 0.50), at(0, -0.66, 0.20), 0.075, 0.105, k=0.04)
        s.cone(HAIR, at(0, -0.66, 0.20), at(0.03, -0.58, -0.35), 0.105, 0.03, k=0.05)
    if style in ("long", "bob"):
        s.ellipsoid(HAIR, at(-0.16, 0.27, 0.57), (0.17, 0.12, 0.11), angles=(20, 35, 20), k=0.06)
        s.ellipsoid(HAIR, at(0.19, 0.25, 0.55), (0.15, 0.12, 0.13), angles=(20, -40, -20), k=0.06)
    middle = at(0, -0.05, 0.38)
    if style in ("afro", "curly"):
        s.noise(HAIR, 9.0, 0.022, seed + 6)
        s.noise(HAIR, 22.0, 0.012, seed + 7)
    elif style in ("buzz", "fringe"):
        s.noise(HAIR, 45.0, 0.003, seed + 6)
    else:
        s.strands(HAIR, middle, 16.0, 2.4, 0.013, seed + 6, radial=style in ("short", "bun", "ponytail"))
        s.strands(HAIR, middle, 46.0, 4.0, 0.005, seed + 8, radial=style in ("short", "bun", "ponytail"))


def _glasses(s: Sculptor, who: Identity) -> None:
    x = 0.158 * who.eye_spacing
    front = 0.485 + max(0.0, 0.5 * who.nose_bridge)
    corner = 0.03 + 0.04 * who.glasses_round
    s.ring(FRAME, at(x, front, 0.212), (0.104, 0.074), corner, 0.0115, angles=(0, 0, 7), mirror=True)
    s.cone(FRAME, at(-0.055, front + 0.012, 0.232), at(0.055, front + 0.012, 0.232), 0.010, 0.010, k=0.01)
    s.cone(
        FRAME,
        at(x + 0.10, front - 0.012, 0.232),
        at(0.375 * who.skull_width, -0.03, 0.235),
        0.0115,
        0.0105,
        mirror=True,
        k=0.01,
    )
