"""Texture coordinates: charts found in chunks of the surface by xatlas, then packed together.

xatlas takes more than linear time to find charts (a million faces take half a day, jpcy/xatlas #36), so the surface
is cut into chunks of a thousand faces, each charted on its own as a map task; packing all charts into one square is
quick. (A head of 100,000 faces: 14 CPU s with chunks of 4000, 11 with 2000, 6 with 1000 or 500.) The cut is a fixed
halving of space, not of work by workers. Charts do not cross it, which costs some seams; the bake makes them
invisible, as the colour of a texel depends on the place on the surface alone and not on its chart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nerf_plugin.mesh.surface import Mesh, MeshError

CHUNK = 1000


@dataclass(frozen=True)
class Atlas:
    """Texture coordinates of a mesh.

    uv: (T,2) float64 in 0..1, origin lower left; faces: (F,3) int32 into uv, row by row as the mesh's; charts: their
    number; used: share of the square that charts cover.
    """

    uv: np.ndarray
    faces: np.ndarray
    charts: int
    used: float


def atlas_chunks(mesh: Mesh, size: int = CHUNK) -> list[np.ndarray]:
    """Rows of faces (n,) int32 of each chunk: halved along the longest side of their box until at most `size` are
    left."""
    if not len(mesh.faces):
        raise MeshError("the mesh has no faces to unwrap")
    center = mesh.triangles.mean(axis=1)
    ready: list[np.ndarray] = []
    open_chunks = [np.arange(len(mesh.faces), dtype=np.int32)]
    while open_chunks:
        rows = open_chunks.pop()
        if len(rows) <= size:
            ready.append(rows)
            continue
        place = center[rows]
        axis = int((place.max(axis=0) - place.min(axis=0)).argmax())
        order = np.argsort(place[:, axis], kind="stable")
        half = len(rows) // 2
        open_chunks += [np.sort(rows[order[half:]]), np.sort(rows[order[:half]])]
    return ready


def chart_chunk(mesh: Mesh, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Map: charts of the faces `rows`.

    Returns {rows (n,) int32; vertex (t,) int32 the mesh's vertex behind each texture vertex; uv (t,2) float32; faces
    (n,3) int32 into uv}.
    """
    import xatlas

    corners, local = np.unique(mesh.faces[rows], return_inverse=True)
    atlas = xatlas.Atlas()
    center = mesh.vertices.mean(axis=0)
    atlas.add_mesh((mesh.vertices[corners] - center).astype(np.float32), local.reshape(-1, 3).astype(np.uint32))
    charts, pack = xatlas.ChartOptions(), xatlas.PackOptions()
    charts.max_iterations = 1
    extent = float(np.ptp(mesh.vertices, axis=0).max()) or 1.0
    pack.texels_per_unit = 200.0 / extent
    pack.bruteForce = False
    atlas.generate(charts, pack)
    vertex, faces, uv = atlas[0]
    if faces.shape != (len(rows), 3):
        raise MeshError(f"xatlas lost {len(rows) - len(faces)} of {len(rows)} faces: the mesh has faces without area")
    return {
        "rows": rows,
        "vertex": corners[vertex].astype(np.int32),
        "uv": (uv * np.array([atlas.width, atlas.height])).astype(np.float32),
        "faces": faces.astype(np.int32),
    }


def pack_charts(mesh: Mesh, parts: Sequence[dict[str, np.ndarray]], resolution: int = 1024, gutter: int = 4) -> Atlas:
    """Reduce: all charts in one square, at one scale, about `gutter` texels apart at `resolution` texels a side."""
    import xatlas

    offsets = np.cumsum([0] + [len(part["uv"]) for part in parts[:-1]])
    vertex = np.concatenate([part["vertex"] for part in parts])
    faces = np.concatenate([part["faces"] + offset for part, offset in zip(parts, offsets, strict=True)])
    uv = np.concatenate([part["uv"] for part in parts])
    rows = np.concatenate([part["rows"] for part in parts])
    atlas = xatlas.Atlas()
    positions = (mesh.vertices[vertex] - mesh.vertices.mean(axis=0)).astype(np.float32)
    atlas.add_mesh(positions, faces.astype(np.uint32), None, uv)
    charts: Any = xatlas.ChartOptions()
    charts.use_input_mesh_uvs = True
    pack: Any = xatlas.PackOptions()
    pack.resolution, pack.padding, pack.bruteForce = int(resolution), int(gutter), resolution <= 2048
    atlas.generate(charts, pack)
    if atlas.atlas_count != 1:
        raise MeshError(f"the charts need {atlas.atlas_count} textures of {resolution}; ask for a larger one")
    _, packed_faces, packed_uv = atlas[0]
    ordered = np.empty((len(mesh.faces), 3), np.int32)
    ordered[rows] = packed_faces
    return Atlas(packed_uv.astype(np.float64), ordered, int(atlas.chart_count), float(atlas.utilization))
