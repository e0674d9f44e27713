"""Held-out views: what the field and the textured mesh show where neither ever saw a photo; one map task a view."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mapreduce import Context, Stage, StageResult
from nerf_plugin.stages.surface import follow, in_order, view_of

if TYPE_CHECKING:
    from nerf_plugin.field import Field

WHITE = (1.0, 1.0, 1.0)
"""Photos and renders are compared over white, as the literature does."""


class EvaluationStages:
    """Plans and runs the measurement of what was made."""

    if TYPE_CHECKING:
        test_views: Callable[[], list[dict[str, Any]]]
        field: Callable[[Context], Field]

    def plan_evaluation(self, last: StageResult) -> Stage:
        """Every held-out view."""
        views = list(enumerate(self.test_views()))
        return follow(last, "held-out views", views, self.compare, drop=("photos",), texture=last.outputs)

    def compare(self, split: tuple[int, dict[str, Any]], ctx: Context) -> Iterator[tuple[int, Any]]:
        """Map: one held-out photo beside the field's and the mesh's render of it, 8 bits each."""
        from nerf_plugin.avatar import atlas_of, mesh_of
        from nerf_plugin.texture.render import render_mesh

        index, plain = split
        view = view_of(plain)
        photo = view.image().astype(np.float32) / 255
        photo = photo[..., :3] * photo[..., 3:] + 1 - photo[..., 3:]
        render = self.field(ctx).render(view.camera, WHITE)
        mesh = mesh_of(dict(ctx.shared["mesh"])["mesh"])
        atlas = atlas_of(in_order(ctx.shared["atlas"])[0])
        shown, _ = render_mesh(mesh, view.camera, atlas, dict(ctx.shared["texture"])["texture"], WHITE)
        images = {"photo": photo, "render": render.rgb, "mesh": shown}
        yield index, {"name": view.name} | {name: to_bytes(image) for name, image in images.items()}


def to_bytes(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) floats 0..1 as uint8."""
    return np.clip(np.rint(np.asarray(image) * 255), 0, 255).astype(np.uint8)
