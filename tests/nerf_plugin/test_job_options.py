"""What the options of the nerf job change: size of photos, photos without masks, a budget of time, a field to go on
from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mapreduce import BadInput, BadParameters, run
from nerf_plugin.datasets import load
from nerf_plugin.field import Field
from nerf_plugin.job import Nerf, seconds_of
from nerf_plugin.stages.training import TrainingStages
from nerf_plugin.training.local import train
from nerf_plugin.training.settings import PRESETS, Level, Settings
from tests.nerf_plugin.captures import ball, opaque

SMALL: dict[str, Any] = {"preset": "draft", "effort": 0.12, "resolution": 32, "faces": 500, "texture": 64}
QUICK = SMALL | {"turntable": 0}


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ball(tmp_path_factory.mktemp("ball"), size=64, views=16)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ball(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def first(capture: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run(Nerf(capture, tmp_path_factory.mktemp("first") / "out", **QUICK), engine="inline")


def field_of(result: Any) -> Path:
    return next(a.path for a in result.artifacts if a.path.name == "field.daf")


def digest(result: Any) -> str:
    return hashlib.sha256(field_of(result).read_bytes()).hexdigest()


def test_large_photos_are_halved_until_they_are_not(tmp_path: Path) -> None:
    folder = ball(tmp_path / "ball", views=3, test_views=1)
    for photo in folder.glob("*/*.png"):
        Image.open(photo).resize((2400, 2400)).save(photo, compress_level=1)
    job = Nerf(folder, tmp_path / "out")
    assert {view.camera.width for view in job.capture.views} == {600}
    assert [view["camera"]["width"] for view in job.test_views()] == [600]
    assert Nerf(folder, tmp_path / "out", scale=0.1).capture.views[0].camera.width == 240
    assert Nerf(folder, tmp_path / "out", scale=1).capture.views[0].camera.width == 2400


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_reduced_photo_shows_what_the_whole_one_shows(tmp_path: Path, suffix: str) -> None:
    folder = opaque(tmp_path / "ball", size=200)
    path = folder / "train" / f"000.{suffix}"
    Image.open(folder / "train" / "000.png").save(path, quality=95)
    view = load(folder).views[0]
    lens = replace(view.camera, distortion=(0.08, -0.02, 1e-3, -1e-3))
    view = replace(view, path=path, lens=lens, camera=lens.pinhole())
    whole, half = view.image(), view.scaled(0.5).image()
    box = whole.reshape(100, 2, 100, 2, 4).astype(float).mean((1, 3))
    assert half.shape == (100, 100, 4)
    assert np.abs(half - box).mean() < 2.0


def test_photos_without_masks_go_through_all_stages_at_lower_rates(tmp_path: Path) -> None:
    job = Nerf(opaque(tmp_path / "ball"), tmp_path / "out", **QUICK)
    assert job.settings.rate_sigma < Nerf(ball(tmp_path / "masked"), tmp_path / "out", **QUICK).settings.rate_sigma
    result = run(job, engine="inline")
    assert result.value["psnr"] > 15 and len(result.value) > 3  # without shells: 8.4 dB; with clear surroundings: 18
    assert Field.load(field_of(result)).shells is not None
    told = json.loads((tmp_path / "out/avatar.json").read_text())["coordinates"]["bounds"]
    box, edge = job.subject_box(), Field.load(field_of(result)).voxel
    assert (np.array(told[0]) > box[0] - edge).all() and (np.array(told[1]) < box[1] + edge).all()
    again = run(replace(job, out=tmp_path / "again"), engine="local", workers=3)
    assert digest(again) == digest(result)


def test_a_round_is_shared_by_as_many_tasks_as_asked_for(
    capture: Path, first: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five shards of sixteen photos are uneven; of more shards than photos each has one."""
    planned: list[int] = []
    plan_round = TrainingStages.plan_round

    def noted(job: Any, last: Any) -> Any:
        stage = plan_round(job, last)
        planned.append(len(list(stage.splits)))
        return stage

    monkeypatch.setattr(TrainingStages, "plan_round", noted)
    job = Nerf(capture, tmp_path / "five", shards=5, **QUICK)
    result = run(job, engine="inline")
    assert set(planned) == {5}
    assert result.value["psnr"] == pytest.approx(first.value["psnr"], abs=1.0)
    again = run(replace(job, out=tmp_path / "again"), engine="local", workers=3)
    assert digest(again) == digest(result)
    planned.clear()
    run(Nerf(capture, tmp_path / "many", shards=100, **QUICK), engine="inline")
    assert set(planned) == {16}


def test_exposure_is_evened_out_where_photos_have_no_masks_or_when_asked(small: Path, tmp_path: Path) -> None:
    photos = opaque(tmp_path / "ball")
    asked = {"auto": (True, False), "on": (True, True), "off": (False, False)}
    for exposure, expected in asked.items():
        jobs = [Nerf(folder, tmp_path / "out", exposure=exposure) for folder in (photos, small)]  # type: ignore[arg-type]
        assert tuple(job.settings.exposure for job in jobs) == expected


@pytest.mark.parametrize(("text", "seconds"), [("", 0), ("90", 90), ("60s", 60), ("1.5m", 90), ("1h", 3600)])
def test_a_time_in_words(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["soon", "0", "-3s", "5 weeks", "s"])
def test_no_time_is_refused_before_anything_runs(small: Path, tmp_path: Path, text: str) -> None:
    with pytest.raises((BadInput, BadParameters), match="time_budget"):
        run(Nerf(small, tmp_path / "out", time_budget=text), engine="inline")


class Clock:
    """Tells a time that passes by so many seconds whenever it is read: each stage of training takes one reading."""

    def __init__(self, step: float):
        self.now, self.step, self.read = 0.0, step, 0

    def __call__(self) -> float:
        self.read += 1
        self.now += self.step
        return self.now


