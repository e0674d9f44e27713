"""Every engine there is, opened once for the whole suite."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mapreduce.client import Client
from mapreduce.engines import open_engine
from mapreduce.engines.local import LocalEngine

BIN = Path(sys.executable).parent
ENGINES = ["inline", "local-1", "local-2", "local-3", "cluster"]


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An open engine; `cluster` is a daf-coordinator and two daf-worker, each a node of its own."""
    kind, _, workers = request.param.partition("-")
    with ExitStack() as stack:
        if kind == "inline":
            yield stack.enter_context(open_engine("inline"))
        elif kind == "local":
            yield stack.enter_context(LocalEngine(workers=int(workers)))
        else:
            endpoint = stack.enter_context(_Cluster(tmp_path_factory.mktemp("cluster"))).endpoint
            yield stack.enter_context(open_engine(endpoint))


class _Cluster:
    def __init__(self, folder: Path):
        self._folder = folder
        self._running: list[subprocess.Popen[str]] = []

    def __enter__(self) -> _Cluster:
        try:
            store = f"sqlite://{self._folder / 'store.sqlite'}"
            first = self._start("daf-coordinator", "--bind", "tcp://127.0.0.1:0", "--store", store, "--announce")
            assert first.stdout is not None
            self.endpoint = json.loads(first.stdout.readline())["endpoint"]
            jobs = str(Path(__file__).with_name("jobs.py"))
            for number in range(2):
                data = str(self._folder / f"node-{number}")
                self._start("daf-worker", self.endpoint, "--slots", "1", "--data-dir", data, "--plugins", jobs)
            with Client(self.endpoint, patience=30) as client:
                while len(client.workers()) < 2:
                    assert all(process.poll() is None for process in self._running)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self, *command: str) -> subprocess.Popen[str]:
        log = open(self._folder / f"{command[0]}-{len(self._running)}.log", "w")
        with log:
            process = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]], stdout=subprocess.PIPE, stderr=log, text=True
            )
        self._running.append(process)
        return process

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running):
            process.send_signal(signal.SIGTERM)
        for process in self._running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
