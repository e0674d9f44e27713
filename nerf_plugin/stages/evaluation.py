"""Pictures: what the field and the textured mesh show where neither ever saw a photo, and both on a turntable; one map
task a picture, and one for the avatar's files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mapreduce import Context, Stage, StageResult
from nerf_plugin.stages.surface import follow, in_order, mesh_so_far, pixel_rim, view_of

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
        subject_box: Callable[[], np.ndarray | None]
        field: Callable[[Context], Field]
        subject: Callable[[Context], Field]
        files: Callable[[Context], dict[str, bytes]]
        leave_rounds: Callable[[Context], None]

    def plan_pictures(self, last: StageResult) -> Stage:
        """Every held-out view, and every frame of the turntable."""
        from nerf_plugin.report import chosen

        views = self.test_views()
        shown = chosen(len(views))
        splits: list[Any] = [("files", 0, None)]
        splits += [("view", index, (view, index in shown)) for index, view in enumerate(views)]
        splits += [("turn", frame, None) for frame in range(self.turntable)]
        return follow(last, "pictures", splits, self.picture, drop=("photos",), texture=last.outputs)

    def picture(self, split: tuple[str, int, Any], ctx: Context) -> Iterator[tuple[tuple[str, int], Any]]:
        """Map: one held-out photo beside the field's and the mesh's render of it, one frame of the turntable, or the
        files of the avatar."""
        self.leave_rounds(ctx)
        kind, index, given = split
        if kind == "files":
            yield (kind, index), {name: as_array(content) for name, content in self.files(ctx).items()}
            return
        made = ctx.cached("made", lambda: self.made(ctx), scope="stage")
        yield (kind, index), self.compare(*given, made, ctx) if kind == "view" else self.turn(index, made, ctx)

    def made(self, ctx: Context) -> tuple[Mesh, Atlas, np.ndarray]:
        """The textured mesh."""
        from nerf_plugin.avatar import atlas_of, mesh_of

        mesh = mesh_of(mesh_so_far(ctx))
        [atlas] = in_order(ctx.shared["atlas"])
        return mesh, atlas_of(atlas), dict(ctx.shared["texture"])["texture"]

    def compare(
        self, plain: dict[str, Any], shown: bool, made: tuple[Mesh, Atlas, np.ndarray], ctx: Context
    ) -> dict[str, Any]:
        """One held-out photo, over white as the literature has it, beside both renders, 8 bits each, with its figures
        and (where it is `shown`) its part of the report; the field's render is before its own surroundings where it has
        them. strip: PNG of all three.

        A mesh has no surroundings. Where the photo has no mask, the mesh's figures are of the `cut`: what the photo
        shows where the subject is for the field or for the mesh, over white; so are those of the field's subject."""
        from nerf_plugin.export.obj import png_bytes
        from nerf_plugin.report import measured
        from nerf_plugin.texture.render import render_mesh

        view = view_of(plain)
        photo = view.image().astype(np.float32) / 255
        photo = photo[..., :3] * photo[..., 3:] + 1 - photo[..., 3:]
        render = self.field(ctx).render(view.camera)
        mesh, atlas, texture = made
        picture, covered = render_mesh(mesh, view.camera, atlas, texture, WHITE, closed=True, rim=pixel_rim(ctx))
        cut = {}
        if self.subject_box() is not None:
            subject = self.subject(ctx).render(view.camera, WHITE)
            seen = (covered >= 0.5) | (subject.alpha >= 0.5)
            cut = {"cut": to_bytes(np.where(seen[..., None], photo, 1)), "subject": to_bytes(subject.rgb)}
        images = {name: to_bytes(x) for name, x in (("photo", photo), ("render", render.rgb), ("mesh", picture))}
        strip = as_array(png_bytes(np.concatenate(list(images.values()), axis=1)))
        return measured({"name": view.name} | images | cut, shown) | images | {"strip": strip}

    def turn(self, index: int, made: tuple[Mesh, Atlas, np.ndarray], ctx: Context) -> np.ndarray:
        """One frame: the textured mesh beside the field of the subject, seen from a circle around it."""
        from nerf_plugin.avatar import up_of
        from nerf_plugin.pictures import turntable_cameras, turntable_frame

        mesh, atlas, texture = made
        up = up_of([view_of(plain).camera for plain in self.train_views()])
        camera = turntable_cameras(mesh, up, self.turntable)[index]
        return turntable_frame(mesh, atlas, texture, self.subject(ctx), camera)


def as_array(content: bytes) -> np.ndarray:
    """(N,) uint8: a file's content, in the form that is mapped rather than copied."""
    return np.frombuffer(content, np.uint8)


def to_bytes(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) floats 0..1 as uint8."""
    return np.clip(np.rint(np.asarray(image) * 255), 0, 255).astype(np.uint8)
