"""Every fail point of the coordinator, died at: see tests/coordinator/crashpoints.py for the day that is lived."""

from __future__ import annotations

import random
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.coordinator.crashpoints import die, points
from tests.coordinator.forked import Forked

RECOVERY = 60
"""Points of a recovering coordinator: by then both workers are back and tasks are out again."""
EACH = 6
"""First deaths after which the second one comes at each of those points."""


def crashed(seed: int, threads: int = 3) -> list[tuple[str, str, str]]:
    """Die at each point; die again at a random point of each recovery; and at every point of some recoveries."""
    rng = random.Random(seed)
    local = threading.local()
    opened: list[Forked] = []
    with tempfile.TemporaryDirectory(prefix="daf-crash-") as top:

        def live(deaths: tuple[str, ...]) -> bool:
            if not hasattr(local, "forked"):
                local.folder = Path(tempfile.mkdtemp(dir=top))
                local.forked = Forked(local.folder)
                opened.append(local.forked)
            return die(local.forked, local.folder, deaths, 5 if len(deaths) == 1 else 1)

        with ThreadPoolExecutor(threads) as pool:
            try:
                calm = pool.submit(lambda: live(()) and points(local.forked, local.folder)).result()
                once = list(pool.map(live, [(point,) for point in calm]))
                second = [(point, str(rng.randrange(1, RECOVERY))) for point in calm]
                second += [(point, str(at)) for point in rng.sample(calm, EACH) for at in range(1, RECOVERY)]
                twice = list(pool.map(live, second))
            finally:
                for forked in opened:
                    forked.close()
    missed = "" if all(once) else f" ({once.count(False)} more depend on the clock and did not come up again)"
    command = f"python -m tests.reliability --only crashpoints --seed {seed}"
    return [
        (
            "fail points of the coordinator (before and after every message, around every durable write), died at",
            f"{sum(once)} of {len(calm)}{missed}: every acknowledged job ended with the same bits, no task ran twice",
            command,
        ),
        (
            "deaths while recovering from such a death",
            f"{sum(twice)}, each of the first {RECOVERY - 1} points after {EACH} of the deaths among them: the same",
            command,
        ),
    ]
