"""Colour: what each place is made of, and the light on it, baked in.

Albedo is mixed in linear light from layers of pigment and noise; two lamps and a sky light it, with occlusion and soft
shadow from the distance field; skin lets red light around corners (a wrapped cosine by channel stands in for
scattering). Nothing depends on the viewer, so that a radiance field can get it right. The result is sRGB.
"""

from __future__ import annotations

import numpy as np

from nerf_plugin.faces import anatomy
from nerf_plugin.faces.anatomy import BROW, CLOTH, EYES, FRAME, HAIR, LAYERS, LIPS, SKIN, eye_centre, eye_radius
from nerf_plugin.faces.identity import SKINS, Identity
from nerf_plugin.faces.noise import fbm
from nerf_plugin.faces.sculpt import registers

LAMPS = np.array([[-0.52, -0.66, 0.54], [0.75, 0.15, 0.35], [0.1, 0.85, 0.5]])
LAMPS /= np.linalg.norm(LAMPS, axis=1, keepdims=True)
_STRENGTH = np.array([[1.00, 0.95, 0.88], [0.22, 0.25, 0.30], [0.34, 0.34, 0.36]])
_WOOLLY = ("afro", "curly", "buzz", "fringe", "bald")
_SKY, _GROUND = np.array([0.50, 0.52, 0.55]), np.array([0.30, 0.27, 0.25])


def paint(
    who: Identity,
    program: np.ndarray,
    points: np.ndarray,
    normals: np.ndarray,
    occlusion: np.ndarray,
    shadow: np.ndarray,
) -> np.ndarray:
    """(N, 3) float32 sRGB 0..255 at surface points (N, 3), given normals (N, 3), occlusion (N,) and shadow (N,
    lamps).
    """
    near = registers(program, points)
    layer = near[:, :LAYERS].argmin(1)
    seed = who.seed % 65_521 * 16 + 100
    albedo = np.zeros((len(points), 3))
    wrap = np.zeros((len(points), 3))
    for number, painter in (
        (SKIN, _skin),
        (EYES, _eyes),
        (HAIR, _hair),
        (CLOTH, _cloth),
        (BROW, _brow),
        (FRAME, _frame),
    ):
        mine = layer == number
        if mine.any():
            albedo[mine] = painter(who, points[mine], near[mine], seed)
            wrap[mine] = (0.34, 0.20, 0.14) if number == SKIN else 0.12
    colour = albedo * _light(normals, occlusion, shadow, wrap)
    shine = layer == HAIR
    colour[shine] += _sheen(who, points[shine], normals[shine], occlusion[shine], seed)
    return _srgb(colour)


def _light(normals: np.ndarray, occlusion: np.ndarray, shadow: np.ndarray, wrap: np.ndarray) -> np.ndarray:
    up = 0.5 + 0.5 * normals[:, 2:]
    bounce = 0.25 * (1 - occlusion[:, None]) * np.array([1.0, 0.55, 0.45]) * (wrap[:, :1] > 0.2)
    total = (_SKY * up + _GROUND * (1 - up)) * (occlusion[:, None] + bounce)
    for lamp, strength, open_ in zip(LAMPS, _STRENGTH, shadow.T):
        facing = (normals @ lamp)[:, None]
        total += (
            strength
            * np.clip((facing + wrap) / (1 + wrap), 0, None) ** 1.15
            * (0.12 * wrap + (1 - 0.12 * wrap) * open_[:, None])
        )
    return total * 0.86


