"""Held-out views: render the field where it never saw a photo, one map task a view, and compare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mapreduce import Context, Stage, StageResult

if TYPE_CHECKING:
    from nerf_plugin.field import Field

BACKGROUND = 1.0
"""Photos and renders are compared over white, as the literature does."""


class EvaluationStages:
    """Plans and runs the measurement of what was made."""

    def test_views(self) -> list[dict[str, Any]]:
        raise TypeError("the job type must say where its held-out photos are")

    def field(self, ctx: Context) -> Field:
        raise TypeError("the job type must say where its field is")

    def plan_evaluation(self, last: StageResult) -> Stage:
        """Every held-out view."""
        shared = {"grid": last.shared["grid"], "rows": last.shared["rows"], "mesh": last.outputs}
        splits = list(enumerate(self.test_views()))
        state = last.state | {"phase": "evaluation"}
        return Stage(splits, "held-out views", map=self.compare, reduces=1, shared=shared, state=state)

    def compare(self, split: tuple[int, dict[str, Any]], ctx: Context) -> Iterator[tuple[int, Any]]:
        """Map: one held-out photo beside the field's render of it, 8 bits each, over white."""
        import numpy as np

        from nerf_plugin.datasets import View

        index, plain = split
        view = View.from_plain(plain)
        photo = view.image().astype(np.float32) / 255
        alpha = photo[..., 3:]
        photo = photo[..., :3] * alpha + BACKGROUND * (1 - alpha)
        render = self.field(ctx).render(view.camera, (BACKGROUND,) * 3)
        yield (
            index,
            {"name": view.name, "photo": to_bytes(photo), "render": to_bytes(render.rgb)},
        )


def to_bytes(image: Any) -> Any:
    """(H, W, 3) floats 0..1 as uint8."""
    import numpy as np

    return np.clip(np.rint(np.asarray(image) * 255), 0, 255).astype(np.uint8)
