"""How a run is spread over processes: whole files, so that what a file's fixtures make is made once, the longest first,
so that none begins when all others have ended. Files in `APART`, whose tests are long and share little, are dealt out
test by test. Without pytest-xdist this does nothing."""

from __future__ import annotations

from typing import Any

import pytest

FIRST = (
    "tests/packaging/test_demo.py",
    "tests/nerf_plugin/test_job_options.py",
    "tests/docs/test_docs.py",
    "tests/security/test_cluster.py",
    "tests/nerf_plugin/test_batch.py",
    "tests/nerf_plugin/test_job.py",
    "tests/nerf_plugin/datasets/test_plain.py",
    "tests/nerf_plugin/test_resume.py",
    "tests/cli/test_run.py",
    "tests/cli/test_cluster.py",
    "tests/contract",
    "tests/process",
    "tests/coordinator",
    "tests/benchmarks",
    "tests/nerf_plugin",
    "tests/sim/test_sim.py",
)
"""Files, or folders of them, in the order in which they begin; all others come after."""
APART = {
    "tests/cli/test_cluster.py",
    "tests/cli/test_run.py",
    "tests/coordinator/test_kills.py",
    "tests/docs/test_docs.py",
    "tests/nerf_plugin/test_job_options.py",
    "tests/process/test_harm.py",
    "tests/process/test_kills.py",
    "tests/process/test_network.py",
    "tests/security/test_cluster.py",
    "tests/sim/test_sim.py",
}


def rank(nodeid: str) -> int:
    return next((place for place, known in enumerate(FIRST) if nodeid.startswith(known)), len(FIRST))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: rank(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Spread(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            return nodeid if file in APART else file

    config.option.loadscopereorder = False  # it would begin with the files of the most tests, and end with the longest
    return Spread(config, log)
