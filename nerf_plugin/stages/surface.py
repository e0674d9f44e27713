"""The avatar as stages: from the trained field to a closed, textured mesh. What each step does is in
`nerf_plugin.avatar`.

    depth     map: one camera -> what it knows of the surface
    lattice   map: one task -> which bricks hold surface, and the blocks to extract
    surface   map: one block -> its triangles; reduce: all blocks -> one mesh within the face budget
    outlines  map: one photo -> where its mask wants the outline; reduce: the mesh, moved there
    charts    map: one chunk of faces -> its charts; reduce: all charts -> the atlas
    photos    map: one photo -> what it knows of the colours
    bake      map: one band of texels -> their colours; reduce: all bands -> the texture
    polish    map: a group of photos -> what the mesh's pictures lack; reduce: texture and surface with it (three times)

Everything that later stages need is handed on by reference: grid and rows of the field, mesh, atlas, texture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mapreduce import Context, Outputs, Stage, StageResult
from nerf_plugin.memory import let_go_of
from nerf_plugin.stages.rounds import outside_of

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from nerf_plugin.avatar import AvatarSettings
    from nerf_plugin.datasets import View
    from nerf_plugin.field import Field

PARTS = 16
"""Partitions of what is made a camera: they are read in parallel, and merged nowhere."""
KEPT = "trained.daf"
"""The field as it is kept from the end of training to the end of the job; so what comes between may fail."""


class SurfaceStages:
    """Plans and runs what turns a field into an avatar."""

    if TYPE_CHECKING:
        avatar: AvatarSettings
        train_views: Callable[[], list[dict[str, Any]]]
        subject_box: Callable[[], np.ndarray | None]
        field: Callable[[Context], Field]
        out: Path
        leave_rounds: Callable[[Context], None]
        note_round: Callable[[StageResult], dict[str, Any]]

    # ------------------------------------------------------------------------------------------------------- planning

    def plan_depth(self, last: StageResult) -> Stage:
        """Keep the field, and ask cameras that stand far apart."""
        from nerf_plugin.avatar import depth_tasks

        views = self.train_views()
        cameras = [view_of(v).camera for v in views]
        splits: list[Any] = [(-1, None)]
        splits += [(index, views[index]) for index in depth_tasks(cameras, self.avatar)]
        shared = {"grid": last.shared["grid"], "rows": last.outputs}
        state = self.note_round(last) | {"phase": "depth"}
        return Stage(splits, "depth", map=self.look, reduces=PARTS, shared=shared, state=state)

    def plan_lattice(self, last: StageResult) -> Stage:
        """Where the surface is."""
        return follow(last, "lattice", [0], self.lay_lattice, depth=last.outputs)

    def plan_surface(self, last: StageResult) -> Stage:
        """The surface, block by block."""
        [(_, (_, blocks))] = last.outputs
        return follow(last, "surface", blocks, self.extract, reduce=self.join, lattice=last.outputs)

    def plan_outlines(self, last: StageResult) -> Stage:
        """Ask the masks of photos that stand far apart."""
        from nerf_plugin.avatar import outline_tasks

        views = self.train_views()
        splits = [views[index] for index in outline_tasks([view_of(v).camera for v in views], self.avatar)]
        drop = ("depth", "lattice")
        return follow(last, "outlines", splits, self.look_at_outline, reduce=self.settle, drop=drop, mesh=last.outputs)

    def plan_charts(self, last: StageResult) -> Stage:
        """Flatten the surface, chunk by chunk."""
        chunks = range(len(dict(last.outputs)["chunks"]))
        return follow(last, "charts", chunks, self.chart, reduce=self.lay_atlas, mesh=last.outputs)

    def plan_photos(self, last: StageResult) -> Stage:
        """Ask every photo for colours."""
        views = list(enumerate(self.train_views()))
        return follow(last, "photos", views, self.look_up_colors, reduces=PARTS, atlas=last.outputs)

    def plan_bake(self, last: StageResult) -> Stage:
        """The texture, band by band."""
        from nerf_plugin.avatar import bake_tasks

        bands = bake_tasks(self.avatar)
        return follow(last, "bake", bands, self.bake, reduce=self.lay_texture, photos=last.outputs)

    def plan_polish(self, last: StageResult) -> Stage:
        """Hold the texture against the photos."""
        from nerf_plugin.avatar import polish_tasks

        views = self.train_views()
        groups = [[(index, views[index]) for index in group] for group in polish_tasks(len(views))]
        stage = follow(
            last, "polish", groups, self.send_back, reduce=self.polish, drop=("photos",), texture=last.outputs
        )
        stage.state["polished"] = last.state.get("polished", 0) + 1
        return stage

    def after_polish(self, last: StageResult) -> str:
        """The phase that comes next: polish, or pictures."""
        from nerf_plugin.avatar import POLISHES

        return "polish" if last.state["polished"] < POLISHES else "pictures"

    def polish_share(self, begin: float, end: float, number: int) -> tuple[float, float]:
        """The part of (begin, end) that polish `number`, from 1, takes."""
        from nerf_plugin.avatar import POLISHES

        width = (end - begin) / POLISHES
        return begin + (number - 1) * width, begin + number * width

    # -------------------------------------------------------------------------------------------------------- running

    def subject(self, ctx: Context) -> Field:
        """The part of the field that the surface is made of: where no masks tell the subject from its surroundings,
        what is in the capture's box of it."""
        box = self.subject_box()
        return self.field(ctx) if box is None else ctx.cached("subject", lambda: self.field(ctx).within(box))

    def look(self, split: tuple[int, dict[str, Any] | None], ctx: Context) -> Iterator[tuple[int, Any]]:
        """Map: what one camera knows of the surface; where there is no camera, the field's file."""
        from nerf_plugin.avatar import depth_task

        self.leave_rounds(ctx)
        index, plain = split
        if plain is not None:
            yield index, depth_task(self.subject(ctx), view_of(plain).camera, self.avatar)
            return
        with ctx.artifact(self.out / KEPT) as file:
            file.writelines(self.field(ctx).pieces())

    @contextmanager
    def field_kept(self) -> Iterator[None]:
        """A surface that cannot be made is told with the place where the field is."""
        from nerf_plugin.mesh import MeshError

        try:
            yield
        except MeshError as error:
            kept = self.out / KEPT
            raise MeshError(
                f"{error}\nThe trained field is kept: look at it (daf nerf render {kept}), or go on training from it "
                f"(--start {kept})."
            ) from error

    def lay_lattice(self, split: int, ctx: Context) -> Iterator[tuple[int, Any]]:
        """Map: the plan of the surface and its blocks."""
        from nerf_plugin.avatar import plan_task

        self.leave_rounds(ctx)
        with self.field_kept():
            planned = plan_task(in_order(ctx.shared["depth"]), self.avatar)
        yield 0, planned

    def extract(self, block: dict[str, Any], ctx: Context) -> Iterator[tuple[int, Any]]:
        """Map: the triangles of one block."""
        from nerf_plugin.avatar import block_task

        self.leave_rounds(ctx)
        views = ctx.cached("depth", lambda: in_order(ctx.shared["depth"]), scope="stage")
        plan, _ = ctx.cached("plan", lambda: in_order(ctx.shared["lattice"])[0], scope="stage")
        yield 0, block_task(views, plan, block)

    def join(self, key: int, parts: Iterable[Any], ctx: Context) -> Iterator[tuple[str, Any]]:
        """Reduce: one mesh from all blocks, in block order."""
        from nerf_plugin.avatar import surface_task

        self.leave_rounds(ctx)
        with self.field_kept():
            mesh, chunks, facts = surface_task(list(parts), self.field(ctx), self.avatar)
        yield "mesh", mesh
        yield "chunks", chunks
        yield "facts", facts

    def look_at_outline(self, plain: dict[str, Any], ctx: Context) -> Iterator[tuple[int, Any]]:
        """Map: where one photo's mask wants the outline."""
        from nerf_plugin.avatar import outline_task

        self.leave_rounds(ctx)
        view = view_of(plain)
        mesh = ctx.cached("mesh", lambda: dict(ctx.shared["mesh"])["mesh"], scope="stage")
        yield 0, outline_task(mesh, view.image(), view.camera, self.field(ctx))

    def settle(self, key: int, parts: Iterable[Any], ctx: Context) -> Iterator[tuple[str, Any]]:
        """Reduce: the mesh moved to the outlines, in the order of the photos."""
        from nerf_plugin.avatar import settle_task

        self.leave_rounds(ctx)
        made = dict(ctx.shared["mesh"])
        mesh, facts = settle_task(made["mesh"], list(parts), self.field(ctx))
        yield "mesh", mesh
        yield "chunks", made["chunks"]
        yield "facts", {**made["facts"], **facts}

    def chart(self, chunk: int, ctx: Context) -> Iterator[tuple[int, Any]]:
        """Map: the charts of one chunk of faces."""
        from nerf_plugin.avatar import chart_task

        self.leave_rounds(ctx)
        made = ctx.cached("mesh", lambda: dict(ctx.shared["mesh"]), scope="stage")
        yield 0, chart_task(made["mesh"], made["chunks"][chunk])

    def lay_atlas(self, key: int, parts: Iterable[Any], ctx: Context) -> Iterator[tuple[int, Any]]:
        """Reduce: all charts on one square."""
        from nerf_plugin.avatar import atlas_task

        self.leave_rounds(ctx)
        with self.field_kept():
            atlas = atlas_task(dict(ctx.shared["mesh"])["mesh"], list(parts), self.avatar)
        yield 0, atlas

    def look_up_colors(self, split: tuple[int, dict[str, Any]], ctx: Context) -> Iterator[tuple[int, Any]]:
        """Map: what one photo knows of the colours."""
        from nerf_plugin.avatar import photo_task

        self.leave_rounds(ctx)
        index, plain = split
        view = view_of(plain)
        mesh = ctx.cached("mesh", lambda: dict(ctx.shared["mesh"])["mesh"], scope="stage")
        yield index, photo_task(even_photo(ctx, index, view), view.camera, mesh)

    def bake(self, band: dict[str, int], ctx: Context) -> Iterator[tuple[int, Any]]:
        """Map: the colours of one band of texels."""
        from nerf_plugin.avatar import bake_task

        self.leave_rounds(ctx)
        mesh = ctx.cached("mesh", lambda: dict(ctx.shared["mesh"])["mesh"], scope="stage")
        [atlas] = ctx.cached("atlas", lambda: in_order(ctx.shared["atlas"]), scope="stage")
        photos = ctx.cached("photos", lambda: unread(ctx.shared["photos"]), scope="stage")
        yield 0, bake_task(mesh, atlas, photos, band, self.field(ctx))

    def lay_texture(self, key: int, parts: Iterable[Any], ctx: Context) -> Iterator[tuple[str, Any]]:
        """Reduce: all bands, one texture."""
        from nerf_plugin.avatar import texture_task

        self.leave_rounds(ctx)
        texture, shares = texture_task(list(parts), self.avatar)
        yield "texture", texture
        yield "shares", shares

    def send_back(self, group: list[tuple[int, dict[str, Any]]], ctx: Context) -> Iterator[tuple[int, Any]]:
        """Map: what pictures of the mesh lack of some photos."""
        from nerf_plugin.avatar import polish_task

        self.leave_rounds(ctx)
        mesh = ctx.cached("mesh", lambda: mesh_so_far(ctx), scope="stage")
        [atlas] = ctx.cached("atlas", lambda: in_order(ctx.shared["atlas"]), scope="stage")
        texture = dict(ctx.shared["texture"])["texture"]
        photos = ((even_photo(ctx, index, view), view.camera) for index, view in views_of(group))
        yield 0, polish_task(mesh, atlas, texture, photos, ctx.state["polished"] - 1, pixel_rim(ctx))

    def polish(self, key: int, parts: Iterable[Any], ctx: Context) -> Iterator[tuple[str, Any]]:
        """Reduce: texture and surface with what was lacking."""
        from nerf_plugin.avatar import polished_task

        self.leave_rounds(ctx)
        made, lacks = dict(ctx.shared["texture"]), list(parts)
        let_go_of(lacks)  # they were read to be checked
        mesh, texture, facts = polished_task(mesh_so_far(ctx), made["texture"], lacks, self.field(ctx))
        yield "texture", texture
        yield "shares", made["shares"]
        yield "mesh", mesh
        yield "facts", facts


