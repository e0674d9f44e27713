"""A run with --state whose every process is killed goes on from the last committed stage, to the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from mapreduce import BadParameters, run
from mapreduce.engines.local import LocalEngine
from nerf_plugin.job import Nerf
from tests.nerf_plugin.captures import ball

OPTIONS: dict[str, Any] = {
    "preset": "draft",
    "effort": 0.3,
    "resolution": 32,
    "faces": 500,
    "texture": 64,
    "turntable": 0,
}
BEGIN = """
import sys
from pathlib import Path
from mapreduce.engines.local import LocalEngine
from nerf_plugin.job import Nerf
from mapreduce import run
with LocalEngine(2, state=sys.argv[1]) as engine:
    run(Nerf(Path(sys.argv[2]), Path(sys.argv[3]), **OPTIONS_HERE), engine=engine,
        on_update=lambda update: print(update.stage, flush=True))
""".replace("OPTIONS_HERE", repr(OPTIONS))


def kill_all(process: subprocess.Popen[str]) -> None:
    """SIGKILL to the program, its coordinator, its workers and their slots."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        try:
            os.kill(member.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()
    psutil.wait_procs(family, timeout=10)


def field(result: Any) -> str:
    return next(a.sha256 for a in result.artifacts if a.path.name == "field.daf")


def test_everything_is_killed_in_the_middle_of_training(tmp_path: Path) -> None:
    capture, state, out = ball(tmp_path / "ball"), tmp_path / "state", tmp_path / "out"
    command = [sys.executable, "-c", BEGIN, str(state), str(capture), str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    reached = 0
    for line in process.stdout:
        reached = int(line)
        if reached >= 8:
            break
    kill_all(process)
    assert 8 <= reached < 30, "it was killed in the middle"
    stages: list[int] = []
    with LocalEngine(2, state=state) as engine:
        job = Nerf(capture, out, **OPTIONS)
        result = run(job, engine=engine, on_update=lambda update: stages.append(update.stage))
    assert min(stages) >= reached - 1, "what was committed is not done again"
    assert field(result) == field(run(Nerf(capture, tmp_path / "plain", **OPTIONS), engine="inline"))


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "one.txt").write_text("dear")
    with pytest.raises(BadParameters, match="holds something else"):
        LocalEngine(1, state=tmp_path / "letters")
    assert [path.name for path in (tmp_path / "letters").iterdir()] == ["one.txt"]


def test_two_runs_cannot_share_a_folder(tmp_path: Path) -> None:
    with LocalEngine(1, state=tmp_path / "state"), pytest.raises(BadParameters, match="another run"):
        LocalEngine(1, state=tmp_path / "state")
    LocalEngine(1, state=tmp_path / "state").close()
