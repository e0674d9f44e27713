"""What training learns beside the grid: the shells around the box, and each photo's gain. Pure functions of plain data.

Both ride on the rounds: a map task reads them, and hands on a packet of its own with the gradients of the texels it
touched and the sums that the gains of its photos are found from; one reduce task more than there are ranges of rows
adds the packets in map order and makes the next state. So they cost no round of their own, and the number of workers
changes no bit.

Shells: a ray that leaves the box ends at a colour that depends on where it goes (`kernels.shells`). Texels start clear
and of the photos' mean colour, which is what an unseen direction keeps; each level's texels start from the last one's.
The first level has few: with many, photos that share no background are each explained by what is behind the subject,
and the box stays empty.

Gains: a photo is the field's picture times one factor a channel (exposure and white balance, in the photos' own sRGB
values: a factor of light is close to a power of it there). For the photo's rays p and the photo's values y, factor
sum p y / sum p p is the least-squares fit; sums fade by GAIN_KEPT a round, GAIN_TRUST of the photo's own weight pulls
it to 1, and all factors are divided by their geometric mean, so that the field has the mean exposure of the photos.
Rays aim at the photo divided by its gain. Pixels that are saturated or not wholly covered do not vote.

The state is a dict of arrays: centre, radii, values, as in `shells.Shells` (no shells: values of no layers); moments
(L*S*S, 2) float32 of the optimiser; gains (V, 3) float32; sums (V, 3, 2) float64, of p y and p p.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from nerf_plugin.kernels.shells import descend, shade
from nerf_plugin.shells import Shells
from nerf_plugin.training.schedule import RoundPlan
from nerf_plugin.training.settings import Settings

State = dict[str, np.ndarray]
Span = tuple[int, int, int]
"""A photo's number and its first and last but one ray."""

CLEAR = -4.0
"""Raw opacity that texels start with."""
GAIN_KEPT = 0.9
GAIN_TRUST = 0.01
GAIN_START = 0.1
"""Gains are found once this fraction of all rays is traced."""
SATURATED = 0.98


def first(settings: Settings, views: Sequence[Mapping[str, Any]], box: np.ndarray) -> State:
    """The state to begin with. views: all prepared photos. box: (2, 3), the grid's.

    The innermost sphere takes in all cameras and the box; radii grow so that their inverses fall evenly to zero.
    """
    layers, side = settings.shells, settings.shell_side
    cameras = np.array([view["camera"][9:12] for view in views])
    centre = box.mean(0)
    inner = max(np.linalg.norm(cameras - centre, axis=1).max() * 1.05, (box[1] - box[0]).max() / 2)
    radii = inner / (1 - np.arange(max(0, layers - 1)) / max(1, layers - 1))
    mean = np.mean([np.mean(_smallest(view), axis=(0, 1)) for view in views], axis=0)[:3] / 255
    values = np.empty((layers, side, side, 4), np.float32)
    values[..., 0] = CLEAR
    values[..., 1:] = np.log(mean.clip(0.02, 0.98) / (1 - mean.clip(0.02, 0.98)))
    return {
        "centre": centre,
        "radii": radii,
        "values": values,
        "moments": np.zeros((layers * side * side, 2), np.float32),
        "gains": np.ones((len(views), 3), np.float32),
        "sums": np.zeros((len(views), 3, 2)),
    }


def _smallest(view: Mapping[str, Any]) -> np.ndarray:
    pixels: np.ndarray = view["rungs"][max(view["rungs"], key=int)]["pixels"]
    return pixels


def next_level(settings: Settings, level: int, state: Mapping[str, np.ndarray]) -> State:
    """The state that a level begins with, from the last one's."""
    shells = Shells.from_plain(state)
    before, now = (settings.levels[i].resolution for i in (level - 1, level))
    if now >= 1.5 * before:
        for _ in range(settings.shell_leap if level == 1 else 1):
            shells = shells.finer()
    count = int(np.prod(shells.values.shape[:3]))
    return {**state, "values": shells.values, "moments": np.zeros((count, 2), np.float32)}


