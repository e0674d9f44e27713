"""From a trained field to an avatar: the stages, as pure functions of plain arrays, and the same in one process.

    stage     map task                  shared state, read-only             reduce or plan
    depth     depth_task (a camera)     field                               plan_task: lattice and bricks
    surface   block_task (a block)      depth views, plan                   surface_task: mesh within the budget, chunks
    outlines  outline_task (a view)     mesh                                settle_task: the mesh, moved
    charts    chart_task (a chunk)      mesh                                atlas_task: texture coordinates
    photos    photo_task (a view)       mesh                                -
    bake      bake_task (a band)        mesh, atlas, photo views, field     texture_task: the texture
    polish    polish_task (a group)     mesh, atlas, texture, field         polished_task: texture, mesh (thrice)
    files     -                         all of it                           avatar_files: names and bytes

Values that pass between tasks are numpy arrays in plain dicts. Each list of tasks depends on the inputs and the
settings alone, each reduce takes its parts in the order of that list: the files are the same bits for any number of
workers.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import numpy as np

from nerf_plugin.export.gltf import glb_bytes
from nerf_plugin.export.obj import textured_obj_files
from nerf_plugin.export.ply import ply_bytes
from nerf_plugin.export.viewer import viewer_html
from nerf_plugin.mesh import Mesh, MeshError, color_vertices, decimate, keep_components, merge, require_solid, taubin
from nerf_plugin.mesh.colors import surface_colors
from nerf_plugin.mesh.fusion import depth_view, fuse_block, plan_blocks, plan_lattice
from nerf_plugin.mesh.onset import choose_views, onset_depth
from nerf_plugin.mesh.silhouette import outline, settle
from nerf_plugin.texture import assemble, atlas_chunks, bake_band, bake_bands, chart_chunk, pack_charts, photo_view
from nerf_plugin.texture.atlas import Atlas
from nerf_plugin.texture.polish import polish, polish_groups, polish_part
from nerf_plugin.texture.relief import lift
from nerf_plugin.texture.render import RIM
from nerf_plugin.texture.softness import rim_of

FORMAT = 1
POLISHES = 3
"""How often the texture is held against the photos; each time but the last, the surface's relief as well."""
Arrays = dict[str, Any]


@dataclass(frozen=True)
class AvatarSettings:
    """resolution: cubes along the longest side of the surface's lattice. faces: budget. texture: texels a side.
    smooth: rounds of Taubin smoothing. cap: cut the unseen underside flat."""

    resolution: int = 256
    faces: int = 100_000
    texture: int = 1024
    smooth: int = 5
    views: int = 50
    cap: bool = True

    def __post_init__(self) -> None:
        if not 16 <= self.resolution <= 1024:
            raise MeshError(f"a surface resolution of {self.resolution} is not between 16 and 1024")
        if self.faces < 100:
            raise MeshError(
                f"a face budget of {self.faces} is too small for a surface; ask for 1,000 or more (at least 100)"
            )
        if not 64 <= self.texture <= 8192:
            raise MeshError(f"a texture of {self.texture} texels a side is not between 64 and 8192")


def mesh_arrays(mesh: Mesh) -> Arrays:
    """A mesh as plain arrays."""
    colors = {} if mesh.colors is None else {"colors": mesh.colors}
    return {"vertices": mesh.vertices, "faces": mesh.faces, **colors}


def mesh_of(arrays: Mapping[str, Any]) -> Mesh:
    return Mesh(arrays["vertices"], arrays["faces"], arrays.get("colors"))


def atlas_arrays(atlas: Atlas) -> Arrays:
    """An atlas as plain arrays."""
    return {"uv": atlas.uv, "uv_faces": atlas.faces, "charts": atlas.charts, "used": atlas.used}


def atlas_of(arrays: Mapping[str, Any]) -> Atlas:
    return Atlas(arrays["uv"], arrays["uv_faces"], int(arrays["charts"]), float(arrays["used"]))


def depth_tasks(cameras: Sequence[Any], settings: AvatarSettings) -> list[int]:
    """Which cameras speak about the surface: at most `settings.views`, spread out."""
    return choose_views(cameras, settings.views)


def depth_task(field: Any, camera: Any, settings: AvatarSettings) -> Arrays:
    """What one camera knows about the surface, from the field's render; no finer than the lattice can use."""
    scale = settings.resolution / max(camera.width, camera.height)
    small = camera.scaled(scale) if scale < 1 else camera
    median = field.render(small, step=1.0).depth
    return depth_view(onset_depth(field, small, median), small)


def plan_task(views: Sequence[Arrays], settings: AvatarSettings) -> tuple[Arrays, list[Arrays]]:
    """(the plan, the blocks)."""
    plan = plan_lattice(views, settings.resolution, settings.cap)
    return plan, plan_blocks(plan)


