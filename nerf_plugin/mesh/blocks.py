"""Surface extraction as map and reduce: a fixed list of blocks, one extraction each, one merge.

The lattice of samples covers the field's box with one layer more on every side; that outermost layer counts as empty
whatever is sampled there, so the surface is closed by construction. Blocks overlap in one layer of samples and in no
cube. Their list depends on the lattice and the block size alone, never on the number of workers.

    parts = [extract_block(field, block, iso) for block in blocks(lo, voxel, resolution)]   # map, any order
    mesh = merge(parts)   # reduce, in block order
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nerf_plugin.mesh.marching import march
from nerf_plugin.mesh.surface import FieldLike, Mesh, MeshError

SampleFn = Callable[[np.ndarray], np.ndarray]
BLOCK = 48


def iso_level(voxel: float) -> float:
    """Density (per world unit) at which one voxel's length is half opaque: ln 2 / voxel (SVRaster)."""
    return float(np.log(2.0) / voxel)


def blocks(lo: Any, voxel: float, resolution: Any, size: int = BLOCK) -> list[dict[str, Any]]:
    """Cut a field's box into blocks of at most `size` cubes a side.

    lo (3,) world, voxel in world units, resolution: cubes along x, y, z (an int or three). Each block is plain data:
    index; start (3) first sample in the lattice; samples (3) of the block; shape (3) of the lattice; lo (3) world
    position of the lattice's first sample; voxel.
    """
    if size < 1:
        raise MeshError(f"block size must be at least 1, not {size}")
    cells = np.broadcast_to(np.asarray(resolution, np.int64), (3,))
    if (cells < 1).any() or not voxel > 0 or not np.isfinite(voxel):
        raise MeshError(f"cannot cut a box of {cells.tolist()} voxels of size {voxel} into blocks")
    shape = cells + 3
    origin = np.asarray(lo, np.float64) - float(voxel)
    result: list[dict[str, Any]] = []
    for i in range(0, int(shape[0]) - 1, size):
        for j in range(0, int(shape[1]) - 1, size):
            for k in range(0, int(shape[2]) - 1, size):
                start = np.array([i, j, k])
                result.append(
                    {
                        "index": len(result),
                        "start": [i, j, k],
                        "samples": (np.minimum(start + size + 1, shape) - start).tolist(),
                        "shape": shape.tolist(),
                        "lo": origin.tolist(),
                        "voxel": float(voxel),
                    }
                )
    return result


def block_points(block: dict[str, Any]) -> np.ndarray:
    """(a*b*c, 3) float64 world positions of a block's samples, z fastest."""
    lo, voxel = np.asarray(block["lo"]), block["voxel"]
    axes = [lo[d] + voxel * (block["start"][d] + np.arange(block["samples"][d], dtype=np.float64)) for d in range(3)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def seal(samples: np.ndarray, block: dict[str, Any], empty: float) -> np.ndarray:
    """`samples` with the outermost layer of the lattice set to at most `empty`."""
    samples = np.array(samples, np.float32).reshape(block["samples"])
    for axis in range(3):
        for side, edge in ((0, 0), (-1, block["shape"][axis] - 1)):
            place = block["start"][axis] + (0 if side == 0 else block["samples"][axis] - 1)
            if place == edge:
                layer = samples[(slice(None),) * axis + (side,)]
                np.minimum(layer, np.float32(empty), out=layer)
    return samples


def extract_block(
    source: FieldLike | SampleFn, block: dict[str, Any], iso: float, empty: float = 0.0
) -> dict[str, np.ndarray]:
    """Map: the surface `source > iso` inside one block.

    source: an object with .sigma, or a function from points (N,3) to values (N,); `empty` is what lies outside the
    box (below iso). Returns {vertices (V,3) float64 world, faces (F,3) int32 into them, edge_keys (V,) int64}.
    """
    if not empty < iso:
        raise MeshError(f"the value outside the box ({empty}) must be below the iso level ({iso})")
    sample = source if callable(source) else source.sigma
    values = np.asarray(sample(block_points(block)))
    return extract_samples(values, block, iso, empty)


def extract_samples(values: np.ndarray, block: dict[str, Any], iso: float, empty: float = 0.0) -> dict[str, np.ndarray]:
    """`extract_block` for samples that are already there, in the order of `block_points`."""
    if not np.isfinite(values).all():
        raise MeshError(
            f"block {block['index']}: {int((~np.isfinite(values)).sum())} samples are not finite: "
            "the field is damaged; train it again"
        )
    samples = seal(values, block, empty)
    vertices, faces, keys = march(samples, iso, tuple(block["start"]), tuple(block["shape"]))
    world = np.asarray(block["lo"]) + block["voxel"] * vertices
    return {"vertices": world, "faces": faces, "edge_keys": keys}


def merge(parts: Sequence[dict[str, np.ndarray]]) -> Mesh:
    """Reduce: one mesh from the outputs of all blocks, given in block order.

    Vertices come out sorted by their grid edge, so the result does not depend on the block size either. Raises
    MeshError where there is no surface at all.
    """
    faces_total = sum(len(part["faces"]) for part in parts)
    if not faces_total:
        raise MeshError(
            "there is no surface: the field is empty at this iso level; train longer, check that the photos are not "
            "all transparent and that the cameras look at the object"
        )
    keys = np.concatenate([part["edge_keys"] for part in parts])
    vertices = np.concatenate([part["vertices"] for part in parts])
    _, first, place = np.unique(keys, return_index=True, return_inverse=True)
    offsets = np.cumsum([0] + [len(part["edge_keys"]) for part in parts[:-1]])
    faces = np.concatenate(
        [part["faces"].astype(np.int64) + offset for part, offset in zip(parts, offsets, strict=True)]
    )
    return Mesh(vertices[first], canonical_faces(place[faces]))


def canonical_faces(faces: np.ndarray) -> np.ndarray:
    """Each face turned so that its smallest vertex leads (same orientation), then sorted: one order for one surface;
    int32."""
    turn = faces.argmin(axis=1)
    faces = np.take_along_axis(faces, (turn[:, None] + np.arange(3)) % 3, axis=1).astype(np.int32)
    return np.ascontiguousarray(faces[np.lexsort(faces.T[::-1])])
