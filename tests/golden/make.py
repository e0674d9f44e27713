"""Write the files by which later versions are held to reading those of this one: `python -m tests.golden.make FOLDER`.

Done once for each release, with the code of that release; what is in the repository is never written again. FOLDER
gets the stores of a coordinator that was stopped (`stopped/`) and of one that was killed, with its write-ahead log
(`killed/`), and a field file with what can be read from it (`ball.field`, `ball.json`).

Each store has five jobs of the scripted workers in `tests/coordinator`: one done, one cancelled, one with the last of
its maps running, one at the last reduce of its second stage, one whose first planning was not answered.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mapreduce.client import Client
from tests.coordinator.crashpoints import MAPS, REDUCES, STAGES, Worker
from tests.coordinator.forked import Forked
from tests.coordinator.running import Working
from tests.nerf_plugin.test_field import ball

NAMES = ("done", "doomed", "maps", "reduces", "planning")
HELD = {(3, 0, 1, MAPS - 1), (4, STAGES - 1, 2, REDUCES - 1), (5, 0, 0, 0)}
POINTS = np.array([[0, 0, 0], [0, 0.5, 0], [0.1, 0.2, 0.62], [0.9, 0.9, 0.9]])


def store(folder: Path, number: signal.Signals) -> None:
    """The files of a coordinator that was ended by a signal in the middle of its work."""
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as place:
        forked = Forked(Path(place))
        forked.start(f"sqlite://{folder}/state.db")
        worker = Worker(forked.endpoint, maps=MAPS, reduces=REDUCES, stages=STAGES, slots=4, name="w1")
        worker.hold = lambda key: key in HELD
        with Client(forked.endpoint, keys="") as client, Working(worker):
            done, doomed, maps, reduces, _ = [client.submit("fake", name.encode(), token=name) for name in NAMES]
            client.cancel(doomed, "not needed")
            client.wait(done, 30)
            while (client.update(maps).maps_done, client.update(reduces).reduces_done) != (MAPS - 1, REDUCES - 1):
                time.sleep(0.01)
            time.sleep(0.2)
            forked.kill(number)
        forked.close()
    (folder / "state.db.lock").unlink(missing_ok=True)


def main() -> None:
    top = Path(sys.argv[1]).absolute()
    shutil.rmtree(top, ignore_errors=True)
    store(top / "stopped", signal.SIGTERM)
    store(top / "killed", signal.SIGKILL)
    field = ball(resolution=12)
    field.save(top / "ball.field")
    told = {
        "rows": field.rows[::37].tolist(),
        "sigma": field.sigma(POINTS).tolist(),
        "color": field.color(POINTS[:3], np.array([1.0, 0, 0])).tolist(),
        "bounds": field.bounds.tolist(),
        "resolution": list(field.resolution),
    }
    (top / "ball.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main()
