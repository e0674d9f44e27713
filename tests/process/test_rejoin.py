"""A coordinator that is killed and started again finds its workers, and no task is computed again."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.process.rejoin import restarted


def test_workers_come_back_and_nothing_is_computed_again(tmp_path: Path) -> None:
    seed = int(os.environ.get("DAF_SEED", time.time_ns() % 2**32))
    print(f"seed {seed}")
    told = restarted(tmp_path, seed, workers=3, restarts=3, tasks=60, sleep=0.2)
    assert told.retries == 0
    assert set(told.ran.values()) == {1} and len(told.ran) == 60 + 10 + 1, f"ran twice: {told.ran.most_common(5)}"