def mesh_so_far(ctx: Context) -> dict[str, Any]:
    """The mesh as the last stage that moved it left it."""
    polished = dict(ctx.shared["texture"]) if "texture" in ctx.shared else {}
    return polished["mesh"] if "mesh" in polished else dict(ctx.shared["mesh"])["mesh"]  # type: ignore[no-any-return]


def pixel_rim(ctx: Context) -> float:
    """How far beyond its square a pixel of the photos sees, as far as it was measured."""
    from nerf_plugin.texture.render import RIM

    facts = dict(ctx.shared["texture"]).get("facts", {})
    return float(facts.get("pixel_rim", RIM))


def facts_so_far(ctx: Context) -> dict[str, Any]:
    """What there is to say of surface and texture."""
    baked = dict(ctx.shared["texture"])
    return dict(ctx.shared["mesh"])["facts"] | baked["shares"] | baked.get("facts", {})  # type: ignore[no-any-return]


def views_of(group: list[tuple[int, dict[str, Any]]]) -> Iterator[tuple[int, View]]:
    """Numbered photos with their cameras, from plain data."""
    for index, plain in group:
        yield index, view_of(plain)


def follow(
    last: StageResult,
    name: str,
    splits: Any,
    map: Callable[..., Any],
    *,
    reduce: Any = "reduce",
    reduces: int = 1,
    drop: tuple[str, ...] = (),
    **shared: Any,
) -> Stage:
    """A stage that is given all that the last one was given, but for `drop`, and `shared` besides."""
    handed = {key: last.shared[key] for key in last.shared if key not in drop}
    state = last.state | {"phase": name}
    return Stage(splits, name, map=map, reduce=reduce, reduces=reduces, shared=handed | shared, state=state)


def in_order(outputs: Outputs) -> list[Any]:
    """The values of some outputs by ascending key."""
    found = dict(outputs)
    return [found[key] for key in sorted(found)]


def unread(outputs: Outputs) -> list[Any]:
    """The values of some outputs by ascending key; of what they map, little is resident until it is read."""
    found = {}
    for part in range(outputs.partitions):
        read = dict(outputs.partition(part))
        let_go_of(read)
        found |= read
    return [found[key] for key in sorted(found)]


def even_photo(ctx: Context, index: int, view: View) -> np.ndarray:
    """(H, W, 4) uint8: photo `index` as it would be with the exposure of the field."""
    import numpy as np

    image, outside = view.image(), ctx.cached("outside", lambda: outside_of(ctx, "rows"), scope="stage")
    if outside is not None:
        image[..., :3] = np.rint(image[..., :3] / outside["gains"][index]).clip(0, 255)
    return image


def view_of(plain: dict[str, Any]) -> View:
    """A photo with its camera, from plain data."""
    from nerf_plugin.datasets import View

    return View.from_plain(plain)
