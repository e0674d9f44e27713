"""The flagship job type: photos with known poses -> radiance field -> mesh, measured on photos it never saw.

    (poses ->) prepare -> (grid -> rows -> round ... round) for each level -> depth -> lattice -> surface -> outlines ->
    charts -> photos -> bake -> polish (three times) -> pictures -> finish

Which stage follows is a function of the last committed one, so a run goes on from where it was whatever died. The same
photos, preset and seed give the same bytes of field and mesh on any engine with any number of workers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from mapreduce import BadInput, Context, History, Job, Outputs, Param, Stage, StageResult, check_output
from nerf_plugin.options import AvatarOptions
from nerf_plugin.stages.evaluation import EvaluationStages
from nerf_plugin.stages.surface import KEPT, SurfaceStages, facts_so_far, in_order, mesh_so_far
from nerf_plugin.stages.training import TrainingStages

if TYPE_CHECKING:
    from nerf_plugin.avatar import AvatarSettings
    from nerf_plugin.datasets import Dataset
    from nerf_plugin.field import Field
    from nerf_plugin.training import Settings

LEAST_VIEWS = 3
MOST_PIXELS = 1_100_000
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
    "bake": (0.9, 0.93),
    "polish": (0.93, 0.95),
    "pictures": (0.95, 1.0),
}
"""Which part of a job's time each stage takes, measured with the standard preset; for progress bars only."""


