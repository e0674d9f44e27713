"""Many captures as one job: each as if it were alone, and none that spoils the others."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mapreduce import BadInput, Context, params, run
from mapreduce.engines.cluster import ClusterEngine
from nerf_plugin.batch import FaceContext, NerfBatch
from nerf_plugin.job import Nerf
from tests.nerf_plugin.captures import ball

ROOT = Path(__file__).parents[2]
TINY: dict[str, Any] = {
    "preset": "draft",
    "effort": 0.03,
    "resolution": 24,
    "faces": 500,
    "texture": 64,
    "turntable": 2,
}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three captures that can be made, one that is empty, one whose photos turn out damaged, one of transparent
    photos."""
    folder = tmp_path_factory.mktemp("faces")
    for name, size in (("anna", 32), ("ben", 40), ("eve", 24)):
        ball(folder / name, size=size, views=8, test_views=2)
    (folder / "cold").mkdir()
    ball(folder / "dora", size=24, views=4, test_views=1)
    photo = folder / "dora" / "train" / "002.png"
    data = bytearray(photo.read_bytes())
    data[len(data) // 2 :: 7] = bytes(len(data[len(data) // 2 :: 7]))
    photo.write_bytes(bytes(data[:-12]) + b"\0\0\0\0IEND\xaeB`\x82")
    ball(folder / "fog", size=24, views=4, test_views=1)
    for path in (folder / "fog" / "train").iterdir():
        Image.new("RGBA", (24, 24)).save(path)
    return folder


@pytest.fixture(scope="module")
def batch(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(result of the batch, in waves of two; what was told on the way)"""
    told: list[Any] = []
    job = NerfBatch([faces], tmp_path_factory.mktemp("out"), together=2, **TINY)
    return run(job, engine="local", workers=2, on_update=told.append), told, job.out


def hashes(result: Any, folder: Path) -> dict[str, str]:
    return {str(a.path.relative_to(folder)): a.sha256 for a in result.artifacts if folder in a.path.parents}


@pytest.mark.parametrize("name", ["anna", "eve"])
def test_a_face_has_the_files_it_has_alone(batch: Any, faces: Path, tmp_path: Path, name: str) -> None:
    result, _, out = batch
    alone = run(Nerf(faces / name, tmp_path / "alone", **TINY), engine="inline")
    expected = hashes(alone, tmp_path / "alone")
    assert hashes(result, out / name) == expected and {"field.daf", "avatar.glb", "report.json"} <= expected.keys()
    for path, digest in expected.items():
        assert (out / name / path).read_bytes() == (tmp_path / "alone" / path).read_bytes(), digest
    row = result.value[name]
    assert {key: row[key] for key in alone.value} == alone.value and row["status"] == "done"


def test_the_same_files_however_many_are_at_work_on_any_engine(batch: Any, faces: Path, tmp_path: Path) -> None:
    result, _, out = batch
    other = run(NerfBatch([faces], tmp_path, together=7, **TINY), engine="inline")
    for name in ("anna", "ben", "eve"):
        assert hashes(other, tmp_path / name) == hashes(result, out / name)

    def lasting(rows: dict[str, Any]) -> dict[str, Any]:
        return {name: {key: value for key, value in row.items() if key != "seconds"} for name, row in rows.items()}

    assert lasting(other.value) == lasting(result.value)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of a coordinator with two workers that believe to be on two hosts."""
    folder = tmp_path_factory.mktemp("cluster")
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "mapreduce.coordinator", "--bind", "tcp://127.0.0.1:0", "--announce"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, cwd=folder)]
    assert processes[0].stdout is not None
    endpoint = json.loads(processes[0].stdout.readline())["endpoint"]
    for name in ("earth", "mars"):
        options = ["--slots", "1", "--name", name, "--host", name, "--data-dir", str(folder / name)]
        command = [sys.executable, "-c", "from mapreduce.cli.worker import main; main()", endpoint, *options]
        processes.append(subprocess.Popen(command, env=environ, cwd=folder))
    yield endpoint
    for process in reversed(processes):
        process.terminate()
    assert [process.wait(30) for process in processes] == [0, 0, 0]
    processes[0].stdout.close()


def test_a_cluster_gives_the_same_files_and_rows(batch: Any, cluster: str, faces: Path, tmp_path: Path) -> None:
    result, _, out = batch
    few = ("anna", "eve", "fog")
    other = ClusterEngine(cluster).run(NerfBatch([faces / name for name in few], tmp_path / "out", **TINY))
    for name in few:
        assert hashes(other, tmp_path / "out" / name) == hashes(result, out / name)
        assert {**other.value[name], "seconds": 0} == {**result.value[name], "seconds": 0}


def test_what_cannot_be_made_is_reported_and_leaves_nothing(batch: Any) -> None:
    result, _, out = batch
    assert [name for name, row in result.value.items() if row["status"] == "done"] == ["anna", "ben", "eve"]
    reasons = {name: row["error"] for name, row in result.value.items() if row["error"]}
    assert reasons.keys() == {"cold", "dora", "fog"}
    assert "no transforms.json" in reasons["cold"]
    assert "002.png" in reasons["dora"]
    assert "transparent everywhere" in reasons["fog"]
    assert sorted(path.name for path in out.iterdir()) == ["anna", "batch.json", "ben", "eve"]


