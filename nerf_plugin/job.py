"""The flagship job type: photos with known poses -> radiance field -> mesh, measured on photos it never saw.

    (poses ->) prepare -> (grid -> rows -> round ... round) for each level -> depth -> lattice -> surface -> outlines ->
    charts -> photos -> bake -> pictures -> finish

Which stage follows is a function of the last committed one, so a run goes on from where it was whatever died. The same
photos, preset and seed give the same bytes of field and mesh on any engine with any number of workers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from mapreduce import BadInput, Context, History, Job, Outputs, Param, Stage, StageResult, check_output
from nerf_plugin.stages.evaluation import EvaluationStages
from nerf_plugin.stages.surface import SurfaceStages, in_order
from nerf_plugin.stages.training import TrainingStages

if TYPE_CHECKING:
    from nerf_plugin.avatar import AvatarSettings
    from nerf_plugin.datasets import Dataset
    from nerf_plugin.training import Settings

LEAST_VIEWS = 3
TRAINING = ("grid", "rows", "round")
TRAINED = (0.02, 0.6)
SHARES = {
    "poses": (0.0, 0.0),
    "prepare": (0.0, 0.02),
    "depth": (0.6, 0.7),
    "lattice": (0.7, 0.72),
    "surface": (0.72, 0.78),
    "outlines": (0.78, 0.8),
    "charts": (0.8, 0.86),
    "photos": (0.86, 0.9),
    "bake": (0.9, 0.95),
    "pictures": (0.95, 1.0),
}
"""Which part of a job's time each stage takes, measured with the standard preset; for progress bars only."""