def _skin(who: Identity, points: np.ndarray, near: np.ndarray, seed: int) -> np.ndarray:
    x, f, z = points[:, 0], -points[:, 1], points[:, 2]
    tone = np.clip(who.skin_tone, 0, 1) * (len(SKINS) - 1)
    table = _linear(np.array(SKINS) / 255)
    base = np.stack([np.interp(tone, np.arange(len(SKINS)), table[:, i]) for i in range(3)])
    pale = 1 - who.skin_tone
    colour = np.tile(base, (len(points), 1))
    mottle = fbm(points * 9, seed, 3)
    grain = fbm(points * 60, seed + 5, 2)
    colour *= (1 + 0.06 * mottle + 0.045 * grain)[:, None]

    def spot(cx: float, cf: float, cz: float, r: float, mirrored: bool = True) -> np.ndarray:
        dx = (np.abs(x) if mirrored else x) - cx
        return np.exp(-(dx**2 + (f - cf) ** 2 + (z - cz) ** 2) / r**2)

    ex, ey, ez = eye_centre(who)
    ear = spot(0.39, -0.03, 0.13, 0.11)
    red = (
        0.75 * spot(0.20, 0.36, 0.02, 0.12)
        + 0.8 * spot(0, 0.55, 0.07, 0.07)
        + 0.35 * spot(0, 0.44, -0.27, 0.08)
        + 0.7 * ear
    )
    red = red * who.blush * (1 + 0.35 * mottle)
    colour *= 1 - red[:, None] * np.array([0.02, 0.26, 0.24]) * (0.45 + 0.55 * pale)
    under = spot(ex, -ey + 0.06, ez - 0.065, 0.055) + 0.8 * spot(ex - 0.07, -ey + 0.03, ez - 0.01, 0.04)
    colour *= 1 - under[:, None] * (0.10 + 0.14 * who.age) * np.array([0.8, 1.1, 0.9])
    lid = spot(ex, -ey + 0.06, ez + 0.035, 0.05)
    colour *= 1 - lid[:, None] * (0.10 + 0.16 * (1 - who.masculine)) * np.array([0.7, 1.0, 0.85])
    rim = np.clip(1 - near[:, EYES] / 0.010, 0, 1) ** 1.5 * (z > ez - 0.6 * eye_radius(who))
    upper = np.clip((z - ez) / 0.012, 0, 1)
    colour *= 1 - rim[:, None] * (0.35 + 0.5 * upper[:, None])
    if who.freckles > 0:
        speckle = np.clip(fbm(points * 34, seed + 9, 1) * 2.2 - 0.9, 0, 1)
        where = spot(0.16, 0.38, 0.08, 0.17) + 0.6 * spot(0, 0.52, 0.13, 0.1) + 0.12
        colour *= 1 - np.clip(speckle * where * who.freckles, 0, 0.7)[:, None] * np.array([0.45, 0.62, 0.72])
    moles = np.clip(fbm(points * 7.3, seed + 11, 1) * 9 - 7.6, 0, 1)
    colour *= 1 - moles[:, None] * np.array([0.5, 0.62, 0.66])
    lips = np.clip(0.5 - near[:, LIPS] / 0.007, 0, 1)[:, None]
    lip = base * np.array([0.86, 0.50, 0.52]) if who.masculine > 0.5 else base * np.array([0.82, 0.36, 0.40])
    crack = fbm(np.stack([x * 130, f * 25, z * 18], 1), seed + 13, 1)[:, None]
    colour = colour * (1 - lips) + lips * lip * (1 + 0.10 * crack)
    if who.beard == "stubble":
        low = 0.235 - 0.165 * who.nose_length
        jaw = (
            np.clip((low - 0.02 - z) / 0.05, 0, 1) * np.clip((f + 0.02) / 0.1, 0, 1) * np.clip((z + 0.42) / 0.08, 0, 1)
        )
        dots = np.clip(0.55 + 1.3 * fbm(points * 75, seed + 15, 1), 0, 1)[:, None]
        colour = _mix(colour, _hair_base(who) * 0.8 + 0.02, (jaw * (1 - lips[:, 0]))[:, None] * dots * 0.62)
    edge = np.clip(1 - near[:, HAIR] / 0.028, 0, 1) * (who.hair_style != "bald")
    streak = np.clip(0.5 + 1.4 * fbm(points * (70, 70, 14), seed + 17, 1), 0, 1)
    colour = _mix(colour, _hair_base(who), (edge * streak * 0.8)[:, None])
    brow = np.clip(1 - near[:, BROW] / 0.010, 0, 1)
    return _mix(
        colour,
        _hair_base(who) * 0.7,
        (brow * np.clip(0.4 + fbm(points * (90, 40, 50), seed + 19, 1), 0, 1))[:, None] * 0.7,
    )


