"""The hot kernel beside its C++ twin (twin.cpp), compiled on the spot: same grid, same rays, one core, turn by turn.

Both get the rays of three photos of a trained field, in the order that training visits them or shuffled. The figure is
millions of alive samples (those in occupied cells, before the ray ends) a second of CPU time, the best of `turns`.
A run whose pictures or gradients differ by more than rounding fails: the two must be the same algorithm.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SOURCE = Path(__file__).with_name("twin.cpp")
FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC")
VIEWS = (0.05, 0.4, 0.75)
"""Which photos, as parts of all."""
TOLERANCE = 2e-3
"""Largest root mean square of a lane's difference of gradients, relative to that of the gradients: both sum in
float32."""
FEW = 1e-4
"""Part of the voxels, those that differ most, that does not count in it: a ray may end one sample sooner in one of the
two, where its transmittance is all but the least, and in a field that is well trained other gradients are smaller."""


class Differs(Exception):
    """The two kernels do not compute the same."""


class _Grid(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("table", "bricks", "first", "present", "occupied", "box")]


class _Figures(ctypes.Structure):
    _fields_ = [("loss", ctypes.c_double), ("alive", ctypes.c_int64), ("steps", ctypes.c_int64)]


def compiler() -> str | None:
    """Path of g++, None where there is none."""
    return shutil.which("g++")


def compiled(folder: Path) -> ctypes.CDLL:
    """The twin, compiled for this processor. Raises CalledProcessError with the compiler's words."""
    library = folder / "twin.so"
    subprocess.run([compiler() or "g++", *FLAGS, "-o", str(library), str(SOURCE)], check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.march.restype = None
    return loaded


@dataclass
class Work:
    """A field and rays through it: (R*6,) origins and directions in voxel units, (R*4,) colours and alpha."""

    field: Any
    rays: np.ndarray
    target: np.ndarray
    step: float
    stop: float
    weights: tuple[float, float, float]

    @property
    def count(self) -> int:
        return len(self.target) // 4

    def shuffled(self) -> Work:
        order = np.random.default_rng(0).permutation(self.count)
        rays, target = (a.reshape(self.count, -1)[order].reshape(-1) for a in (self.rays, self.target))
        return Work(self.field, rays, target, self.step, self.stop, self.weights)


def work_of(capture: str, field: str) -> Work:
    """The rays of three photos at full size, as training visits them."""
    from nerf_plugin.datasets import load
    from nerf_plugin.field import Field
    from nerf_plugin.kernels.pixels import rays_of_pixels
    from nerf_plugin.training import PRESETS, prepare_view

    settings, made = PRESETS["standard"], Field.load(Path(field))
    photos = load(capture, "train").views
    rays, targets = [], []
    for part in VIEWS:
        index = int(part * len(photos))
        view = prepare_view(settings, index, photos[index].camera, photos[index].image())
        rung = min(view["rungs"], key=int)
        image, count = view["rungs"][rung], len(view["rungs"][rung]["candidates"])
        camera = view["camera"] * np.where(np.arange(16) < 12, 1.0, 0.5 ** int(rung))
        ray, target = np.empty(count * 6, np.float32), np.empty(count * 4, np.float32)
        pixels, width = image["pixels"].reshape(-1), image["pixels"].shape[1]
        grid = made.grid
        rays_of_pixels(pixels, width, image["candidates"], camera, grid.lo, grid.voxel, ray, target, 0)
        rays.append(ray)
        targets.append(target)
    weights = (settings.alpha_weight, settings.point_weight, settings.distortion_weight)
    return Work(made, np.concatenate(rays), np.concatenate(targets), settings.step, settings.stop, weights)


def ours(work: Work) -> Callable[[bool], tuple[int, np.ndarray, np.ndarray]]:
    """Our kernel on `work`: train -> (alive samples, gradients, pictures)."""
    from nerf_plugin.harmonics import LINES
    from nerf_plugin.kernels import march

    grid, rows, grads, touched, back, out = _buffers(work)
    buffers, back_grad = march.scratch(), np.empty_like(back)

    def run(train: bool) -> tuple[int, np.ndarray, np.ndarray]:
        _, alive, _ = march.march(
            rows, grads, touched, grid.table, grid.shape, grid.first, grid.present, grid.occupied, grid.box, work.rays,
            work.target, back, back_grad, work.count, 5, work.step, work.field.density * grid.voxel * work.step,
            work.field.shift, *work.weights, work.stop, train, out, *buffers,
            LINES[1],
        )  # fmt: skip
        return alive, grads, out

    return run


def twin(work: Work, library: ctypes.CDLL) -> Callable[[bool], tuple[int, np.ndarray, np.ndarray]]:
    """The C++ kernel on `work`, likewise."""
    grid, rows, grads, touched, back, out = _buffers(work)
    figures = _Figures()
    arrays = [grid.table, grid.shape, grid.first, grid.present, grid.occupied, grid.box]
    shape = _Grid(*(array.ctypes.data for array in arrays))
    scale = work.field.density * grid.voxel * work.step
    numbers = map(ctypes.c_float, (work.step, scale, work.field.shift, *work.weights, work.stop))
    settings = tuple(numbers)

    def run(train: bool) -> tuple[int, np.ndarray, np.ndarray]:
        library.march(
            *map(_at, (rows, grads, touched)), ctypes.byref(shape), *map(_at, (work.rays, work.target, back)),
            work.count, 5, *settings, int(train), _at(out), ctypes.byref(figures),
        )  # fmt: skip
        return int(figures.alive), grads, out

    return run


def _at(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _buffers(work: Work) -> tuple[Any, ...]:
    grid, rows = work.field.grid, np.ascontiguousarray(work.field.rows, np.float16).view(np.uint16).reshape(-1)
    back = np.ones(work.count * 3, np.float32)
    out = np.empty(work.count * 5, np.float32)
    return grid, rows, np.zeros(rows.size, np.float32), np.zeros(len(grid.places), np.uint64), back, out


def check(first: tuple[int, np.ndarray, np.ndarray], second: tuple[int, np.ndarray, np.ndarray]) -> float:
    """How far the gradients differ (see TOLERANCE). Raises Differs when that, or anything else, is too much."""
    (alive, grads, out), (alive_twin, grads_twin, out_twin) = first, second
    if abs(alive - alive_twin) > 1e-4 * alive:
        raise Differs(f"{alive} alive samples, the twin has {alive_twin}")
    colour = float(np.sqrt(np.mean((out - out_twin).reshape(-1, 5)[:, :4] ** 2)))
    if colour > 1e-4:
        raise Differs(f"pictures differ by {colour:.1e} (root mean square)")
    a, b = grads.reshape(-1, 16)[:, :9].astype(np.float64), grads_twin.reshape(-1, 16)[:, :9].astype(np.float64)
    squares = np.sort((a - b) ** 2, 0)[: len(a) - int(FEW * len(a))]
    difference = np.sqrt(squares.mean(0)) / np.sqrt((a**2).mean(0) + 1e-30)
    if not difference.max() <= TOLERANCE:
        raise Differs(
            f"gradients differ by {difference.max():.1e} of their root mean square, lane {difference.argmax()}"
        )
    return float(difference.max())


def compare(capture: str, field: str, turns: int, folder: Path) -> dict[str, dict[str, float]]:
    """Rates of both kernels, in million alive samples a second: {"ours": {...}, "twin": {...}}, keyed by
    "forward", "training", "forward_random", "training_random"; nothing for the twin without a compiler.

    Raises Differs.
    """
    work = work_of(capture, field)
    library = compiled(folder) if compiler() else None
    rates: dict[str, dict[str, float]] = {"ours": {}, "twin": {}}
    for suffix, rays in (("", work), ("_random", work.shuffled())):
        kernels = {"ours": ours(rays)}
        kernels["ours"](True)
        if library is not None:
            kernels["twin"] = twin(rays, library)
            check(ours(rays)(True), kernels["twin"](True))
        for train in (False, True):
            best = dict.fromkeys(kernels, float("inf"))
            alive = dict.fromkeys(kernels, 0)
            for _ in range(turns):
                for name, run in kernels.items():
                    begin = time.process_time()
                    alive[name] = run(train)[0]
                    best[name] = min(best[name], time.process_time() - begin)
            for name in kernels:
                rates[name][("training" if train else "forward") + suffix] = alive[name] / best[name] / 1e6
    return rates