@dataclass
class Nerf(TrainingStages, SurfaceStages, EvaluationStages, Job):
    """Turn photos into a radiance field and a textured 3D avatar.

    The camera poses of plain photos are found first (with the extra `poses`) and kept beside them, in PHOTOS-posed.

    Writes into OUT: avatar.obj (.mtl, .png), avatar.glb, avatar.ply, avatar.json, viewer.html, field.daf, report.html,
    report.json, turntable.webp, contact-sheet.png, and renders of the held-out photos.
    """

    dataset: Annotated[Path, Param(description="folder of the capture, or its transforms.json")]
    out: Annotated[Path, Param(description="folder for the results")] = Path("avatar")
    preset: Annotated[Literal["draft", "standard", "fine"], Param(description="time against quality")] = "standard"
    effort: Annotated[float, Param(gt=0, le=100, description="times the preset's rounds")] = 1.0
    faces: Annotated[int, Param(ge=100, le=10_000_000, description="most triangles of the mesh")] = 100_000
    texture: Annotated[int, Param(ge=64, le=8192, description="texels along a side of the texture")] = 1024
    resolution: Annotated[int, Param(ge=16, le=1024, description="cubes along the longest side of the surface")] = 256
    turntable: Annotated[int, Param(ge=0, le=720, description="frames of the turntable; 0: none")] = 36
    seed: Annotated[int, Param(ge=0, le=2**31 - 1, description="seed of all that is drawn")] = 0

    # ----------------------------------------------------------------------------------------------------- the input

    def check(self) -> None:
        """Read the capture's description, look at its files, and try the output folder, before anything runs."""
        from nerf_plugin.datasets import plain

        if self.unposed and not plain.place_of(self.dataset).exists():
            plain.check_photos(self.dataset)
        else:
            self.check_capture()
        out = self.out.absolute()
        existing = next(folder for folder in (out, *out.parents) if folder.exists())
        if not existing.is_dir():
            raise BadInput(f"{existing} is a file; --out must name a folder")
        check_output(out / "avatar.json")

    def check_capture(self) -> None:
        """What a surface cannot be found without. Raises BadInput."""
        count = len(self.capture.views)
        if count < LEAST_VIEWS:
            raise BadInput(
                f"{self.dataset}: the capture has {count or 'no'} training photo{'' if count == 1 else 's'}; a surface "
                f"needs at least {LEAST_VIEWS}, and a good one 40 to 100 from all around"
            )
        self.bounds()

    @property
    def unposed(self) -> bool:
        """Whether these are plain photos, whose poses are to be found."""
        from nerf_plugin.datasets import recognise

        return recognise(self.dataset) == "photos"

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

    @cached_property
    def avatar(self) -> AvatarSettings:  # type: ignore[override]
        """What the surface and its texture are asked to be."""
        from nerf_plugin.avatar import AvatarSettings

        return AvatarSettings(self.resolution, self.faces, self.texture)

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
            stage: Stage | None = self.plan_poses() if self.unposed else self.plan_prepare()
        else:
            stage = self._follow(last)
        return None if stage is None else replace(stage, share=self._share(stage))

    def _follow(self, last: StageResult) -> Stage | None:
        return {
            "poses": lambda last: self.plan_prepare(),
            "prepare": self.plan_grid,
            "grid": self.plan_rows,
            "rows": self.plan_round,
            "round": self._after_round,
            "depth": self.plan_lattice,
            "lattice": self.plan_surface,
            "surface": self.plan_outlines,
            "outlines": self.plan_charts,
            "charts": self.plan_photos,
            "photos": self.plan_bake,
            "bake": self.plan_pictures,
            "pictures": lambda last: None,
        }[last.state["phase"]](last)

    def _share(self, stage: Stage) -> tuple[float, float]:
        """Which part of the job a stage is, as measured once; for progress bars only."""
        if stage.state["phase"] in TRAINING:
            begin, end = TRAINED
            rounds = stage.state["round"], stage.state["round"] + (stage.state["phase"] == "round")
            at, until = (begin + (end - begin) * self.trained(number) for number in rounds)
            return at, until
        return SHARES[stage.state["phase"]]

    def _after_round(self, last: StageResult) -> Stage:
        then = self.training_over(last)
        if then == "round":
            return self.plan_round(last)
        return self.plan_grid(last) if then == "grid" else self.plan_depth(last)

    def plan_poses(self) -> Stage:
        """Make a capture of plain photos."""
        return Stage([0], "camera poses", map=self.find_poses, reduces=1, state={"phase": "poses"})

    def find_poses(self, split: int, ctx: Context) -> Iterator[tuple[int, str]]:
        """Map: a capture beside the photos, unless it is there."""
        from nerf_plugin.datasets.plain import make_posed

        yield 0, str(make_posed(self.dataset, self.seed, lambda line: ctx.progress(0, 1, line)))

    def finish(self, results: Outputs, ctx: Context) -> dict[str, Any]:
        """Write the artifacts; the value is what report.json says in short."""
        from nerf_plugin.avatar import avatar_files, front_of, up_of
        from nerf_plugin.export.obj import png_bytes
        from nerf_plugin.pictures import contact_sheet, turntable_bytes
        from nerf_plugin.report import report_files

        made, baked = dict(ctx.shared["mesh"]), dict(ctx.shared["texture"])
        [atlas] = in_order(ctx.shared["atlas"])
        facts = made["facts"] | baked["shares"]
        pictures = dict(results)
        views = [pictures[key] for key in sorted(pictures) if key[0] == "view"]
        turns = [pictures[key] for key in sorted(pictures) if key[0] == "turn"]
        title = self.dataset.resolve().name
        chosen = {k: v if isinstance(v, (int, float, str)) else str(v) for k, v in asdict(self).items() if k != "out"}
        curve = [(rays / 1e6, -10 * math.log10(error)) for rays, error in ctx.state["curve"] if error > 0]
        curves = {"training PSNR in dB, by million rays": curve}
        report, summary = report_files(title, views, curves=curves, settings=chosen, surface=facts)
        cameras = [view.camera for view in self.capture.views]
        sights = {"turntable.webp": turntable_bytes(turns)} if turns else {}
        if views:
            sights["contact-sheet.png"] = contact_sheet(views)
        files = {
            **sights,
            "field.daf": self.field(ctx).to_bytes(),
            **{f"renders/{Path(view['name']).name}.png": png_bytes(side_by_side(view)) for view in views},
            **report,
            **avatar_files(
                made["mesh"],
                atlas,
                baked["texture"],
                settings=self.avatar,
                up=up_of(cameras),
                front=front_of(cameras),
                title=title,
                facts=facts,
                source={"dataset": title, "photos": len(cameras)} | chosen,
            ),
        }
        for name, content in files.items():
            with ctx.artifact(self.out / name) as file:
                file.write(content)
        return summary["summary"] | {"faces": len(made["mesh"]["faces"]), "watertight": bool(facts["manifold"])}


def side_by_side(view: dict[str, Any]) -> np.ndarray:
    """Photo | field | mesh."""
    return np.concatenate([view["photo"], view["render"], view["mesh"]], axis=1)
