"""Plain photos: poses are found once and kept beside them, and what goes wrong is said by step."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import sqlite3
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import trimesh
from PIL import Image

from mapreduce import BadInput, JobFailed, run
from nerf_plugin.datasets import DatasetError, load, plain, poses, tally
from nerf_plugin.datasets.plain import given_foreground, make_posed, place_of
from nerf_plugin.job import Nerf
from tests.nerf_plugin.captures import RADIUS, photograph, plain_photos

needs_pycolmap = pytest.mark.skipif(
    importlib.util.find_spec("pycolmap") is None, reason="the extra `poses` (pycolmap) is not installed"
)
TINY: dict[str, Any] = {
    "preset": "draft",
    "effort": 0.05,
    "resolution": 32,
    "faces": 500,
    "texture": 64,
    "turntable": 0,
}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(folder of photos with alpha, their true cameras, their capture, what was said while it was made)"""
    pytest.importorskip("pycolmap", reason="the extra `poses` (pycolmap) is not installed")
    photos = tmp_path_factory.mktemp("session") / "ball"
    cameras = plain_photos(photos, size=240, alpha=True)
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(poses, "EVERY", 0.05)  # looked at so often, a database must not be looked at by this process
        return photos, cameras, make_posed(photos, say=said.append), said


def aligned(found: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, float]:
    """`found` (N, 3) moved onto `true` by the best similarity (Umeyama 1991), and its scale."""
    a, b = found - found.mean(0), true - true.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    flip = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    scale = float((s * np.diag(flip)).sum() / (a**2).sum())
    return scale * a @ (u @ flip @ vt).T + true.mean(0), scale


def test_poses_are_those_the_photos_were_taken_from(session: Any) -> None:
    photos, cameras, _, said = session
    found = load(photos, "all").views
    names = {f"shot_{n:02d}.png": camera for n, camera in enumerate(cameras)}
    assert len(found) >= 0.8 * len(cameras), said
    true = np.array([names[view.name].position for view in found])
    placed, _ = aligned(np.array([view.camera.position for view in found]), true)
    assert np.linalg.norm(placed - true, axis=1).max() < 0.03 * 1.7
    assert abs(found[0].camera.fx / cameras[0].fx - 1) < 0.05


def test_what_is_done_of_it_is_told_and_nobody_is_left_who_counts(session: Any) -> None:
    _, cameras, capture, said = session
    counts = [int(found[1]) for line in said if (found := re.search(r"features of photos: (\d+) of 24$", line))]
    assert len(cameras) == 24 and counts[0] == 0 and counts == sorted(counts) and max(counts) > 0
    left = [entry for entry in psutil.process_iter(["cmdline"]) if tally.__file__ in (entry.info["cmdline"] or ())]
    assert not [entry for entry in left if str(capture.parent) in " ".join(entry.info["cmdline"])]


def test_rows_are_counted_where_there_is_a_write_ahead_log(tmp_path: Path) -> None:
    database = tmp_path / "a b?.db"
    with contextlib.closing(sqlite3.connect(database)) as writer:
        writer.execute("CREATE TABLE photos (name TEXT)")
        assert tally.count(database, "photos") is None
        writer.execute("PRAGMA journal_mode=WAL")
        writer.executemany("INSERT INTO photos VALUES (?)", [("a",), ("b",)])
        writer.commit()
        assert tally.count(database, "photos") == 2 and tally.count(database, "matches") is None


def test_the_foreground_is_the_alpha_of_the_photos(session: Any) -> None:
    photos, cameras, _, said = session
    assert load(photos).has_alpha and any("alpha" in line for line in said)
    view = load(photos, "all").views[0]
    cover = view.image()[..., 3] / 255
    assert 0.9 < cover.mean() / (photograph(cameras[int(view.name[5:7])])[..., 3] / 255).mean() < 1.1


def test_a_capture_is_made_once(session: Any) -> None:
    photos, _, capture, _ = session
    said: list[str] = []
    assert make_posed(photos, say=said.append) == capture == place_of(photos) and said == []
    assert sorted(path.name for path in photos.parent.iterdir()) == ["ball", "ball-posed"]


def test_other_photos_than_those_of_the_capture_are_noticed(session: Any, tmp_path: Path) -> None:
    photos, _, capture, _ = session
    shutil.copytree(capture, tmp_path / "ball-posed")
    shutil.copytree(photos, tmp_path / "ball")
    assert load(tmp_path / "ball")
    os.utime(tmp_path / "ball" / "shot_03.png", (4e9, 4e9))
    with pytest.raises(DatasetError, match=r"other photos.*Move it away"):
        load(tmp_path / "ball")
    with pytest.raises(DatasetError, match="other photos"):
        run(Nerf(tmp_path / "ball", out=tmp_path / "out"), engine="inline")


@pytest.mark.parametrize("engine", ["inline", "local"])
def test_photos_become_an_avatar(session: Any, tmp_path: Path, engine: str) -> None:
    """With `local`, poses are found by a task of the job; `inline` finds the capture that is there."""
    photos, cameras, _, _ = session
    if engine == "local":
        photos = Path(shutil.copytree(photos, tmp_path / "ball"))
    result = run(Nerf(photos, out=tmp_path / "out", **TINY), engine=engine)
    assert result.value["watertight"] and result.value["psnr"] > 10
    views = load(photos, "all").views
    true = np.array([cameras[int(view.name[5:7])].position for view in views])
    _, scale = aligned(np.array([view.camera.position for view in views]), true)
    assert np.isclose(result_radius(tmp_path / "out") * scale, RADIUS, rtol=0.15)