@pytest.mark.parametrize("budget", [10, 20])
def test_training_ends_with_its_budget(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    clock = Clock(0.5)
    monkeypatch.setattr(TrainingStages, "clock", clock)
    result = run(Nerf(small, tmp_path / "out", time_budget=f"{budget}s", **QUICK | {"effort": 0.25}), engine="inline")
    assert 0.85 * budget <= clock.now <= budget + 2
    assert field_of(result).exists()


def test_a_budget_works_with_worker_processes(small: Path, tmp_path: Path) -> None:
    result = run(Nerf(small, tmp_path / "out", time_budget="2s", **QUICK), engine="local", workers=2)
    assert np.isfinite(result.value["psnr"]) and field_of(result).exists()


def test_going_on_from_a_field_makes_it_better(first: Any, capture: Path, tmp_path: Path) -> None:
    more = QUICK | {"start": field_of(first), "effort": 0.25}
    result = run(Nerf(capture, tmp_path / "out", **more), engine="inline")
    assert result.value["psnr"] > first.value["psnr"]
    again = run(Nerf(capture, tmp_path / "again", **more), engine="local", workers=3)
    assert digest(again) == digest(result)


def test_going_on_for_a_single_round_spoils_nothing(first: Any, capture: Path, tmp_path: Path) -> None:
    result = run(Nerf(capture, tmp_path / "out", **QUICK | {"start": field_of(first), "effort": 0.01}), engine="inline")
    assert result.value["psnr"] > first.value["psnr"] - 0.05


def test_going_on_at_another_resolution(
    first: Any, capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice the resolution of the draft, with as few rays in a round."""
    monkeypatch.setitem(PRESETS, "standard", Settings((Level(256, 12, 16384),)))
    more = QUICK | {"preset": "standard", "start": field_of(first)}
    result = run(Nerf(capture, tmp_path / "out", **more), engine="inline")
    assert Field.load(field_of(result)).voxel < 0.6 * Field.load(field_of(first)).voxel
    assert result.value["psnr"] > first.value["psnr"] - 0.05


def test_the_job_fits_its_finest_grid_to_the_photos(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its field is the one that training in one process gives."""
    fitting = Settings((Level(24, 8, 4096), Level(32, 8, 4096)), pixel=0.5, most=56, smooth=1e-5, smooth_start=0.5)
    monkeypatch.setitem(PRESETS, "standard", fitting)
    result = run(Nerf(small, tmp_path / "out", **QUICK | {"preset": "standard", "effort": 1.0}), engine="inline")
    field = Field.load(field_of(result))
    assert 48 < max(field.resolution) <= 60
    assert field.to_bytes() == train(load(small, "train"), fitting).to_bytes()
    monkeypatch.setattr(TrainingStages, "clock", Clock(0.1))
    job = Nerf(small, tmp_path / "budget", time_budget="20s", **QUICK | {"preset": "standard", "effort": 1.0})
    assert Field.load(field_of(run(job, engine="inline"))).voxel == field.voxel


def test_harmonics_of_degree_2_are_the_same_bits_anywhere(small: Path, tmp_path: Path) -> None:
    """On any engine, and in one process without one."""
    asked = QUICK | {"harmonics": "2"}
    result = run(Nerf(small, tmp_path / "out", **asked), engine="inline")
    settings = replace(PRESETS["draft"].scaled(QUICK["effort"]), degree=2)
    assert field_of(result).read_bytes() == train(load(small, "train"), settings).to_bytes()
    again = run(Nerf(small, tmp_path / "again", **asked), engine="local", workers=3)
    assert digest(again) == digest(result)


@pytest.mark.parametrize("degree", [0, 2])
def test_going_on_with_other_harmonics(first: Any, capture: Path, tmp_path: Path, degree: int) -> None:
    more = QUICK | {"start": field_of(first), "effort": 0.01, "harmonics": str(degree)}
    field = Field.load(field_of(run(Nerf(capture, tmp_path / "out", **more), engine="inline")))
    assert field.degree == max(1, degree) and field.rows[:, 1:4].any()
    assert field.rows[:, [5, 9, 13]].any() == field.rows[:, 16:].any() == (degree == 2)


def test_going_on_keeps_the_harmonics_of_the_field(capture: Path, first: Any, tmp_path: Path) -> None:
    """Where none are asked for: the preset's, or the field's if these are more."""
    wide = tmp_path / "wide.daf"
    Field.load(field_of(first)).of_degree(2).save(wide)
    for start, preset, degree in ((wide, "draft", 2), (field_of(first), "draft", 1), (field_of(first), "fine", 2)):
        assert Nerf(capture, tmp_path / "out", start=start, preset=preset).settings.degree == degree
    assert Nerf(capture, tmp_path / "out", start=wide, harmonics="1").settings.degree == 1


@pytest.mark.parametrize("degree", ["-1", "3", "two"])
def test_harmonics_of_no_degree_are_refused(small: Path, tmp_path: Path, degree: str) -> None:
    with pytest.raises(BadParameters, match="harmonics"):
        run(Nerf(small, tmp_path / "out", harmonics=degree), engine="inline")


def test_what_is_no_field_is_refused_before_anything_runs(capture: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nothing\.daf does not exist"):
        run(Nerf(capture, tmp_path / "out", start=tmp_path / "nothing.daf"), engine="inline")
    (tmp_path / "junk.daf").write_bytes(b"junk")
    with pytest.raises(BadInput, match=r"junk\.daf.*not a DAF radiance field"):
        run(Nerf(capture, tmp_path / "out", start=tmp_path / "junk.daf"), engine="inline")