def block_task(views: Sequence[Arrays], plan: Arrays, block: Arrays) -> Arrays:
    return fuse_block(views, plan, block)


def surface_task(
    parts: Sequence[Arrays], field: Any, settings: AvatarSettings
) -> tuple[Arrays, list[np.ndarray], Arrays]:
    """(the mesh with vertex colours, the chunks to chart, facts about the surface). It is a closed 2-manifold in one
    piece, within the face budget."""
    whole = merge(parts)
    mesh = keep_components(whole)
    dropped = mesh.info["components_dropped"]
    mesh = decimate(taubin(mesh, settings.smooth), settings.faces)
    facts = require_solid(mesh)
    if facts["components"] != 1:
        raise MeshError(f"the surface fell into {facts['components']} pieces; this is a defect, please report it")
    mesh = color_vertices(field, mesh)
    return mesh_arrays(mesh), atlas_chunks(mesh), {**facts, "pieces_dropped": dropped, "faces_before": len(whole.faces)}


def outline_tasks(cameras: Sequence[Any], settings: AvatarSettings) -> list[int]:
    """Which photos' outlines are asked first: at most half of `settings.views`, spread out; the polish asks all of
    them."""
    return choose_views(cameras, max(1, settings.views // 2))


def outline_task(mesh: Arrays, photo: np.ndarray, camera: Any, field: Any) -> Arrays:
    """What the outline in one photo (H,W,4) uint8 says about the surface; nothing where the photo has no mask."""
    return outline(mesh_of(mesh), photo[..., 3], camera, 0.3 * field.voxel)


def settle_task(mesh: Arrays, parts: Sequence[Arrays], field: Any) -> tuple[Arrays, Arrays]:
    """(the mesh moved to the outlines, with vertex colours; facts). Faces, and so the chunks to chart, stay as they
    are."""
    moved = settle(mesh_of(mesh), parts, field.voxel)
    facts = {name: value / field.voxel for name, value in moved.info.items() if name.startswith("outline_")}
    return mesh_arrays(color_vertices(field, moved)), {**facts, "volume": moved.volume(), "area": moved.area()}


def chart_task(mesh: Arrays, rows: np.ndarray) -> Arrays:
    return chart_chunk(mesh_of(mesh), rows)


def atlas_task(mesh: Arrays, parts: Sequence[Arrays], settings: AvatarSettings) -> Arrays:
    gutter = max(2, settings.texture // 256)
    return atlas_arrays(pack_charts(mesh_of(mesh), parts, settings.texture, gutter))


def photo_task(photo: np.ndarray, camera: Any, mesh: Arrays) -> Arrays:
    """What one photo (H,W,4) uint8 knows about the colours."""
    return photo_view(photo, camera, mesh_of(mesh))


def bake_tasks(settings: AvatarSettings) -> list[dict[str, int]]:
    return bake_bands(settings.texture)


def bake_task(mesh: Arrays, atlas: Arrays, views: Sequence[Arrays], band: dict[str, int], field: Any) -> Arrays:
    def fill(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        return surface_colors(field, points, normals)

    return bake_band(mesh_of(mesh), atlas_of(atlas), views, band, fill)


def texture_task(parts: Sequence[Arrays], settings: AvatarSettings) -> tuple[np.ndarray, dict[str, float]]:
    """(texture (S,S,3) uint8, shares covered and seen)."""
    return assemble(parts, settings.texture)


def polish_tasks(count: int) -> list[list[int]]:
    """Groups of `count` photos."""
    return polish_groups(count)


def polish_task(
    mesh: Arrays,
    atlas: Arrays,
    texture: np.ndarray,
    photos: Iterable[tuple[np.ndarray, Any]],
    turn: int,
    rim: float = RIM,
) -> Arrays:
    """What pictures of the mesh lack of these photos (H,W,4) uint8, each with its camera; `turn`: 0 to POLISHES - 1;
    rim: `pixel_rim` of the last turn's facts."""
    return polish_part(mesh_of(mesh), atlas_of(atlas), texture, photos, turn + 1 < POLISHES, rim)


def polished_task(
    mesh: Arrays, texture: np.ndarray, parts: Sequence[Arrays], field: Any
) -> tuple[Arrays, np.ndarray, Arrays]:
    """(the mesh, with its relief where the parts tell of it; the texture; facts). Faces and charts stay as they
    are, and so do the vertices' colours."""
    solid = mesh_of(mesh)
    if all("relief" in part for part in parts):
        solid = lift(solid, [part["relief"] for part in parts], field.voxel, [part["edges"] for part in parts])
    rim = rim_of([part["misfit"] for part in parts], RIM)
    facts = {"volume": solid.volume(), "area": solid.area(), "pixel_rim": rim}
    return mesh_arrays(solid), polish(texture, parts), facts


def up_of(cameras: Sequence[Any]) -> np.ndarray:
    """(3,) the cameras' common up; see mesh.fusion.camera_up."""
    from nerf_plugin.mesh.fusion import camera_up
    from nerf_plugin.mesh.raster import pack_camera

    return camera_up([{"camera": pack_camera(camera)} for camera in cameras])


def front_of(cameras: Sequence[Any]) -> np.ndarray | None:
    """(3,) the side that the photos were taken from; None where they were taken from all around."""
    backs = np.array([np.asarray(camera.rotation)[:, 2] for camera in cameras])
    mean = backs.mean(axis=0)
    return mean if np.linalg.norm(mean) > 0.6 else None


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("daf", "numpy", "numba", "scipy", "xatlas", "pillow"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed as a package"
    return found


def avatar_files(
    mesh: Arrays,
    atlas: Arrays,
    texture: np.ndarray,
    *,
    settings: AvatarSettings,
    up: Any = (0.0, 0.0, 1.0),
    front: Any = None,
    title: str = "avatar",
    facts: Mapping[str, Any] | None = None,
    source: Mapping[str, Any] | None = None,
) -> dict[str, bytes]:
    """Name to content: avatar.obj with .mtl and .png, avatar.glb, avatar.ply, viewer.html, and avatar.json, which
    names the others with their hashes and comes last: where it is, all is there.

    source: plain facts about where it comes from (data set, its fingerprint, training parameters, seed).
    """
    solid, charts = mesh_of(mesh), atlas_of(atlas)
    parts = {"uv": charts.uv, "uv_faces": charts.faces, "texture": texture}
    files = textured_obj_files("avatar", solid, **parts)
    bare = solid.with_(colors=None)
    files["avatar.glb"] = glb_bytes(bare, **parts, up=up)
    files["avatar.ply"] = ply_bytes(solid)
    files["viewer.html"] = viewer_html(solid, **parts, up=up, front=front, title=title).encode()
    low, high = solid.vertices.min(axis=0), solid.vertices.max(axis=0)
    story = {
        "format": FORMAT,
        "title": title,
        "source": dict(source or {}),
        "settings": asdict(settings),
        "versions": _versions(),
        "coordinates": {
            "frame": "that of the input's cameras",
            "units": "those of the input's cameras",
            "handedness": "right",
            "up": [float(x) for x in np.asarray(up)],
            "glb": "the same numbers in the buffer; the node turns `up` to +y",
            "bounds": [low.tolist(), high.tolist()],
        },
        "surface": dict(facts or {}),
        "texture": {"size": int(texture.shape[0]), "charts": charts.charts, "used": charts.used},
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        },
    }
    files["avatar.json"] = (json.dumps(story, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    return files


def build_local(
    field: Any,
    cameras: Sequence[Any],
    photos: Sequence[np.ndarray],
    settings: AvatarSettings | None = None,
    clock: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Every stage in this process, in the order the job has: {mesh, atlas, texture, facts}. `clock` hears each stage's
    name as it ends."""
    settings = settings or AvatarSettings()
    tick = clock or (lambda stage: None)
    views = [depth_task(field, cameras[i], settings) for i in depth_tasks(cameras, settings)]
    tick("depth")
    plan, blocks = plan_task(views, settings)
    tick("plan")
    parts = [block_task(views, plan, block) for block in blocks]
    tick("blocks")
    mesh, chunks, facts = surface_task(parts, field, settings)
    tick("surface")
    outlines = [outline_task(mesh, photos[i], cameras[i], field) for i in outline_tasks(cameras, settings)]
    tick("outlines")
    mesh, more = settle_task(mesh, outlines, field)
    tick("settle")
    atlas_parts = [chart_task(mesh, rows) for rows in chunks]
    tick("charts")
    atlas = atlas_task(mesh, atlas_parts, settings)
    tick("atlas")
    seen = [photo_task(photo, camera, mesh) for photo, camera in zip(photos, cameras, strict=True)]
    tick("photos")
    bands = [bake_task(mesh, atlas, seen, band, field) for band in bake_tasks(settings)]
    tick("bake")
    texture, shares = texture_task(bands, settings)
    tick("texture")
    for turn in range(POLISHES):
        groups = [[(photos[i], cameras[i]) for i in group] for group in polish_tasks(len(photos))]
        rim = more.get("pixel_rim", RIM)
        lacks = [polish_task(mesh, atlas, texture, group, turn, rim) for group in groups]
        mesh, texture, moved = polished_task(mesh, texture, lacks, field)
        more = {**more, **moved}
        tick("polish")
    return {"mesh": mesh, "atlas": atlas, "texture": texture, "facts": {**facts, **more, **shares}}
