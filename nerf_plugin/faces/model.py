"""A person as a painted mesh: what is photographed, and what is written as ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nerf_plugin.faces import paint, surface
from nerf_plugin.faces.anatomy import BOTTOM, LAYERS, sculpt
from nerf_plugin.faces.identity import Identity

FINE, COARSE = 0.0052, 0.0105


@dataclass(frozen=True, eq=False)
class Model:
    """`vertices` (V, 3) float64 and `faces` (F, 3) int32 are the surface; the fine ones are the same surface with each
    triangle in four; `colours` (fine V, 3) float32 sRGB 0..255, the first V of them those of `vertices`; `normals`
    likewise."""

    vertices: np.ndarray
    faces: np.ndarray
    fine_vertices: np.ndarray
    fine_faces: np.ndarray
    colours: np.ndarray
    normals: np.ndarray


def build(who: Identity, spacing: float = 1.0) -> Model:
    """Sculpts, meshes, lights and paints; `spacing` 2 makes the mesh twice as coarse (for tests and thumbnails)."""
    fine_step, coarse_step = FINE * spacing, COARSE * spacing
    program = sculpt(who)
    xs = surface.axis_samples(-0.80, 0.80, (-0.27, 0.27), coarse_step, fine_step)
    ys = surface.axis_samples(-0.80, 0.85, (-0.80, -0.27), coarse_step, fine_step)
    zs = surface.axis_samples(BOTTOM - 0.05, 1.0, (-0.30, 0.36), coarse_step, fine_step)
    vertices, faces = surface.extract(program, LAYERS, xs, ys, zs)
    normals, occlusion, shadow = surface.light(program, LAYERS, vertices, paint.LAMPS)
    sides, fine_faces = surface.split(len(vertices), faces)

    def refine(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, 0.5 * (values[sides[:, 0]] + values[sides[:, 1]])])

    fine, bent = refine(vertices), refine(normals)
    bent /= np.linalg.norm(bent, axis=1, keepdims=True) + 1e-12
    colours = paint.paint(who, program, fine, bent, refine(occlusion), refine(shadow))
    return Model(vertices, faces, fine, fine_faces, colours, bent)