def test_the_summary_says_how_each_fared(batch: Any) -> None:
    result, _, out = batch
    rows = json.loads((out / "batch.json").read_text())["faces"]
    assert rows == result.value
    assert rows["ben"]["psnr"] > 10 and rows["ben"]["mesh_psnr"] > 10 and rows["ben"]["seconds"] > 0
    assert rows["dora"]["psnr"] is None


def test_progress_counts_faces_and_never_goes_back(batch: Any) -> None:
    _, told, _ = batch
    names = [update.stage_name for update in told if update.stage_name]
    found = [re.match(r"0 of 6 done; anna, ben: round (\d+) of (\d+)", name) for name in names]
    rounds = [(int(match[1]), int(match[2])) for match in found if match]  # those of which a client was told in time
    assert rounds == sorted(rounds) and all(0 < number <= whole for number, whole in rounds) and rounds
    assert any(re.match(r"2 of 6 done, 3 failed \(cold, dora, fog\); ", name) for name in names)
    whole = [update.whole for update in told if update.stage_name]
    assert all(a <= b + 1e-9 for a, b in pairwise(whole)) and max(whole) > 0.8


def test_a_reduce_that_fails_ends_its_face_only(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Nerf.join

    def join(self: Nerf, key: int, parts: Any, ctx: Any) -> Any:
        if self.dataset.name == "ben":
            raise ValueError("no surface here")
        return real(self, key, parts, ctx)

    monkeypatch.setattr(Nerf, "join", join)
    result = run(NerfBatch([faces / "ben", faces / "eve"], tmp_path, **TINY), engine="inline")
    assert result.value["ben"]["error"] == "ValueError: no surface here" and result.value["eve"]["status"] == "done"
    assert result.value["ben"]["seconds"] > 0
    assert [path.name for path in (tmp_path / "ben").iterdir()] == ["trained.daf"]
    assert not (tmp_path / "eve" / "trained.daf").exists()


def test_troubles_that_may_pass_are_no_verdict(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def join(self: Nerf, key: int, parts: Any, ctx: Any) -> Any:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(Nerf, "join", join)
    with pytest.raises(OSError, match="no space left"):
        run(NerfBatch([faces / "eve"], tmp_path, **TINY), engine="inline")


def test_a_batch_of_nothing_usable_is_refused_with_all_reasons(tmp_path: Path) -> None:
    (tmp_path / "faces" / "a").mkdir(parents=True)
    (tmp_path / "faces" / "b").mkdir()
    with pytest.raises(BadInput, match=r"none of 2 captures(.|\n)* a: (.|\n)* b: "):
        run(NerfBatch([tmp_path / "faces"], tmp_path / "out"), engine="inline")
    with pytest.raises(BadInput, match="has no folders of captures"):
        run(NerfBatch([tmp_path / "faces" / "a"], tmp_path / "out"), engine="inline")
    with pytest.raises(BadInput, match=r"nowhere does not exist"):
        run(NerfBatch([tmp_path / "nowhere"], tmp_path / "out"), engine="inline")
    assert not (tmp_path / "out").exists()


def test_a_batch_that_fails_whole_is_a_failure(tmp_path: Path) -> None:
    folder = ball(tmp_path / "fog", size=24, views=4, test_views=1)
    for path in (folder / "train").iterdir():
        Image.fromarray(np.zeros((24, 24, 4), np.uint8)).save(path)
    with pytest.raises(BadInput, match="transparent everywhere"):
        run(NerfBatch([folder], tmp_path / "out", **TINY), engine="inline")
    assert not (tmp_path / "out").exists()


def test_two_captures_of_one_name_are_refused(faces: Path, tmp_path: Path) -> None:
    again = ball(tmp_path / "anna", size=24, views=3, test_views=1)
    with pytest.raises(BadInput, match="rename one of them"):
        NerfBatch([faces, again], tmp_path / "out").check()


def test_results_inside_the_folder_of_captures_are_no_captures(tmp_path: Path) -> None:
    ball(tmp_path / "anna", size=24, views=3, test_views=1)
    (tmp_path / "results").mkdir()
    (tmp_path / "anna-posed").mkdir()
    assert list(NerfBatch([tmp_path], tmp_path / "results").captures()) == ["anna"]


def test_the_batch_takes_what_the_single_job_takes() -> None:
    def options(cls: Any) -> dict[str, Any]:
        return {field.name: (params.describe(field.type), field.default) for field in params.fields(cls)}

    single = ("dataset", "out", "start", "time_budget")
    wanted = {name: option for name, option in options(Nerf).items() if name not in single}
    found = {name: option for name, option in options(NerfBatch).items() if name not in ("datasets", "out", "together")}
    assert found == wanted


def test_a_face_may_ask_for_all_that_a_task_may() -> None:
    """Its context stands before the engine's, and has to have whatever that comes to offer."""
    offered = {name for name in {**vars(Context), **Context.__annotations__} if not name.startswith("_")}
    assert offered > {"empty", "shared", "task"}
    assert offered <= set(dir(FaceContext)) | set(FaceContext.__init__.__code__.co_names)
