"""The flagship job type: photos with known poses -> radiance field -> mesh, measured on photos it never saw.

    prepare -> (grid -> rows -> round ... round) for each level -> depth -> lattice -> blocks -> evaluation -> finish

Which stage follows is a function of the last committed one, so a run goes on from where it was whatever died. The same
photos, preset and seed give the same bytes of field and mesh on any engine with any number of workers.
"""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from mapreduce import BadInput, Context, History, Job, Outputs, Param, Stage, StageResult
from nerf_plugin.stages.evaluation import EvaluationStages
from nerf_plugin.stages.surface import SurfaceStages
from nerf_plugin.stages.training import TrainingStages

if TYPE_CHECKING:
    from nerf_plugin.datasets import Dataset
    from nerf_plugin.training import Settings


@dataclass
class Nerf(TrainingStages, SurfaceStages, EvaluationStages, Job):
    """Turn photos with known poses into a radiance field and a mesh.

    Writes field.daf, mesh.obj, mesh.ply, report.html, report.json and renders of the held-out photos into OUT.
    """

    dataset: Annotated[Path, Param(description="folder of the capture, or its transforms.json")]
    out: Annotated[Path, Param(description="folder for the results")] = Path("avatar")
    preset: Annotated[Literal["draft", "standard", "fine"], Param(description="time against quality")] = "standard"
    effort: Annotated[float, Param(gt=0, le=100, description="times the preset's rounds")] = 1.0
    faces: Annotated[int, Param(ge=4, le=10_000_000, description="most triangles of the mesh")] = 100_000
    mesh_resolution: Annotated[int, Param(ge=8, le=1024, description="cubes along the longest side")] = 256
    seed: Annotated[int, Param(ge=0, le=2**31 - 1, description="seed of all that is drawn")] = 0

    # ----------------------------------------------------------------------------------------------------- the input

    def check(self) -> None:
        """Read the capture's description, look at its files, and try the output folder, before anything runs."""
        if not self.capture.views:
            raise BadInput(f"{self.dataset}: the capture has no training photos")
        self.bounds()
        out = self.out.absolute()
        existing = next(folder for folder in (out, *out.parents) if folder.exists())
        if not existing.is_dir():
            raise BadInput(f"{existing} is a file; --out must name a folder")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise BadInput(f"{existing} cannot be written to; choose another --out")

    @cached_property
    def capture(self) -> Dataset:
        """The training photos."""
        from nerf_plugin.datasets import load

        return load(self.dataset, "train")

    @cached_property
    def settings(self) -> Settings:  # type: ignore[override]
        """What the preset, the effort and the seed mean."""
        from nerf_plugin.training import PRESETS

        return replace(PRESETS[self.preset].scaled(self.effort), seed=self.seed)

    def train_views(self) -> list[dict[str, Any]]:
        return [view.to_plain() for view in self.capture.views]

    def test_views(self) -> list[dict[str, Any]]:
        from nerf_plugin.datasets import load

        return [view.to_plain() for view in load(self.dataset, "test").views]

    def bounds(self) -> Any:
        bounds = self.capture.bounds
        if bounds is None:
            raise BadInput(
                f"{self.dataset}: nothing says where the subject is: the photos have no alpha and no masks, and there "
                "are no sparse points; add masks, or give the capture an aabb"
            )
        return bounds

    # ---------------------------------------------------------------------------------------------------- the stages

    def next_stage(self, history: History) -> Stage | None:
        last = history.last
        if last is None:
            return self.plan_prepare()
        return {
            "prepare": self.plan_grid,
            "grid": self.plan_rows,
            "rows": self.plan_round,
            "round": self._after_round,
            "depth": self.plan_lattice,
            "lattice": self.plan_blocks,
            "blocks": self.plan_evaluation,
            "evaluation": lambda last: None,
        }[last.state["phase"]](last)

    def _after_round(self, last: StageResult) -> Stage:
        then = self.training_over(last)
        if then == "round":
            return self.plan_round(last)
        return self.plan_grid(last) if then == "grid" else self.plan_depth(last)

    def finish(self, results: Outputs, ctx: Context) -> dict[str, Any]:
        """Write the artifacts; the value is what report.json says in short."""
        from nerf_plugin.export.obj import obj_bytes, png_bytes
        from nerf_plugin.export.ply import ply_bytes
        from nerf_plugin.mesh import Mesh
        from nerf_plugin.report import report_files

        made = dict(ctx.shared["mesh"])
        mesh = Mesh(made["mesh"]["vertices"], made["mesh"]["faces"], made["mesh"]["colors"])
        views = [view for _, view in results]
        curve = [(rays / 1e6, -10 * math.log10(error)) for rays, error in ctx.state["curve"] if error > 0]
        files, report = report_files(
            f"{self.dataset.resolve().name}, {self.preset}",
            views,
            curves={"training PSNR in dB, by million rays": curve},
            settings={k: v if isinstance(v, (int, float, str)) else str(v) for k, v in asdict(self).items()},
            surface=made["facts"],
        )
        files = {
            "field.daf": self.field(ctx).to_bytes(),
            "mesh.obj": obj_bytes(mesh),
            "mesh.ply": ply_bytes(mesh),
            **{f"renders/{Path(view['name']).name}.png": png_bytes(view["render"]) for view in views},
            **files,
        }
        for name, content in files.items():
            with ctx.artifact(self.out / name) as file:
                file.write(content)
        return report["summary"] | {"faces": len(mesh.faces), "watertight": bool(made["facts"]["manifold"])}
