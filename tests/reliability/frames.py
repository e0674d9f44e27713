"""Mutated frames at the socket of a coordinator that runs by itself: as many whole as byte by byte (bytewise.py).

Limits on how much one connection may say are lifted there, or most would not be looked at. Its memory is looked at all
the while; at the end it is asked whether it lives, and its memory and descriptors are compared with those of before.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil

from mapreduce.client import Client
from mapreduce.wire import messages as m
from mapreduce.wire import sockets
from mapreduce.wire.typed import encode
from tests.coordinator.fakes import Fake
from tests.coordinator.test_fuzz import mutated
from tests.wire.test_typed import TO_COORDINATOR

Row = tuple[str, str, str]
ROOT = Path(__file__).resolve().parents[2]
SERVE = """
import sys
from mapreduce.coordination import rates
rates.CLIENT = rates.STRANGERS = (1e12, 1e12)
from mapreduce.coordinator import main
sys.exit(main(["--bind", "tcp://127.0.0.1:0", "--announce"]))
"""
ROLES = ("stranger", "worker", "client")
SENDERS = 4
"""Processes that send byte by byte, each on a connection at a time."""


def framed(count: int, seed: int) -> list[Row]:
    """`count` frames whole, and `count` byte by byte over several connections at once."""
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ
    )
    try:
        assert process.stdout is not None
        endpoint = json.loads(process.stdout.readline())["endpoint"]
        about = psutil.Process(process.pid)
        send(endpoint, count // 20, seed)  # what it needs to know once, it knows
        bytewise(endpoint, count // 100, seed, about)
        before = about.memory_info().rss, about.num_fds()
        send(endpoint, count - count // 20, seed + 1)
        told = bytewise(endpoint, count - count // 100, seed + 1, about)
        with Client(endpoint) as client:
            end = time.monotonic() + 10
            while about.num_fds() > before[1] + 2 and time.monotonic() < end:
                client.ping()
                time.sleep(0.2)
            after = about.memory_info().rss, about.num_fds()
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    grown = [max(0.0, (now - before[0]) / 2**20) for now in (told["most"], after[0])]
    text = (
        f"{count:,} whole and {told['frames'] + count // 100:,} byte by byte, besides {told['wrecked']:,} connections "
        f"with a damaged protocol; it lives and answers; memory grew by {grown[1]:.1f} MiB (at most {grown[0]:.1f} on "
        f"the way), descriptors {before[1]} and {after[1]}"
    )
    command = f"python -m tests.reliability --only frames --frames {count} --seed {seed}"
    return [("mutated frames at a coordinator's socket", text, command)]


def bytewise(endpoint: str, count: int, seed: int, about: psutil.Process) -> dict[str, int]:
    """`count` frames from `SENDERS` processes; what they counted, and `most`, the bytes that `about` held at most."""
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    senders = []
    for number in range(SENDERS):
        share = count // SENDERS + (number < count % SENDERS)
        command = [sys.executable, "-m", "tests.reliability.bytewise", endpoint, str(share), str(seed * 100 + number)]
        senders.append(subprocess.Popen(command, stdout=subprocess.PIPE, env=environ))
    told: Counter[str] = Counter()
    most = 0
    try:
        while any(sender.poll() is None for sender in senders):
            most = max(most, about.memory_info().rss)
            time.sleep(0.1)
    finally:
        for sender in senders:
            sender.kill()
            output = sender.communicate()[0]
            assert sender.returncode == 0, "a sender failed: its last words are above"
            told.update(json.loads(output))
    return {**told, "most": most}


def send(endpoint: str, count: int, seed: int) -> None:
    """Frames from a stranger, a worker and a client by turns; each hears what it is told, and registers anew now and
    then, as one does that was refused."""
    rng = random.Random(seed)
    frames = [encode(message) for message in TO_COORDINATOR if not isinstance(message, m.Submit)]
    share = max(1, count // 12)
    for number in range(0, count, share):
        role = ROLES[number // share % len(ROLES)]
        rogue = Fake(endpoint, type="other")
        try:
            if role == "worker":
                rogue.run(lambda rogue=rogue: rogue.welcome is not None)
            elif role == "client":
                rogue.connect_as_client()
            for sent in range(min(share, count - number)):
                parts = [mutated(rng, rng.choice(frames)) for _ in range(1 if rng.random() < 0.98 else 2)]
                while not sockets.send(rogue.socket, *parts):
                    drain(rogue, 0.01)
                if sent % 64 == 0:
                    drain(rogue, 0.0)
        finally:
            rogue.close()
    with Client(endpoint, patience=60) as client:
        client.ping()  # comes after all of them


def drain(rogue: Fake, seconds: float) -> None:
    rogue.socket.poll(int(seconds * 1000))
    while sockets.receive(rogue.socket) is not None:
        pass
