"""What a surface is here: vertices, faces, colours; and what went wrong when there is none."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from mapreduce import BadInput


class MeshError(BadInput):
    """A surface could not be made; the message names the cause and what to try next."""


class FieldLike(Protocol):
    """What mesh extraction needs of a radiance field; anything with these methods will do."""

    lo: np.ndarray
    voxel: float
    resolution: Any

    def sigma(self, points: np.ndarray) -> np.ndarray: ...

    def color(self, points: np.ndarray, directions: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh in world coordinates.

    vertices: (V,3) float64; faces: (F,3) int32, counter-clockwise seen from outside;
    colors: (V,3) float32 sRGB values in 0..1, or None; info: small facts about how it was made.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray | None = None
    info: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.vertices.ndim != 2 or self.vertices.shape[1] != 3:
            raise MeshError(f"vertices must have shape (V,3), not {self.vertices.shape}")
        if self.faces.ndim != 2 or self.faces.shape[1] != 3:
            raise MeshError(f"faces must have shape (F,3), not {self.faces.shape}")
        if len(self.faces) and (self.faces.min() < 0 or self.faces.max() >= len(self.vertices)):
            raise MeshError(f"a face names a vertex outside 0..{len(self.vertices) - 1}")
        if self.colors is not None and self.colors.shape != self.vertices.shape:
            raise MeshError(f"colors {self.colors.shape} do not match vertices {self.vertices.shape}")

    def with_(self, **changes: Any) -> Mesh:
        """A copy with some fields replaced."""
        return replace(self, **changes)

    @property
    def triangles(self) -> np.ndarray:
        """(F,3,3) float64 corner positions."""
        return self.vertices[self.faces]

    def face_normals(self) -> np.ndarray:
        """(F,3) float64; their length is twice the area of the face."""
        a, b, c = (self.vertices[self.faces[:, i]] for i in range(3))
        return np.cross(b - a, c - a)

    def vertex_normals(self) -> np.ndarray:
        """(V,3) float64 unit, area-weighted; zero where a vertex has no area around it."""
        normals = self.face_normals()
        total = np.stack(
            [
                np.bincount(self.faces.ravel(), np.repeat(normals[:, axis], 3), minlength=len(self.vertices))
                for axis in range(3)
            ],
            axis=1,
        )
        length = np.linalg.norm(total, axis=1, keepdims=True)
        return total / np.where(length > 0, length, 1.0)

    def area(self) -> float:
        return float(np.linalg.norm(self.face_normals(), axis=1).sum() / 2)

    def volume(self) -> float:
        """Signed volume: positive for a closed surface whose faces look outward."""
        a, b, c = (self.vertices[self.faces[:, i]] for i in range(3))
        return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)

    def compact(self) -> Mesh:
        """Without the vertices that no face uses; the order of the others is kept."""
        used = np.zeros(len(self.vertices), bool)
        used[self.faces.ravel()] = True
        if used.all():
            return self
        index = np.cumsum(used, dtype=np.int32) - np.int32(1)
        colors = None if self.colors is None else self.colors[used]
        return Mesh(self.vertices[used], index[self.faces], colors, dict(self.info))
