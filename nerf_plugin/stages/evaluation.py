"""Pictures: what the field and the textured mesh show where neither ever saw a photo, and both on a turntable; one map
task a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mapreduce import Context, Stage, StageResult
from nerf_plugin.stages.surface import follow, in_order, view_of

if TYPE_CHECKING:
    from nerf_plugin.avatar import AvatarSettings
    from nerf_plugin.field import Field
    from nerf_plugin.mesh import Mesh
    from nerf_plugin.texture import Atlas

WHITE = (1.0, 1.0, 1.0)
"""Photos and renders are compared over white."""


class EvaluationStages:
    """Plans and runs the pictures of what was made, and its measurement."""

    if TYPE_CHECKING:
        turntable: int
        avatar: AvatarSettings
        train_views: Callable[[], list[dict[str, Any]]]
        test_views: Callable[[], list[dict[str, Any]]]
        field: Callable[[Context], Field]
        leave_rounds: Callable[[Context], None]

    def plan_pictures(self, last: StageResult) -> Stage:
        """Every held-out view, and every frame of the turntable."""
        splits = [("view", *split) for split in enumerate(self.test_views())]
        splits += [("turn", frame, None) for frame in range(self.turntable)]
        return follow(last, "pictures", splits, self.picture, drop=("photos",), texture=last.outputs)

    def picture(self, split: tuple[str, int, Any], ctx: Context) -> Iterator[tuple[tuple[str, int], Any]]:
        """Map: one held-out photo beside the field's and the mesh's render of it, or one frame of the turntable; 8 bits
        each."""
        self.leave_rounds(ctx)
        kind, index, plain = split
        made = ctx.cached("made", lambda: self.made(ctx), scope="stage")
        yield (kind, index), self.compare(plain, made, ctx) if kind == "view" else self.turn(index, made, ctx)

    def made(self, ctx: Context) -> tuple[Mesh, Atlas, np.ndarray]:
        """The textured mesh."""
        from nerf_plugin.avatar import atlas_of, mesh_of

        mesh = mesh_of(dict(ctx.shared["mesh"])["mesh"])
        [atlas] = in_order(ctx.shared["atlas"])
        return mesh, atlas_of(atlas), dict(ctx.shared["texture"])["texture"]

    def compare(self, plain: dict[str, Any], made: tuple[Mesh, Atlas, np.ndarray], ctx: Context) -> dict[str, Any]:
        """One held-out photo, over white as the literature has it, beside both renders; the field's before its own
        surroundings where it has them."""
        from nerf_plugin.texture.render import render_mesh

        view = view_of(plain)
        photo = view.image().astype(np.float32) / 255
        photo = photo[..., :3] * photo[..., 3:] + 1 - photo[..., 3:]
        render = self.field(ctx).render(view.camera)
        mesh, atlas, texture = made
        shown, _ = render_mesh(mesh, view.camera, atlas, texture, WHITE)
        images = {"photo": photo, "render": render.rgb, "mesh": shown}
        return {"name": view.name} | {name: to_bytes(image) for name, image in images.items()}

    def turn(self, index: int, made: tuple[Mesh, Atlas, np.ndarray], ctx: Context) -> np.ndarray:
        """One frame: the textured mesh beside the field, seen from a circle around it."""
        from nerf_plugin.avatar import up_of
        from nerf_plugin.pictures import turntable_cameras, turntable_frame

        mesh, atlas, texture = made
        up = up_of([view_of(plain).camera for plain in self.train_views()])
        camera = turntable_cameras(mesh, up, self.turntable)[index]
        return turntable_frame(mesh, atlas, texture, self.field(ctx), camera)


def to_bytes(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) floats 0..1 as uint8."""
    return np.clip(np.rint(np.asarray(image) * 255), 0, 255).astype(np.uint8)
