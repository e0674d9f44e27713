"""The nerf job, whole: photos in, field, mesh and report out, the same bits wherever it runs and whatever dies."""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from mapreduce import BadInput, JobFailed, run
from mapreduce.engines.local import LocalEngine
from nerf_plugin.avatar import front_of
from nerf_plugin.cameras import Camera, look_at
from nerf_plugin.datasets import load
from nerf_plugin.field import Field
from nerf_plugin.job import Nerf
from nerf_plugin.stages.rounds import TRAFFIC
from tests.nerf_plugin.captures import ANGLE, RADIUS, ball

SMALL: dict[str, Any] = {
    "preset": "draft",
    "effort": 0.25,
    "resolution": 40,
    "faces": 2000,
    "texture": 128,
    "turntable": 3,
}
SAME = (
    "field.daf",
    "avatar.obj",
    "avatar.png",
    "avatar.glb",
    "avatar.ply",
    "avatar.json",
    "report.html",
    "turntable.webp",
    "contact-sheet.png",
)


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ball(tmp_path_factory.mktemp("ball"))


@pytest.fixture(scope="module")
def inline(capture: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run(Nerf(capture, tmp_path_factory.mktemp("inline") / "out", **SMALL), engine="inline")


def hashes(result: Any) -> dict[str, str]:
    return {a.path.name: a.sha256 for a in result.artifacts if a.path.name in SAME}


def test_a_ball_is_learned_and_meshed(inline: Any, capture: Path) -> None:
    assert inline.value["psnr"] > 25 and inline.value["mesh_psnr"] > 25 and inline.value["watertight"]
    folder = inline.artifacts[0].path.parent
    mesh = trimesh.load_mesh(folder / "avatar.ply")
    assert mesh.is_watertight and len(mesh.faces) <= 2000
    pixel = 2.0 * 2 * math.tan(ANGLE / 2) / 48
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - RADIUS).mean() < pixel
    assert Field.load(folder / "field.daf").to_bytes() == (folder / "field.daf").read_bytes()
    report = json.loads((folder / "report.json").read_text())
    sent, dense = (inline.counters[name] for name in TRAFFIC)
    assert inline.value["dense_exchange"] == round(dense / sent, 1) > 5
    assert inline.value["round_megabytes"] == round(sent / 22 / 1e6, 2)
    assert report["rounds"] == {k: inline.value[k] for k in ("round_megabytes", "dense_exchange")} | {"rounds": 22}
    assert report["summary"]["psnr"] == inline.value["psnr"] and len(report["views"]) == 3
    story = json.loads((folder / "avatar.json").read_text())
    for name, facts in story["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == facts["sha256"]
    source = story["source"]
    assert source["fingerprint"] == load(capture).fingerprint and source["dataset"] == capture.name
    assert (source["photos"], source["preset"], source["seed"]) == (len(load(capture)), "draft", 0)
    assert sorted(path.name for path in (folder / "renders").iterdir()) == ["000.png", "001.png", "002.png"]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_same_bits_with_any_number_of_workers(inline: Any, capture: Path, tmp_path: Path, workers: int) -> None:
    result = run(Nerf(capture, tmp_path / "out", **SMALL), engine="local", workers=workers)
    assert hashes(result) == hashes(inline) and len(hashes(result)) == len(SAME)
    assert result.value == inline.value


def test_the_same_bits_with_a_worker_killed_in_a_round(inline: Any, capture: Path, tmp_path: Path) -> None:
    killed = threading.Event()
    with LocalEngine(2) as engine:

        def kill(update: Any) -> None:
            if not killed.is_set() and update.stage_name.startswith("round") and update.maps_done:
                killed.set()
                os.kill(engine.pids("worker")[0], signal.SIGKILL)

        result = run(Nerf(capture, tmp_path / "out", **SMALL), engine=engine, on_update=kill)
    assert killed.is_set()
    assert hashes(result) == hashes(inline)


def test_another_seed_gives_another_field(inline: Any, capture: Path, tmp_path: Path) -> None:
    other = run(Nerf(capture, tmp_path / "out", seed=1, **SMALL), engine="inline")
    assert hashes(other)["field.daf"] != hashes(inline)["field.daf"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nowhere.*does not exist"):
        run(Nerf(tmp_path / "nowhere", tmp_path / "out"), engine="inline")


def test_a_missing_photo_is_named_before_anything_runs(tmp_path: Path) -> None:
    folder = ball(tmp_path / "ball", views=3, test_views=1)
    (folder / "train" / "001.png").unlink()
    with pytest.raises(BadInput, match=r"train/001"):
        run(Nerf(folder, tmp_path / "out"), engine="inline")
    assert not (tmp_path / "out").exists()


def test_a_pose_that_is_not_finite_is_named(tmp_path: Path) -> None:
    folder = ball(tmp_path / "ball", views=3, test_views=1)
    path = folder / "transforms_train.json"
    data = json.loads(path.read_text())
    data["frames"][2]["transform_matrix"][0][3] = float("nan")
    path.write_text(json.dumps(data))
    with pytest.raises(BadInput, match=r"frame 2"):
        run(Nerf(folder, tmp_path / "out"), engine="inline")


@pytest.mark.parametrize("engine", ["inline", "local"])
def test_a_truncated_photo_is_named_and_nothing_is_written(tmp_path: Path, engine: str) -> None:
    folder = ball(tmp_path / "ball", views=3, test_views=1)
    photo = folder / "train" / "001.png"
    photo.write_bytes(photo.read_bytes()[:-300])
    with pytest.raises((BadInput, JobFailed), match=r"001\.png"):
        run(Nerf(folder, tmp_path / "out", **SMALL), engine=engine)
    assert not (tmp_path / "out").exists()


def test_photos_without_a_subject_are_refused(tmp_path: Path) -> None:
    from PIL import Image

    folder = ball(tmp_path / "ball", views=3, test_views=1)
    for photo in (folder / "train").iterdir():
        Image.new("RGBA", (48, 48), (0, 0, 0, 0)).save(photo)
    with pytest.raises(BadInput, match="transparent everywhere"):
        run(Nerf(folder, tmp_path / "out", **SMALL), engine="inline")


def test_an_output_folder_that_cannot_be_one_is_named(capture: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="is a file"):
        run(Nerf(capture, tmp_path / "file" / "out"), engine="inline")


def test_the_front_is_where_the_photos_were_taken_from() -> None:
    around = [Camera.from_matrix(look_at(np.array(p, float), np.zeros(3)), 8, 8, 8.0) for p in [(2, 0, 0), (-2, 0, 0)]]
    assert front_of(around) is None
    front = front_of([Camera.from_matrix(look_at(np.array([2, y, 0.0]), np.zeros(3)), 8, 8, 8.0) for y in (-1, 0, 1)])
    assert front is not None and front @ [1, 0, 0] > 0.6
