"""A task that always fails: three attempts, each on another worker, and an error that says all there is to say."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from mapreduce import Job, JobFailed
from mapreduce.engines.local import LocalEngine
from tests.worker.jobs import Naps


@dataclass
class Doomed(Job):
    """Its split 1 ends badly, and leaves a file named for its process, of which each worker has one."""

    folder: Path
    how: str

    def splits(self):
        return ["good", "bad", "good"]

    def map(self, split, ctx):
        yield split, 1
        if split == "bad":
            with open(self.folder / str(os.getpid()), "a") as file:
                file.write("x")
            self.end_badly()

    def end_badly(self):
        print("my last words", flush=True)
        if self.how == "exit":
            os._exit(3)
        if self.how == "kill":
            os.kill(os.getpid(), 9)
        raise ValueError("cannot go on")


@pytest.mark.parametrize("how", ["raise", "exit", "kill"])
def test_three_attempts_on_three_workers_and_all_that_is_known(tmp_path: Path, how: str) -> None:
    with LocalEngine(3) as engine:
        engine.run(Naps([1.0] * 3))  # now all three workers are here
        with pytest.raises(JobFailed) as caught:
            engine.run(Doomed(tmp_path, how))
    assert sorted(file.read_text() for file in tmp_path.iterdir()) == ["x", "x", "x"]
    error = caught.value.error
    assert error.input == "map 1: 'bad'"
    assert error.peak_memory > 1 << 20
    if how == "raise":
        first = error.traceback.splitlines()[1]
        assert "test_attempts.py" in first and "end_badly" in error.traceback
    else:
        assert (error.exit_code, error.signal) == ((3, None) if how == "exit" else (None, 9))
        assert "my last words" in error.log
    text = str(caught.value)
    assert "worker-" in text and "peak memory" in text
