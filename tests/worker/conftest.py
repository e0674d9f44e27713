from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.worker.scripted import Coordinator, start_worker


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[Coordinator]:
    scripted = Coordinator(f"ipc://{tmp_path}/c")
    yield scripted
    scripted.close()


@pytest.fixture
def worker(coordinator: Coordinator, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts workers of the scripted coordinator; whatever is left of them is killed at the end."""
    started = []

    def start(**options: object) -> subprocess.Popen[bytes]:
        data = options.pop("data_dir", tmp_path / "data")
        process = start_worker(coordinator.endpoint, data, **options)  # type: ignore[arg-type]
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait()
