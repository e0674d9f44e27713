"""bin/demo, interrupted: after Ctrl-C in the middle nothing runs on and nothing is half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def ready_venv(tmp_path: Path) -> Path:
    """A virtual environment that bin/_setup.sh takes for ready: the one that runs this test, but its `daf faces` takes
    few and small photos."""
    venv, own = tmp_path / "venv", Path(sys.executable).parent
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").symlink_to(own / "python")
    few = '[ "$1" = faces ] && set -- "$@" --size 100 --views 16 --test-views 2'
    (venv / "bin/daf").write_text(f'#!/bin/sh\n{few}\nexec {own / "daf"} "$@"\n')
    (venv / "bin/daf").chmod(0o755)
    script = f'DAF_VENV={venv}; . {ROOT}/bin/_setup.sh; daf_stamp nerf >"$DAF_VENV/.daf-nerf"'
    subprocess.run(["bash", "-c", script], check=True)
    return venv


def marked(mark: str) -> list[str]:
    """The command lines of all processes that inherited `mark` in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # it ended while we looked, or is not ours
    return found


@pytest.mark.slow
def test_ctrl_c_while_the_job_runs_leaves_nothing_running(tmp_path: Path, ready_venv: Path) -> None:
    mark = uuid.uuid4().hex
    demo = subprocess.Popen(
        [str(ROOT / "bin/demo"), str(tmp_path / "demo")],
        env=os.environ | {"DAF_VENV": str(ready_venv), "DAF_MARK": mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert demo.stdout is not None
    try:
        lines = []
        for line in demo.stdout:
            lines.append(line)
            if line.startswith("nerf: "):
                break
        assert len(marked(mark)) > 3, "".join(lines)
        os.killpg(demo.pid, signal.SIGINT)
        rest, _ = demo.communicate(timeout=30)
    finally:
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGKILL)
    assert demo.returncode == 130, "".join(lines) + rest
    end = time.monotonic() + 20
    while left := marked(mark):  # what was killed takes a moment to go
        assert time.monotonic() < end, left
        time.sleep(0.05)
    assert not (tmp_path / "demo/avatar").exists() or not list((tmp_path / "demo/avatar").iterdir())
