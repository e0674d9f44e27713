"""Who is in the picture: everything that tells one face from another, drawn from a seed.

Shape parameters are factors around 1 or offsets around 0; `masculine` (0..1) only shifts the chances and means of
others, as it does in people. Colours are sRGB 0..1. Adding a parameter at the end of `draw` keeps older ones as they
were; changing the order of draws changes everybody, and then `VERSION` must grow.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

VERSION = 1

SKINS = (
    (255, 224, 204),
    (241, 200, 170),
    (226, 178, 140),
    (203, 146, 106),
    (158, 104, 70),
    (104, 66, 46),
    (74, 48, 36),
)
HAIRS = {
    "black": (30, 26, 26),
    "dark brown": (62, 42, 32),
    "brown": (98, 66, 44),
    "chestnut": (122, 70, 42),
    "red": (160, 78, 36),
    "blond": (202, 164, 106),
    "ash": (164, 146, 120),
    "grey": (158, 156, 154),
    "white": (216, 214, 210),
}
IRISES = {
    "brown": (92, 56, 32),
    "dark": (52, 34, 24),
    "hazel": (126, 96, 50),
    "green": (94, 122, 82),
    "blue": (92, 136, 176),
    "grey": (128, 142, 150),
}
CLOTHS = (
    (40, 52, 84),
    (122, 36, 42),
    (222, 218, 208),
    (46, 84, 66),
    (62, 62, 66),
    (196, 160, 70),
    (96, 130, 168),
    (150, 92, 120),
    (28, 28, 32),
)
HAIR_STYLES = ("bald", "fringe", "buzz", "short", "quiff", "side", "afro", "bob", "long", "bun", "ponytail", "curly")
BEARDS = ("none", "stubble", "moustache", "goatee", "full")
CLOTH_STYLES = ("crew", "vneck", "turtleneck", "hoodie", "shirt")
PATTERNS = ("plain", "stripes", "knit", "check", "dots")


@dataclass(frozen=True)
class Identity:
    """All that makes a face; see the module's text for units."""

    seed: int
    masculine: float
    age: float
    skull_width: float
    skull_length: float
    skull_height: float
    face_width: float
    face_length: float
    jaw_width: float
    chin_width: float
    chin_forward: float
    cheekbones: float
    cheeks: float
    brow_ridge: float
    eye_spacing: float
    eye_size: float
    eye_open: float
    eye_tilt: float
    eye_depth: float
    nose_length: float
    nose_width: float
    nose_forward: float
    nose_bridge: float
    nose_up: float
    mouth_width: float
    lip_upper: float
    lip_lower: float
    ear_size: float
    ear_flare: float
    neck_width: float
    shoulders: float
    lopsided: float
    skin_tone: float
    freckles: float
    blush: float
    hair_style: str
    hair_colour: tuple[float, float, float]
    hair_grey: float
    hairline: float
    brow_thickness: float
    brow_angle: float
    beard: str
    iris: tuple[float, float, float]
    glasses: bool
    glasses_round: float
    cloth_style: str
    cloth_pattern: str
    cloth_colour: tuple[float, float, float]
    cloth_second: tuple[float, float, float]

    def to_plain(self) -> dict[str, Any]:
        """For a JSON file."""
        return asdict(self)


