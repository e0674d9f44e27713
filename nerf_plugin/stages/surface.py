"""The mesh as stages: look at the field from every camera, decide where its surface is, extract it block by block.

depth     map: one camera -> what depth it sees        (partitions of cameras)
lattice   map: one task -> which bricks hold surface
blocks    map: one block -> its triangles; reduce: all blocks -> one closed, clean, coloured mesh
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from mapreduce import BadInput, Context, Stage, StageResult

if TYPE_CHECKING:
    from nerf_plugin.field import Field

PARTS = 4


class SurfaceStages:
    """Plans and runs what turns a field into a mesh."""

    if TYPE_CHECKING:
        mesh_resolution: int
        faces: int

    def train_views(self) -> list[dict[str, Any]]:
        raise TypeError("the job type must say where its photos are")

    def field(self, ctx: Context) -> Field:
        raise TypeError("the job type must say where its field is")

    def note_round(self, last: StageResult) -> dict[str, Any]:
        raise TypeError("the job type must keep count of its rounds")

    # ------------------------------------------------------------------------------------------------------- planning

    def plan_depth(self, last: StageResult) -> Stage:
        """Depth from every training camera."""
        shared = {"grid": last.shared["grid"], "rows": last.outputs}
        splits = list(enumerate(self.train_views()))
        state = self.note_round(last) | {"phase": "depth"}
        return Stage(splits, "depth", map=self.look, reduces=PARTS, shared=shared, state=state)

    def plan_lattice(self, last: StageResult) -> Stage:
        """Where the surface is."""
        shared = {"grid": last.shared["grid"], "rows": last.shared["rows"], "depth": last.outputs}
        state = last.state | {"phase": "lattice"}
        return Stage([0], "lattice", map=self.lay_lattice, reduces=1, shared=shared, state=state)

    def plan_blocks(self, last: StageResult) -> Stage:
        """The surface, block by block."""
        from nerf_plugin.mesh.fusion import plan_blocks

        [(_, lattice)] = last.outputs
        shared = {name: last.shared[name] for name in ("grid", "rows", "depth")} | {"lattice": last.outputs}
        return Stage(
            plan_blocks(lattice),
            "surface",
            map=self.extract,
            reduce=self.join,
            reduces=1,
            shared=shared,
            state=last.state | {"phase": "blocks"},
        )

    # -------------------------------------------------------------------------------------------------------- running

    def look(self, split: tuple[int, dict[str, Any]], ctx: Context) -> Iterator[tuple[int, Any]]:
        """Map: the depth that one camera sees."""
        from nerf_plugin.datasets import View
        from nerf_plugin.mesh.fusion import depth_view

        index, plain = split
        camera = View.from_plain(plain).camera
        yield index, depth_view(self.field(ctx).render(camera).depth, camera)

    def lay_lattice(self, split: int, ctx: Context) -> Iterator[tuple[int, Any]]:
        """Map: the bricks that hold surface."""
        from nerf_plugin.mesh import MeshError
        from nerf_plugin.mesh.fusion import plan_lattice

        try:
            yield 0, plan_lattice(self.depth_views(ctx), self.mesh_resolution)
        except MeshError as error:
            raise BadInput(str(error)) from error

    def extract(self, block: dict[str, Any], ctx: Context) -> Iterator[tuple[int, Any]]:
        """Map: the triangles of one block."""
        from nerf_plugin.mesh.fusion import fuse_block

        lattice = ctx.cached("lattice", lambda: next(iter(ctx.shared["lattice"]))[1], scope="stage")
        views = ctx.cached("depth views", lambda: self.depth_views(ctx), scope="stage")
        yield 0, fuse_block(views, lattice, block)

    def join(self, key: int, parts: Iterable[Any], ctx: Context) -> Iterator[tuple[str, Any]]:
        """Reduce: one mesh from all blocks, in block order; closed, one piece, smoothed, within the face budget."""
        from nerf_plugin.mesh import MeshError, color_vertices, decimate, keep_components, merge, require_solid, taubin

        try:
            mesh = taubin(keep_components(merge(list(parts))))
            if len(mesh.faces) > self.faces:
                mesh = decimate(mesh, self.faces)
            mesh = color_vertices(self.field(ctx), mesh)
            facts = require_solid(mesh)
        except MeshError as error:
            raise BadInput(str(error)) from error
        yield "mesh", {"vertices": mesh.vertices, "faces": mesh.faces, "colors": mesh.colors}
        yield "facts", facts | mesh.info

    def depth_views(self, ctx: Context) -> list[Any]:
        """What all cameras saw, in the order of the photos."""
        views = dict(ctx.shared["depth"])
        return [views[index] for index in sorted(views)]
