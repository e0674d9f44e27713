"""The plugin's commands, as a user meets them."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from PIL import Image

from nerf_plugin.commands import faces, nerf
from nerf_plugin.datasets import load


def test_faces_writes_captures_with_their_seeds(tmp_path, monkeypatch):
    monkeypatch.setattr("nerf_plugin.faces.model.FINE", 0.016)
    monkeypatch.setattr("nerf_plugin.faces.model.COARSE", 0.026)
    options = ["--count", "2", "--seed", "5", "--size", "32", "--views", "3", "--test-views", "1", "--jobs", "2"]
    result = CliRunner().invoke(faces, [str(tmp_path / "out"), *options])
    assert result.exit_code == 0, result.output
    for index in range(2):
        folder = tmp_path / "out" / f"face_{index:03d}"
        assert str(folder) in result.output
        assert len(load(folder)) == 3 and len(load(folder, "test")) == 1
        found = json.loads((folder / "face.json").read_text())
        assert (found["identity"]["seed"], found["size"], found["version"]) == (5 + index, 32, 1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["face_000", "face_001"]


@pytest.mark.parametrize("options", [["--count", "0"], ["--size", "-4"], ["--seed", "x"]])
def test_faces_refuses_what_makes_no_sense(tmp_path, options):
    result = CliRunner().invoke(faces, [str(tmp_path / "out"), *options])
    assert result.exit_code == 2 and options[0] in result.output
    assert not (tmp_path / "out").exists()


def test_importing_the_commands_is_light():
    code = (
        "import sys, nerf_plugin.commands; print([m for m in ('numpy', 'numba', 'PIL', 'skimage') if m in sys.modules])"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "[]"


def test_poses_names_the_extra_when_it_is_absent(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    (tmp_path / "photos").mkdir()
    result = CliRunner().invoke(nerf, ["poses", str(tmp_path / "photos")])
    assert result.exit_code != 0 and "daf[poses]" in str(result.exception)


def test_poses_of_too_few_photos_are_refused(tmp_path):
    pytest.importorskip("pycolmap", reason="the extra `poses` is not installed")
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "photos" / "a.png")
    result = CliRunner().invoke(nerf, ["poses", str(tmp_path / "photos")])
    assert "holds 1 photos" in str(result.exception)
