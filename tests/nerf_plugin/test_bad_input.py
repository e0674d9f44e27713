"""What people bring that no avatar can be made of: one clear error, an exit code that is not zero, nothing written."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.nerf_plugin.captures import ball

SMALL = ["--preset", "draft", "--effort", "0.03", "--resolution", "24", "--texture", "64", "--faces", "500"]
Daf = Callable[..., subprocess.CompletedProcess[str]]


def obey_modes() -> None:
    """For a child before its program starts: even as root it may write only where a file's mode lets it."""
    drop, override = 24, 1  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(drop, override, 0, 0, 0):
        raise OSError("this root cannot give up the right to write everywhere")


@pytest.fixture
def daf(tmp_path: Path) -> Daf:
    """daf("run", ...) in the test's folder, which holds a capture "good" and what the test adds."""
    ball(tmp_path / "good", size=24, views=6, test_views=1)

    def run(*args: str, **more: Any) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("daf")), *args]
        env = dict(os.environ)
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, env=env, **more)

    return run


def refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """It ended with this code, and one message with these words: no traceback, nothing on stdout."""
    assert done.returncode == code, done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 6, done.stderr


def change(folder: Path, edit: Callable[[np.ndarray], object]) -> None:
    """Rewrite every training photo."""
    for path in sorted((folder / "train").iterdir()):
        pixels = np.array(Image.open(path))
        edit(pixels)
        Image.fromarray(pixels).save(path)


@pytest.mark.parametrize("engine", ["inline", "local"])
def test_photos_that_are_transparent_everywhere(daf: Daf, tmp_path: Path, engine: str) -> None:
    change(tmp_path / "good", lambda pixels: pixels.fill(0))
    done = daf("run", "nerf", "good", *SMALL, "--engine", engine, "-q")
    refused(done, 3, "daf: good: all 6 photos are transparent everywhere", "bring photos")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "avatar").exists()


@pytest.mark.parametrize("engine", ["inline", "local"])
def test_a_field_that_stays_empty(daf: Daf, tmp_path: Path, engine: str) -> None:
    def fade(pixels: np.ndarray) -> None:
        pixels[..., 3] = np.where(pixels[..., 3] > 0, 2, 0)

    change(tmp_path / "good", fade)
    done = daf("run", "nerf", "good", *SMALL, "--engine", engine, "-q")
    refused(done, 3, "daf: there is no surface: no view sees anything opaque; train longer", "avatar/trained.daf")
    assert "worker" not in done.stderr and "peak memory" not in done.stderr, "it is told as what it is"
    assert [path.name for path in (tmp_path / "avatar").iterdir()] == ["trained.daf"]
    again = daf("nerf", "render", "avatar/trained.daf", "--orbit", "1", "--size", "8x8", "--out", "look")
    assert again.returncode == 0, again.stderr


def test_one_view(daf: Daf, tmp_path: Path) -> None:
    ball(tmp_path / "one", size=24, views=1, test_views=1)
    done = daf("run", "nerf", "one", *SMALL)
    refused(done, 3, "the capture has 1 training photo; a surface needs at least 3")
    assert not (tmp_path / "avatar").exists()


def test_a_face_budget_of_three(daf: Daf, tmp_path: Path) -> None:
    done = daf("run", "nerf", "good", "--faces", "3")
    refused(done, 2, "--faces", "must be an integer >= 100", "not '3'")
    assert not (tmp_path / "avatar").exists()


@pytest.mark.parametrize("job", ["nerf", "nerf-batch"])
def test_a_folder_that_cannot_be_written(daf: Daf, tmp_path: Path, job: str) -> None:
    """/proc takes no files, not even of root."""
    done = daf("run", job, "good", *SMALL, "--out", "/proc/avatar")
    refused(done, 3, "/proc/avatar", "cannot be written", "choose another place")
    assert not Path("/proc/avatar").exists()


def test_a_read_only_folder(daf: Daf, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    done = daf("run", "nerf", "good", *SMALL, "--out", "locked/avatar", preexec_fn=obey_modes)
    refused(done, 3, "locked/avatar", "cannot be written", "choose another place")
    assert not any((tmp_path / "locked").iterdir())


def test_earlier_results_outlive_a_failed_run(daf: Daf, tmp_path: Path) -> None:
    (tmp_path / "avatar").mkdir()
    (tmp_path / "avatar" / "avatar.glb").write_bytes(b"the last good one")
    change(tmp_path / "good", lambda pixels: pixels.fill(0))
    refused(daf("run", "nerf", "good", *SMALL, "--engine", "inline", "-q"), 3, "transparent")
    assert [path.name for path in (tmp_path / "avatar").iterdir()] == ["avatar.glb"]
    assert (tmp_path / "avatar" / "avatar.glb").read_bytes() == b"the last good one"


def test_a_batch_of_folders_that_are_no_captures(daf: Daf, tmp_path: Path) -> None:
    (tmp_path / "faces" / "a").mkdir(parents=True)
    refused(daf("run", "nerf-batch", "faces", *SMALL), 3, "none of 1 captures can be used", "no transforms.json")
    assert not (tmp_path / "avatars").exists()