@dataclass
class Nerf(TrainingStages, SurfaceStages, EvaluationStages, AvatarOptions, Job):
    """Turn photos into a radiance field and a textured 3D avatar.

    The camera poses of plain photos are found first (with the extra `poses`), and masks where the photos agree on them;
    both are kept beside them, in PHOTOS-posed.

    Writes into OUT: avatar.obj (.mtl, .png), avatar.glb, avatar.ply, avatar.json, viewer.html, field.daf, report.html,
    report.json, turntable.webp, contact-sheet.png, and renders of the held-out photos.
    """

    version: ClassVar[str] = "5"

    dataset: Annotated[Path, Param(description="folder of the capture, or its transforms.json")]
    out: Annotated[Path, Param(description="folder for the results")] = Path("avatar")
    time_budget: Annotated[
        str, Param(description="let training end in so much time (90, 60s, 5m); results then depend on the machine")
    ] = ""
    start: Annotated[Path | None, Param(description="a field.daf of this capture to go on training from")] = None

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
        if not any(view.image()[..., 3].any() for view in self.capture.views):  # mostly, the first one tells
            raise BadInput(
                f"{self.dataset}: all {count} photos are transparent everywhere, so there is nothing to learn; bring "
                "photos whose alpha is above 0 where the subject is, or photos without alpha"
            )
        self.bounds()
        seconds_of(self.time_budget)
        if self.start is not None:
            self.start_box()

    @property
    def unposed(self) -> bool:
        """Whether these are plain photos, whose poses are to be found."""
        from nerf_plugin.datasets import recognise

        return recognise(self.dataset) == "photos"

    @cached_property
    def capture(self) -> Dataset:
        """The training photos."""
        return self.sized("train")

    def sized(self, split: str) -> Dataset:
        """The photos of a split at the size that is worked with."""
        from nerf_plugin.datasets import load

        found = load(self.dataset, split)
        pixels = max((view.camera.width * view.camera.height for view in found.views), default=0)
        scale = self.scale or 0.5 ** max(0, math.ceil(math.log(max(1, pixels) / MOST_PIXELS, 4)))
        return found if scale == 1 else found.scaled(scale)

    @cached_property
    def settings(self) -> Settings:  # type: ignore[override]
        """What the preset, the effort, the seed, the photos and the field to start from mean."""
        from nerf_plugin.training import PRESETS, Settings

        settings = replace(PRESETS[self.preset].scaled(self.effort), seed=self.seed)
        settings = settings.shared_by(min(self.shards, len(self.capture.views)))
        settings = settings if self.capture.has_alpha else settings.without_masks()
        if self.harmonics != "auto" or self.start is not None:  # however much memory that takes
            settings = replace(settings, degree=self.degree, roomy=Settings.roomy)
        even = self.exposure == "on" or (self.exposure == "auto" and not self.capture.has_alpha)
        settings = replace(settings, exposure=even)
        return settings if self.start is None else settings.going_on(self.start_field.shift)

    @property
    def degree(self) -> int:
        """Of the harmonics: what is asked for, or that of the preset, and no less than the field to start from has."""
        from nerf_plugin.training import PRESETS

        if self.harmonics != "auto":
            return int(self.harmonics)
        return PRESETS[self.preset].degree if self.start is None else self.start_field.degree

    @cached_property
    def start_field(self) -> Field:
        """The field to start from, with harmonics of the degree that is asked for. Raises BadInput."""
        from nerf_plugin.field import Field, FieldError
        from nerf_plugin.training import PRESETS

        assert self.start is not None
        try:
            field = Field.load(self.start)
            least = max(field.degree, PRESETS[self.preset].degree)
            return field.of_degree(least if self.harmonics == "auto" else int(self.harmonics))
        except FileNotFoundError as error:
            raise BadInput(f"--start {self.start} does not exist; give the field.daf of an earlier run") from error
        except (OSError, FieldError) as error:
            raise BadInput(f"--start {self.start} cannot be used: {error}") from error

    @cached_property
    def budget(self) -> float:  # type: ignore[override]
        """Seconds that training may take; 0: as many as the preset needs."""
        return seconds_of(self.time_budget)

    @cached_property
    def avatar(self) -> AvatarSettings:  # type: ignore[override]
        """What the surface and its texture are asked to be."""
        from nerf_plugin.avatar import AvatarSettings

        return AvatarSettings(self.resolution, self.faces, self.texture)

    def train_views(self) -> list[dict[str, Any]]:
        return [view.to_plain() for view in self.capture.views]

    def test_views(self) -> list[dict[str, Any]]:
        return [view.to_plain() for view in self.sized("test").views]

    def bounds(self) -> Any:
        bounds = self.capture.bounds
        if bounds is None:
            raise BadInput(
                f"{self.dataset}: nothing says where the subject is: the photos have no alpha and no masks, and there "
                "are no sparse points; add masks, or give the capture an aabb"
            )
        return bounds

    def subject_box(self) -> Any:
        """(2, 3) world, or None where masks say what the subject is."""
        return self.capture.subject

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
            "bake": self.plan_polish,
            "polish": self._after_polish,
            "pictures": lambda last: None,
        }[last.state["phase"]](last)

    def _share(self, stage: Stage) -> tuple[float, float]:
        """Which part of the job a stage is, as measured once; for progress bars only."""
        if stage.state["phase"] in TRAINING:
            begin, end = TRAINED
            rounds = stage.state["round"], stage.state["round"] + (stage.state["phase"] == "round")
            at, until = (begin + (end - begin) * self.trained(number, stage.state) for number in rounds)
            return at, until
        begin, end = SHARES[stage.state["phase"]]
        if stage.state["phase"] == "polish":
            return self.polish_share(begin, end, stage.state["polished"])
        return begin, end

    def _after_round(self, last: StageResult) -> Stage:
        then = self.training_over(last)
        if then == "round":
            return self.plan_round(last)
        return self.plan_grid(last) if then == "grid" else self.plan_depth(last)

    def _after_polish(self, last: StageResult) -> Stage:
        return self.plan_polish(last) if self.after_polish(last) == "polish" else self.plan_pictures(last)

    def plan_poses(self) -> Stage:
        """Make a capture of plain photos."""
        return Stage([0], "camera poses", map=self.find_poses, reduces=1, state={"phase": "poses"})

    def find_poses(self, split: int, ctx: Context) -> Iterator[tuple[int, str]]:
        """Map: a capture beside the photos, unless it is there."""
        from nerf_plugin.datasets.plain import make_posed

        yield 0, str(make_posed(self.dataset, self.seed, lambda line: ctx.progress(0, 1, line)))

    def told(self) -> dict[str, Any]:
        """The parameters as the report and avatar.json name them."""
        given = {k: v for k, v in asdict(self).items() if k != "out" and v not in (None, "")}
        return {k: v if isinstance(v, (int, float, str)) else str(v) for k, v in given.items()}

    def files(self, ctx: Context) -> dict[str, bytes]:
        """The avatar's files, from the mesh and the texture so far."""
        from nerf_plugin.avatar import avatar_files, front_of, up_of

        cameras = [view.camera for view in self.capture.views]
        title = self.dataset.resolve().name
        [atlas] = in_order(ctx.shared["atlas"])
        return avatar_files(
            mesh_so_far(ctx),
            atlas,
            dict(ctx.shared["texture"])["texture"],
            settings=self.avatar,
            up=up_of(cameras),
            front=front_of(cameras),
            title=title,
            facts=facts_so_far(ctx),
            source=self.told() | {"dataset": title, "photos": len(cameras), "fingerprint": self.capture.fingerprint},
        )

    def finish(self, results: Outputs, ctx: Context) -> dict[str, Any]:
        """Write the artifacts; the value is what report.json says in short."""
        from nerf_plugin.pictures import contact_sheet, turntable_bytes
        from nerf_plugin.report import report_files

        facts = facts_so_far(ctx)
        pictures = dict(results)
        views = [pictures[key] for key in sorted(pictures) if key[0] == "view"]
        turns = [pictures[key] for key in sorted(pictures) if key[0] == "turn"]
        curve = [(rays / 1e6, -10 * math.log10(error)) for rays, error in ctx.state["curve"] if error > 0]
        curves = {"training PSNR in dB, by million rays": curve}
        title = self.dataset.resolve().name
        rounds = {"rounds": ctx.state["round"]} | self.traffic(ctx.state)
        report, summary = report_files(title, views, curves=curves, rounds=rounds, settings=self.told(), surface=facts)

        def write(name: str, pieces: Iterable[Any]) -> None:
            with ctx.artifact(self.out / name) as file:
                file.writelines(pieces)

        if turns:
            write("turntable.webp", [turntable_bytes(turns)])
        if views:
            write("contact-sheet.png", [contact_sheet(views)])
        write("field.daf", self.field(ctx).pieces())
        for view in views:
            write(f"renders/{Path(view['name']).name}.png", [view["strip"]])
        for name, content in (report | pictures["files", 0]).items():
            write(name, [content])
        (self.out / KEPT).unlink(missing_ok=True)
        made_of = {"faces": facts["faces"], "watertight": bool(facts["manifold"])}
        return summary["summary"] | made_of | self.traffic(ctx.state)


def seconds_of(text: str) -> float:
    """What "90", "60s", "5m" or "1h" means; 0 for "". Raises BadInput."""
    if not text:
        return 0.0
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h)?", text.strip())
    if found is None or not float(found[1]):
        raise BadInput(f"time_budget {text!r} is no time: write seconds (90, 60s), minutes (5m) or hours (1h)")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2] or "s"]