def _eyes(who: Identity, points: np.ndarray, near: np.ndarray, seed: int) -> np.ndarray:
    centre, r = eye_centre(who), eye_radius(who)
    local = points.copy()
    side = np.sign(points[:, 0])
    local[:, 0] = np.abs(local[:, 0])
    local = (local - centre) / r
    local[:, 0] += 0.03
    across = np.hypot(local[:, 0], local[:, 2])
    angle = np.arctan2(local[:, 2], local[:, 0])
    white = np.array([0.78, 0.74, 0.71])
    veins = np.clip(fbm(points * (60, 60, 140), seed + 21, 2) - 0.25, 0, 1)[:, None]
    colour = (
        white * (1 - 0.25 * np.clip((across - 0.6) / 0.5, 0, 1))[:, None] * (1 - veins * np.array([0.05, 0.35, 0.35]))
    )
    iris_r, pupil_r = 0.50, 0.21
    ray = fbm(np.stack([np.cos(angle) * 9, np.sin(angle) * 9, across * 3 + 5 * side], 1), seed + 23, 2)
    iris = _linear(np.array(who.iris)) * (1.15 + 0.55 * ray)[:, None]
    iris *= (1.25 - 0.9 * np.clip((across - 0.36) / (iris_r - 0.36), 0, 1))[:, None]
    colour = _mix(colour, np.clip(iris, 0.004, 1), np.clip((iris_r - across) / 0.03 + 0.5, 0, 1)[:, None])
    colour = _mix(colour, np.full(3, 0.006), np.clip((pupil_r - across) / 0.03 + 0.5, 0, 1)[:, None])
    glint = np.hypot(local[:, 0] * side + 0.20, local[:, 2] - 0.22)
    colour = _mix(colour, np.full(3, 1.5), np.clip((0.085 - glint) / 0.03 + 0.5, 0, 1)[:, None])
    return colour * np.clip(0.35 + near[:, SKIN] / 0.014, 0.35, 1)[:, None]


def _hair_base(who: Identity) -> np.ndarray:
    plain, grey = _linear(np.array(who.hair_colour)), np.array([0.42, 0.41, 0.40])
    return plain * (1 - who.hair_grey) + grey * who.hair_grey


def _flow(who: Identity, points: np.ndarray, across: float, along: float) -> np.ndarray:
    """The NumPy form of `strand_coordinates`, with the position added lightly so that layers differ in depth."""
    x, y, z = (points - np.array(anatomy.at(0, -0.05, 0.38))).T
    if who.hair_style in ("short", "bun", "ponytail"):
        r = np.hypot(x, y) + 1e-9
        return np.stack([x / r * across, y / r * across, np.arctan2(r, z) * along], 1)
    span = np.hypot(x, np.maximum(z, 0)) + 1e-9
    return np.stack([np.arctan2(y, span) * across, np.where(x > 0, 7.5, 0.0), np.arctan2(np.abs(x), z) * along], 1)


def _hair(who: Identity, points: np.ndarray, near: np.ndarray, seed: int) -> np.ndarray:
    base = _hair_base(who)
    if who.hair_style in _WOOLLY:
        strand = fbm(points * 42, seed + 25, 2)
    else:
        strand = 0.8 * fbm(_flow(who, points, 34, 3), seed + 25, 2) + 0.6 * fbm(_flow(who, points, 90, 5), seed + 27, 1)
    shade = np.exp(0.42 * strand)[:, None]
    where = _flow(who, points, 60, 4) if who.hair_style not in _WOOLLY else points * 95
    grey = np.clip(2.5 * (who.hair_grey - 0.5 + 0.6 * fbm(where, seed + 29, 1)), 0, 1)[:, None]
    mixed = _mix(
        np.tile(_linear(np.array(who.hair_colour)), (len(points), 1)),
        np.array([0.52, 0.51, 0.50]),
        grey * (who.hair_grey > 0.05),
    )
    return (0.75 * mixed + 0.25 * base) * shade


