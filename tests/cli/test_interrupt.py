"""Ctrl-C: the job is cancelled and nothing is left behind; the second one leaves at once."""

from __future__ import annotations

import os
import pty
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.conftest import one_object


def family(process: Any) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def wait_for_nap(process: Any, slow: Path) -> None:
    """Until a task of the job runs: only then is there something to cancel."""
    deadline = time.monotonic() + 60
    while not slow.with_name("begun").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_one_cancels_cleanly(start: Any, slow: Path, number: int) -> None:
    process = start("run", slow, "50", "--seconds", "1", "--workers", "2", "--json")
    wait_for_nap(process, slow)
    children = family(process)
    assert len(children) >= 3
    process.send_signal(number)
    process.send_signal(number)  # as `timeout` does: it is one request all the same
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "cancelling" in err and "Traceback" not in err
    assert one_object(out)["status"] == "cancelled"
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


def test_inline_ends_too(start: Any, slow: Path) -> None:
    process = start("run", slow, "50", "--seconds", "1", "--engine", "inline")
    wait_for_nap(process, slow)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in err


def test_the_second_one_leaves_at_once(start: Any, slow: Path) -> None:
    """A task that swallows the first Ctrl-C and would go on for minutes."""
    process = start("run", slow, "1", "--seconds", "300", "--stubborn", "--engine", "inline")
    wait_for_nap(process, slow)
    process.send_signal(signal.SIGINT)
    while "cancelling" not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(0.7)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130


def test_a_terminal_shows_a_live_bar_and_plain_stderr_does_not(start: Any, slow: Path) -> None:
    leader, follower = pty.openpty()
    process = start("run", slow, "6", "--seconds", "0.3", "--engine", "inline", stderr=follower)
    os.close(follower)
    seen = b""
    while True:
        try:
            chunk = os.read(leader, 65536)
        except OSError:  # the other side is closed
            break
        if not chunk:
            break
        seen += chunk
    os.close(leader)
    assert process.wait(30) == 0
    text = seen.decode()
    assert "slow · mapping" in text and "\x1b[" in text and "left" in text
    plain = start("run", slow, "2", "--engine", "inline")
    assert "\x1b[" not in plain.communicate(timeout=60)[1]
