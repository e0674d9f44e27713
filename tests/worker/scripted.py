"""A coordinator that does exactly what a test says, and a real worker process that talks to it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import zmq

from mapreduce import params, plugins
from mapreduce.job import Job
from mapreduce.wire import messages as m
from mapreduce.wire import sockets
from mapreduce.wire.typed import at_coordinator, encode
from mapreduce.working.settings import WorkerSettings

JOBS = str(Path(__file__).with_name("jobs.py"))


class Coordinator:
    """A ROUTER, and helpers that play the coordinator's part for one worker and one stage."""

    def __init__(self, endpoint: str):
        self.context = zmq.Context()
        self.socket, self.endpoint = sockets.router(self.context, endpoint)
        self.peer = b""
        self.beats = 0

    def close(self) -> None:
        self.socket.close(0)
        self.context.term()

    def receive(self, kind: Any, timeout: float = 30.0) -> Any:
        """The next message of this kind; heartbeats are counted, anything else is an error."""
        end = time.monotonic() + timeout
        while True:
            assert self.socket.poll(max(0, int((end - time.monotonic()) * 1000))), f"no {kind} came"
            peer, frame = self.socket.recv_multipart()
            message = at_coordinator(frame)
            if isinstance(message, m.Hello):
                self.peer = peer
            if isinstance(message, kind):
                return message
            assert isinstance(message, m.Beat), f"wanted {kind}, got {message}"
            self.beats += 1

    def silent(self, seconds: float) -> None:
        """Only heartbeats come for that long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self.socket.poll(int(left * 1000) + 1):
                message = at_coordinator(self.socket.recv_multipart()[1])
                assert isinstance(message, m.Beat), message
                self.beats += 1

    def send(self, message: m.Message) -> None:
        assert sockets.send_to(self.socket, self.peer, encode(message)) is sockets.Sent.YES

    def welcome(self, heartbeat: float = 0.2, lease: float = 30.0) -> m.Hello:
        hello = self.receive(m.Hello)
        self.send(m.Welcome(heartbeat, lease, "scripted"))
        return hello

    def stage(self, job: Job, plan: m.Planned | None = None, *, number: int = 0, **limits: Any) -> None:
        """Tell the worker of a stage: before PLAN without, afterwards with its answer."""
        sizes = (
            (plan.name, plan.setup, plan.maps, plan.reduces, plan.splits, plan.inputs)
            if plan
            else ("", b"", 0, 0, None, ())
        )
        name, setup, maps, reduces, splits, inputs = sizes
        kind = type(job).name
        self.send(
            m.StageInfo(1, number, kind, params.pack(job), 0, name, setup, maps, reduces, splits, inputs, (), **limits)
        )

    def plan(self, job: Job, **limits: Any) -> m.Planned:
        """Have stage 0 planned and announce it."""
        self.stage(job)
        self.send(m.Assign(1, 0, 0, ((0, 1),)))
        plan = self.receive(m.Planned)
        self.stage(job, plan, **limits)
        return plan

    def results(self, count: int, timeout: float = 20.0) -> dict[int, m.Done]:
        """The answers of `count` map or reduce tasks, by index; a failure is an error."""
        done: dict[int, m.Done] = {}
        end = time.monotonic() + timeout
        while len(done) < count:
            for item in self.receive(m.Results, end - time.monotonic()).done:
                done[item.index] = item
        return done

    def answers(self, count: int, timeout: float = 20.0) -> tuple[dict[int, m.Done], list[m.Failed]]:
        """As `results`, failures apart."""
        done: dict[int, m.Done] = {}
        failed: list[m.Failed] = []
        end = time.monotonic() + timeout
        while len(done) + len(failed) < count:
            answer = self.receive((m.Results, m.Failed), end - time.monotonic())
            if isinstance(answer, m.Failed):
                failed.append(answer)
            else:
                done.update((item.index, item) for item in answer.done)
        return done, failed


def start_worker(endpoint: str, data: Path, **options: Any) -> subprocess.Popen[bytes]:
    """A worker process with the job types of jobs.py."""
    plugins.add(JOBS)
    settings = WorkerSettings(connect=endpoint, data_dir=data, plugins=(JOBS,), **options)
    command = [sys.executable, "-m", "mapreduce.working.start", settings.to_json()]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])})


def reduce_inputs(done: dict[int, m.Done], node: str, partitions: int) -> tuple[m.ReduceInput, ...]:
    """What the coordinator tells the reduce tasks of a stage."""
    inputs = []
    for partition in range(partitions):
        segments = []
        for index in sorted(done):
            item = done[index]
            if item.sizes and item.sizes[partition]:
                ref = m.Ref(item.hash, item.size, node, 0, 1)
                segments.append((index, ref, sum(item.sizes[:partition]), item.sizes[partition]))
        inputs.append(m.ReduceInput(partition, tuple(segments)))
    return tuple(inputs)
