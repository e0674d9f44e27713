"""A thousand schedules, each with its own disasters, and the proof that the simulator would notice a bug. A night has
twenty thousand others (`.ci/nightly`).

A seed that fails prints itself; `python -m tests.sim --seed N` replays it and tells the story. The bugs that need more
schedules to show (`SLOW`) are planted by `python -m tests.sim --planted 2000`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .planted import BUGS, hunt
from .schedule import simulate

SCHEDULES, BLOCK = 1_000, 50
WITHIN = 150
SLOW = {
    "a_rewind_keeps_the_skips",
    "cancel_does_not_abort",
    "failures_count_twice",
    "fence_ignores_the_number",
    "kept_outputs_believed",
    "kept_results_not_committed_again",
    "those_set_aside_get_more",
}


@pytest.mark.parametrize("first", range(0, SCHEDULES, BLOCK))
def test_every_job_ends_as_if_nothing_had_happened(first: int) -> None:
    """Every schedule keeps every promise; see `schedule.py` and `coordinator.py` for what is looked at."""
    for seed in range(first, first + BLOCK):
        try:
            simulate(seed)
        except Exception as error:
            pytest.fail(f"seed {seed}: {type(error).__name__}: {error}\nreplay: python -m tests.sim --seed {seed}")


@pytest.mark.parametrize("name", sorted(set(BUGS) - SLOW))
def test_a_planted_bug_is_caught(name: str) -> None:
    """The simulator is not blind to any of these."""
    _, seed, how = hunt(name, WITHIN)
    assert seed >= 0, f"{name} ({BUGS[name].__doc__}) was {how} within {WITHIN} schedules"


def test_there_are_enough_planted_bugs() -> None:
    assert len(BUGS) >= 40
    assert set(BUGS) >= SLOW


def test_a_seed_is_a_schedule() -> None:
    """The same seed tells the same story, whatever the hash seed of the process: else it could not be replayed."""
    story = [
        subprocess.run(
            [sys.executable, "-m", "tests.sim", "--seed", "31"],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(__file__).parents[2])},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert len(story[0].splitlines()) > 50
    assert story[0] == story[1]