def _sheen(who: Identity, points: np.ndarray, normals: np.ndarray, occlusion: np.ndarray, seed: int) -> np.ndarray:
    """A soft painted band of gloss where a lamp from above would stand on the hair; not a highlight, it does not
    move.
    """
    if who.hair_style in _WOOLLY:
        return np.zeros((len(points), 3))
    band = np.exp(-(((normals @ np.array([-0.25, -0.45, 0.857]) - 0.86) / 0.12) ** 2))
    streaks = np.clip(0.5 + fbm(_flow(who, points, 60, 1.5), seed + 31, 2), 0, 1.4)
    return (band * streaks * occlusion)[:, None] * (0.05 + 0.30 * _hair_base(who))


def _brow(who: Identity, points: np.ndarray, near: np.ndarray, seed: int) -> np.ndarray:
    hairs = fbm(points * (120, 60, 70), seed + 33, 1)[:, None]
    return np.clip(_hair_base(who) * 0.62 * np.exp(0.5 * hairs), 0.004, 1)


def _frame(who: Identity, points: np.ndarray, near: np.ndarray, seed: int) -> np.ndarray:
    tortoise = np.clip(fbm(points * 18, seed + 35, 2) * 1.5, 0, 1)[:, None]
    return _mix(
        np.tile((0.018, 0.014, 0.013), (len(points), 1)),
        np.array([0.20, 0.09, 0.03]),
        tortoise * (who.glasses_round > 0.6),
    )


def _cloth(who: Identity, points: np.ndarray, near: np.ndarray, seed: int) -> np.ndarray:
    first, second = _linear(np.array(who.cloth_colour)), _linear(np.array(who.cloth_second))
    x, y, z = points.T
    around = np.arctan2(x, -(y - 0.12)) * 0.5
    wobble = 0.01 * fbm(points * 4, seed + 37, 2)
    pattern = np.zeros(len(points))
    if who.cloth_pattern == "stripes":
        pattern = _edge(np.sin((z + wobble) * 2 * np.pi / 0.11), 0.25)
    elif who.cloth_pattern == "check":
        pattern = 0.5 * _edge(np.sin((z + wobble) * 2 * np.pi / 0.15) - 0.3, 0.2) + 0.5 * _edge(
            np.sin((around + wobble) * 2 * np.pi / 0.15) - 0.3, 0.2
        )
    elif who.cloth_pattern == "dots":
        cell = np.stack([np.sin(around * 2 * np.pi / 0.11), np.sin((z + wobble) * 2 * np.pi / 0.11)], 1)
        pattern = _edge(cell[:, 0] * cell[:, 1] - 0.55, 0.12)
    colour = _mix(np.tile(first, (len(points), 1)), second, pattern[:, None])
    knit = (
        np.sin(around * 2 * np.pi / 0.035 + 1.5 * np.sin(z * 2 * np.pi / 0.03)) if who.cloth_pattern == "knit" else 0.0
    )
    weave = fbm(points * (80, 80, 110), seed + 39, 1) + 0.7 * fbm(points * 14, seed + 41, 2)
    return np.clip(colour * np.exp(0.16 * weave + 0.24 * knit)[:, None], 0.004, 0.95)


def _edge(wave: np.ndarray, softness: float) -> np.ndarray:
    return np.clip(0.5 + wave / softness, 0, 1)


def _mix(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    return a * (1 - t) + b * t


def _linear(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _srgb(linear: np.ndarray) -> np.ndarray:
    """With a soft shoulder above 0.7, so that lit skin does not clip."""
    bright = np.maximum(linear, 0)
    rolled = np.where(bright > 0.7, 0.7 + 0.3 * (1 - np.exp(-(bright - 0.7) / 0.3)), bright)
    encoded = np.where(rolled <= 0.0031308, 12.92 * rolled, 1.055 * rolled ** (1 / 2.4) - 0.055)
    return (255 * np.clip(encoded, 0, 1)).astype(np.float32)
