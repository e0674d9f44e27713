"""The scripts in bin/: they set up what they need once, say so, and say what to install when they cannot."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ["daf-coordinator", "daf-worker", "demo", "test", "bench"]


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder of what a bare Debian has, and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("bash", "cat", "dirname", "sha256sum", "mkdir", "flock", "tail", "env"):
        found = next(Path(p) / tool for p in ("/usr/bin", "/bin") if (Path(p) / tool).exists())
        (folder / tool).symlink_to(found)
    return folder


@pytest.fixture
def run(tools: Path, tmp_path: Path):
    def run(script: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(tools / "bash"), "-c", f". '{ROOT}/bin/_setup.sh'\n{script}"],
            env={"PATH": str(tools), "HOME": str(tmp_path), "DAF_VENV": str(tmp_path / "venv")} | env,
            capture_output=True,
            text=True,
        )

    return run


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(0o755)
    return path


def test_without_python_it_names_the_package(run) -> None:
    done = run("daf_setup test")
    assert done.returncode == 69
    assert "apt-get install python3 python3-venv" in done.stderr


def test_a_python_that_is_too_old_is_not_taken(run, tools: Path) -> None:
    program(tools / "python3", "exit 1")
    assert run("daf_setup test").returncode == 69


def test_without_venv_it_names_the_package(run, tools: Path) -> None:
    program(tools / "python3", 'case "$2" in *ensurepip*) exit 1;; *executable*) echo python3;; esac')
    done = run("daf_setup test")
    assert done.returncode == 69
    assert "apt-get install python3-venv" in done.stderr


def test_a_failed_installation_is_shown_and_tried_again(run, tmp_path: Path) -> None:
    (tmp_path / "venv/bin").mkdir(parents=True)
    pip = 'case "$2" in pip) echo "no route to the index"; exit 1;; esac'
    program(tmp_path / "venv/bin/python", pip)
    done = run(
        "daf_setup test", PYTHON=str(program(tmp_path / "python3.11", 'case "$2" in *executable*) echo "$0";; esac'))
    )
    assert done.returncode == 69
    assert "no route to the index" in done.stderr
    assert not (tmp_path / "venv/.daf-test").exists()


def test_the_second_time_it_does_nothing(run, tmp_path: Path) -> None:
    (tmp_path / "venv/bin").mkdir(parents=True)
    calls = tmp_path / "calls"
    program(tmp_path / "venv/bin/python", f'echo "$@" >>{calls}')
    python = str(program(tmp_path / "python3.11", 'case "$2" in *executable*) echo "$0";; esac'))
    first = run("daf_setup test", PYTHON=python)
    assert first.returncode == 0 and "installed" in first.stderr
    installed = calls.read_text()
    assert f"-e {ROOT}[test]" in installed
    second = run("daf_setup test", PYTHON=python)
    assert second.returncode == 0 and not second.stderr
    assert calls.read_text() == installed


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_can_be_run_and_are_bash(script: str) -> None:
    path = ROOT / "bin" / script
    assert os.access(path, os.X_OK)
    assert subprocess.run(["bash", "-n", str(path)]).returncode == 0
