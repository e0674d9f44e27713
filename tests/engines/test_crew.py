"""A crew that gave up says why, and can still be closed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from mapreduce.engines.crew import Crew
from mapreduce.errors import DafError


def test_closing_a_crew_that_gave_up_does_not_hide_why(tmp_path: Path) -> None:
    crew = Crew()
    crew.add("coordinator", "mapreduce.cli.coordinator", ["--no-such-option"], tmp_path / "log", (signal.SIGTERM,))
    crew._thread.join(30)
    crew.close()
    with pytest.raises(DafError, match="no-such-option"):
        crew.check()