def going_on(state: State, shells: Shells | None) -> State:
    """The first state of a run that starts from a field with these shells."""
    if shells is None or len(state["values"]) == 0:
        return state
    values = shells.values.astype(np.float32)
    plain = {"centre": shells.centre, "radii": shells.radii, "values": values}
    return {**state, **plain, "moments": np.zeros((values.size // 4, 2), np.float32)}


def aim(state: Mapping[str, np.ndarray], spans: Iterable[Span], target: np.ndarray) -> np.ndarray:
    """Divide the targets, (R*4,), by their photos' gains, in place; returns the photos' own values, (R, 4)."""
    photo = target.reshape(-1, 4).copy()
    for view, start, stop in spans:
        target.reshape(-1, 4)[start:stop, :3] /= state["gains"][view]
    return photo


def behind(state: Mapping[str, np.ndarray], rays: np.ndarray, lo: np.ndarray, voxel: float) -> np.ndarray:
    """(R*3,) float32: the colours that rays (R*6,) end at; white where there are no shells."""
    if len(state["values"]) == 0:
        return np.ones(len(rays) // 2, np.float32)
    return Shells.from_plain(state).look(rays.reshape(-1, 6), lo, voxel).reshape(-1)


def packet(settings: Settings, plan: RoundPlan, state: Mapping[str, np.ndarray], spans: Sequence[Span],
           rays: np.ndarray, lo: np.ndarray, voxel: float, pull: np.ndarray, out: np.ndarray,
           photo: np.ndarray) -> dict[str, np.ndarray]:  # fmt: skip
    """What a map task hands on. pull: (R*3,), the loss gradient by what lies behind. out: (R*5,) of `march`. photo:
    (R, 4), as `aim` returned it.

    texels: (n,) int32, those that were touched; halves: (n, 4) float16, their gradients; views: (k,) int32; sums:
    (k, 3, 2) float64.
    """
    shells = Shells.from_plain(state)
    layers, side = shells.values.shape[:2]
    texels, halves = np.zeros(0, np.int32), np.zeros((0, 4), np.float16)
    if layers:
        grads, touched = np.zeros(shells.values.size, np.float32), np.zeros(layers * side * side, np.uint8)
        again = np.empty(len(pull), np.float32)
        values = np.ascontiguousarray(shells.values).reshape(-1)
        shade(
            values, side, layers, *shells.local(lo, voxel), rays, len(pull) // 3, True, pull, grads, touched, again,
        )  # fmt: skip
        texels = np.flatnonzero(touched).astype(np.int32)
        halves = grads.reshape(-1, 4)[texels].clip(-65504, 65504).astype(np.float16)
    sums = np.zeros((len(spans), 3, 2))
    if settings.exposure:
        for n, (_, start, stop) in enumerate(spans):
            seen, y = out.reshape(-1, 5)[start:stop, :3].astype(np.float64), photo[start:stop].astype(np.float64)
            fair = ((y[:, :3] < SATURATED).all(1) & (y[:, 3] > SATURATED))[:, None]
            sums[n, :, 0] = (seen * y[:, :3] * fair).sum(0)
            sums[n, :, 1] = (seen * seen * fair).sum(0)
    return {"texels": texels, "halves": halves, "views": np.array([v for v, _, _ in spans], np.int32), "sums": sums}


def step(settings: Settings, plan: RoundPlan, state: Mapping[str, np.ndarray],
         packets: Iterable[Mapping[str, np.ndarray]]) -> State:  # fmt: skip
    """The next state, from the packets of all map tasks in their order."""
    packets = list(packets)
    values = np.ascontiguousarray(state["values"], np.float32)
    total = np.zeros((values.size // 4, 4), np.float32)
    for part in packets:
        total[part["texels"]] += part["halves"].astype(np.float32)
    new, moments = np.empty(values.shape, np.float32), np.empty(state["moments"].shape, np.float32)
    fall = plan.rate_color / settings.rate_color
    descend(
        values.reshape(-1), total.reshape(-1), np.ascontiguousarray(state["moments"]).reshape(-1),
        settings.rate_shell_opacity * fall, settings.rate_shell_color * fall, settings.beta,
        new.reshape(-1), moments.reshape(-1),
    )  # fmt: skip
    return {**state, "values": new, "moments": moments} | _gains(settings, plan, state, packets)


def _gains(settings: Settings, plan: RoundPlan, state: Mapping[str, np.ndarray],
           packets: Sequence[Mapping[str, np.ndarray]]) -> State:  # fmt: skip
    if not settings.exposure or plan.done < GAIN_START:
        return {}
    sums = np.array(state["sums"])
    for part in packets:
        sums[part["views"]] = GAIN_KEPT * sums[part["views"]] + part["sums"]
    return {"sums": sums, "gains": fit_gains(sums)}


def fit_gains(sums: np.ndarray) -> np.ndarray:
    """(V, 3) float32 gains of geometric mean 1, from sums (V, 3, 2) of p y and p p; 1 for photos without a vote."""
    py, pp = sums[..., 0], sums[..., 1]
    seen = pp.min(1) > 0
    if not seen.any():
        return np.ones(py.shape, np.float32)
    gains = np.ones(py.shape)
    gains[seen] = ((py[seen] + GAIN_TRUST * pp[seen]) / ((1 + GAIN_TRUST) * pp[seen])).clip(0.2, 5.0)
    gains[seen] /= np.exp(np.log(gains[seen]).mean(0))
    return gains.astype(np.float32)