def draw(seed: int) -> Identity:
    """The person of this seed, always the same."""
    rng = np.random.Generator(np.random.Philox(key=[seed, VERSION]))

    def around(mean: float, spread: float) -> float:
        return float(mean + spread * np.clip(rng.standard_normal(), -2, 2))

    def choose(options: Any, weights: Any = None) -> Any:
        weights = np.ones(len(options)) if weights is None else np.asarray(weights, float)
        return options[int(np.searchsorted(np.cumsum(weights / weights.sum()), rng.random()))]

    def colour(rgb: Any, spread: float) -> tuple[float, float, float]:
        shade = np.asarray(rgb, float) / 255 * around(1, spread) + rng.uniform(-spread, spread, 3) * 0.25
        r, g, b = (float(v) for v in np.clip(shade, 0.02, 0.97))
        return r, g, b

    masculine = float(rng.beta(0.6, 0.6))
    m = masculine - 0.5
    age = float(rng.uniform(0.15, 1.0))
    skin_tone = float(rng.uniform(0, 1))
    shape = {
        "skull_width": around(1 + 0.02 * m, 0.035),
        "skull_length": around(1 + 0.02 * m, 0.035),
        "skull_height": around(1, 0.035),
        "face_width": around(1 + 0.03 * m, 0.05),
        "face_length": around(1 + 0.05 * m, 0.05),
        "jaw_width": around(1 + 0.16 * m, 0.07),
        "chin_width": around(1 + 0.25 * m, 0.15),
        "chin_forward": around(0.01 * m, 0.014),
        "cheekbones": around(1 - 0.1 * m, 0.18),
        "cheeks": around(0.95 - 0.1 * m, 0.12),
        "brow_ridge": around(0.9 + 0.5 * m, 0.15),
        "eye_spacing": around(1, 0.045),
        "eye_size": around(1.08 - 0.08 * m, 0.05),
        "eye_open": around(1.0 - 0.25 * m, 0.16),
        "eye_tilt": around(4 - 3 * m, 4),
        "eye_depth": around(0.006 * m, 0.008),
        "nose_length": around(1 + 0.06 * m, 0.09),
        "nose_width": around(1 + 0.12 * m, 0.15),
        "nose_forward": around(0.012 * m, 0.018),
        "nose_bridge": around(0, 0.014),
        "nose_up": around(-0.01 * m, 0.014),
        "mouth_width": around(1 + 0.06 * m, 0.09),
        "lip_upper": around(1.0 - 0.35 * m, 0.22),
        "lip_lower": around(1.0 - 0.3 * m, 0.2),
        "ear_size": around(1 + 0.1 * m, 0.09),
        "ear_flare": around(24, 8),
        "neck_width": around(0.93 + 0.2 * m, 0.05),
        "shoulders": around(0.98 + 0.14 * m, 0.05),
        "lopsided": around(1, 0.4),
    }
    male = (2, 1.6, 3, 5, 3.5, 3, 1.2, 0.05, 0.5, 0.1, 0.2, 2)
    female = (0.05, 0, 0.3, 0.8, 0.2, 0.8, 1.2, 3.5, 5, 3, 3, 2)
    style = choose(HAIR_STYLES, masculine**2 * np.array(male) + (1 - masculine) ** 2 * np.array(female))
    dark = 1.0 - np.clip(1.6 * skin_tone - 0.3, 0, 1)
    names = choose(list(HAIRS), (3, 3, 2.2 * dark, 1.5 * dark, 0.9 * dark, 1.8 * dark, 0.8 * dark, 0, 0))
    grey = float(np.clip((age - 0.62) * 2.6 + rng.normal(0, 0.2), 0, 1))
    beard_weights = np.array((3, 2.5, 0.8, 1.0, 2.2)) if masculine > 0.55 else np.array((1, 0, 0, 0, 0))
    return Identity(
        seed=seed,
        masculine=masculine,
        age=age,
        **shape,
        skin_tone=skin_tone,
        freckles=float(max(0.0, rng.normal(-0.2, 0.6)) * (skin_tone < 0.45)),
        blush=float(rng.uniform(0.4, 1.0)),
        hair_style=style,
        hair_colour=colour(HAIRS[names], 0.06),
        hair_grey=grey,
        hairline=around(0.02 * masculine * age, 0.014),
        brow_thickness=around(1 + 0.4 * m, 0.18),
        brow_angle=around(0, 4),
        beard=choose(BEARDS, beard_weights),
        iris=colour(IRISES[choose(list(IRISES), (3, 3, 1.5 * dark, 1.2 * dark, 2.5 * dark, dark))], 0.1),
        glasses=bool(rng.random() < 0.18),
        glasses_round=float(rng.uniform(0.3, 1)),
        cloth_style=choose(CLOTH_STYLES, (3, 2, 1.6, 1.6, 2)),
        cloth_pattern=choose(PATTERNS, (2, 2, 2, 1.4, 1.2)),
        cloth_colour=colour(choose(CLOTHS), 0.1),
        cloth_second=colour(choose(CLOTHS), 0.1),
    )