def result_radius(folder: Path) -> float:

    mesh = trimesh.load_mesh(folder / "avatar.ply")
    return float((3 * mesh.volume / (4 * np.pi)) ** (1 / 3))


def test_without_pycolmap_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain_photos(tmp_path / "ball", size=24, views=9)
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(BadInput, match=r"without camera poses, and pycolmap.*pip install 'daf\[poses\]'"):
        run(Nerf(tmp_path / "ball", out=tmp_path / "out"), engine="inline")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ball"]


def test_a_handful_of_photos_is_refused(tmp_path: Path) -> None:
    plain_photos(tmp_path / "ball", size=24, views=4)
    with pytest.raises(BadInput, match=r"holds 4 photos without camera poses; at least 8"):
        run(Nerf(tmp_path / "ball", out=tmp_path / "out"), engine="inline")


def test_a_damaged_photo_is_named_before_anything_runs(tmp_path: Path) -> None:
    plain_photos(tmp_path / "ball", size=24, views=9)
    (tmp_path / "ball" / "shot_05.jpg").write_bytes(b"no photo")
    with pytest.raises(BadInput, match=r"shot_05\.jpg"):
        run(Nerf(tmp_path / "ball", out=tmp_path / "out"), engine="inline")


@needs_pycolmap
@pytest.mark.parametrize("engine", ["inline", "local"])
def test_photos_that_do_not_fit_together_fail_in_finding_poses(tmp_path: Path, engine: str) -> None:
    (tmp_path / "noise").mkdir()
    for n in range(8):
        pixels = np.random.default_rng(n).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "noise" / f"{n}.png")
    with pytest.raises((BadInput, JobFailed), match=r"finding poses: 0 of 8 photos"):
        run(Nerf(tmp_path / "noise", out=tmp_path / "out"), engine=engine)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["noise"]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """What `estimate_poses` leaves, as far as masks go."""
    plain_photos(tmp_path / "ball", size=24, views=3)
    shutil.copytree(tmp_path / "ball", tmp_path / "work" / "images")
    return tmp_path


def test_mask_files_are_taken_along(capture: Path) -> None:
    (capture / "ball" / "masks").mkdir()
    for n in range(3):
        Image.new("L", (24, 24), 40 * n).save(capture / "ball" / "masks" / f"shot_0{n}.png")
    given_foreground(capture / "ball", capture / "work", print)
    for n in range(3):
        with Image.open(capture / "work" / "masks" / f"shot_0{n}.png") as mask:
            assert mask.getpixel((3, 3)) == 40 * n


def test_a_missing_mask_is_named(capture: Path) -> None:
    (capture / "masks").mkdir()
    Image.new("L", (24, 24)).save(capture / "masks" / "shot_00.jpg.png")
    with pytest.raises(DatasetError, match=r"masks for 1 of 3 photos, none for shot_01\.jpg"):
        given_foreground(capture / "ball", capture / "work", print)


class Rembg(types.SimpleNamespace):
    """Its model cannot be had here, so a stand-in with the same functions (those of 2.0.86) answers in its place."""

    def __init__(self, most: int) -> None:
        super().__init__(loaded=[], asked=[], most=most)

    def new_session(self, model_name: str = "bria-rmbg", *args: Any, sess_opts: Any = None, **kwargs: Any) -> str:
        self.loaded.append(model_name)
        return f"session of {model_name}"

    def remove(self, data: np.ndarray, *, session: Any = None, only_mask: bool = False) -> np.ndarray:
        assert session == "session of u2net" and only_mask
        self.asked.append(data.shape)
        if len(self.asked) > self.most:
            raise RuntimeError("no memory")
        return np.full(data.shape[:2], 200, np.uint8)


def test_rembg_is_asked_last_with_one_model_for_all_photos_and_its_failure_named(
    capture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain._session.cache_clear()
    rembg = Rembg(most=6)
    monkeypatch.setitem(sys.modules, "rembg", rembg)
    for _ in range(2):
        given_foreground(capture / "ball", capture / "work", print)
        assert len(list((capture / "work" / "masks").glob("*.png"))) == 3
        shutil.rmtree(capture / "work" / "masks")
    assert rembg.asked == [(24, 24, 3)] * 6 and rembg.loaded == ["u2net"]
    with pytest.raises(DatasetError, match=r"finding the foreground: rembg failed \(RuntimeError: no memory\)"):
        given_foreground(capture / "ball", capture / "work", print)
    plain._session.cache_clear()


def test_rembg_without_onnxruntime_ends_no_process(capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its import calls sys.exit then."""
    (capture / "broken").mkdir()
    (capture / "broken" / "rembg.py").write_text("import sys\nsys.exit(1)\n")
    monkeypatch.syspath_prepend(str(capture / "broken"))
    monkeypatch.delitem(sys.modules, "rembg", raising=False)
    with pytest.raises(DatasetError, match=r"rembg cannot be started \(SystemExit: 1\).*pip install 'daf\[rembg\]'"):
        given_foreground(capture / "ball", capture / "work", print)


def test_without_alpha_masks_and_rembg_there_is_no_given_foreground(
    capture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rembg", None)
    assert not given_foreground(capture / "ball", capture / "work", print)
    assert not (capture / "work" / "masks").exists()
