"""A zygote forks what it is asked for: ends are told, nothing is inherited, and nobody outlives whom he belongs to."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from mapreduce.working.forks import Child, Gone, Zygote, environment
from mapreduce.working.frames import Channel
from mapreduce.working.gauge import create
from mapreduce.working.settings import SlotSettings

LISTEN = json.dumps(["--bind", "tcp://127.0.0.1:0"])


@pytest.fixture
def zygote(tmp_path: Path):
    with open(tmp_path / "log", "ab") as log:
        zygote = Zygote.start("base", environment(1), log.fileno())
    yield zygote
    zygote.close()


def coordinator(zygote: Zygote, folder: Path, argument: str = LISTEN) -> Child:
    with open(folder / "log", "ab") as log:
        return zygote.fork("coordinator", argument, "daf-coordinator of a test", [log.fileno()])


def wait_for(true, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def state(pid: int) -> str:
    """As ps shows it; empty when there is no such process."""
    try:
        return psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return ""


def test_an_exit_code_and_a_signal_are_told_and_no_zombie_stays(zygote: Zygote, tmp_path: Path) -> None:
    wrong = coordinator(zygote, tmp_path, json.dumps(["--no-such-option"]))
    killed = coordinator(zygote, tmp_path)
    assert killed.end(0) is None
    os.kill(killed.pid, signal.SIGSEGV)
    assert wrong.end(20)[0] == 2
    status, peak = killed.end(20)
    assert (status, peak > 1 << 20) == (-signal.SIGSEGV, True)
    assert state(wrong.pid) == state(killed.pid) == ""
    assert "no-such-option" in (tmp_path / "log").read_text()


def test_a_child_has_a_group_a_title_and_the_descriptors_that_it_was_given(zygote: Zygote, tmp_path: Path) -> None:
    first, second = coordinator(zygote, tmp_path), coordinator(zygote, tmp_path)
    wait_for(lambda: (tmp_path / "log").read_text().count("listens on") == 2)
    shown = psutil.Process(second.pid)
    assert " ".join(shown.cmdline()).strip() == "daf-coordinator of a test"
    assert os.getpgid(second.pid) == second.pid
    pairs = Path(f"/proc/{second.pid}/fd")
    names = [os.readlink(fd) for fd in pairs.iterdir()]
    assert names.count(str(tmp_path / "log")) == 2 and "/dev/null" in names
    assert not any("pidfd" in name for name in names), "the zygote's own look at its children"
    links = {int(fd.name) for fd in Path(f"/proc/{first.pid}/fd").iterdir()}
    assert len(links) == len(names), "a later child has no more than an earlier one"


def test_a_coordinator_is_forked_before_numpy_is_there(zygote: Zygote, tmp_path: Path) -> None:
    child = coordinator(zygote, tmp_path)
    wait_for(lambda: "listens on" in (tmp_path / "log").read_text())
    maps = Path(f"/proc/{child.pid}/maps").read_text()
    assert "zmq" in maps and "numpy" not in maps


def test_children_end_with_the_zygote(zygote: Zygote, tmp_path: Path) -> None:
    child = coordinator(zygote, tmp_path)
    os.kill(psutil.Process(child.pid).ppid(), signal.SIGKILL)
    assert child.end(20) == (-signal.SIGKILL, 0), "nobody is left who could say how"
    with pytest.raises(Gone):
        coordinator(zygote, tmp_path)


def test_children_end_with_the_connection_over_which_they_came(zygote: Zygote, tmp_path: Path) -> None:
    mine = coordinator(zygote, tmp_path)
    other = Zygote(zygote.attach())
    others = coordinator(other, tmp_path)
    other._control.close()
    wait_for(lambda: state(others.pid) == "")
    assert state(mine.pid)


def test_all_end_with_the_program(tmp_path: Path) -> None:
    code = f"""
        from tests.worker.test_zygote import *
        zygote = Zygote.start("base", environment(1))
        folder = Path({str(tmp_path)!r})
        with open(folder / "log", "ab") as log:
            child, nested = zygote.nest("base", log.fileno())
        print(child.pid, coordinator(zygote, folder).pid, coordinator(nested, folder).pid, flush=True)
        time.sleep(60)
    """
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as program:
        pids = [int(word) for word in program.stdout.readline().split()]
        assert len(pids) == 3
        program.kill()
    wait_for(lambda: all(state(pid) in ("", psutil.STATUS_ZOMBIE) for pid in pids))


def test_a_slot_shares_what_the_zygote_loaded(tmp_path: Path) -> None:
    """Of a slot that has just been forked, most is memory that it has in common with its zygote."""
    zygote = Zygote.start("slots", environment(1))
    ours, theirs = socket.socketpair()
    read, write = os.pipe()
    blobs, scratch = str(tmp_path / "blobs"), str(tmp_path / "scratch")
    settings = SlotSettings(worker="w", host="h", node="n", blobs=blobs, scratch=scratch)
    child = zygote.fork(
        "slot", settings.to_json(), "daf-slot w", [write, theirs.fileno(), create(), os.memfd_create("d")]
    )
    theirs.close()
    Channel(ours).receive(wait=True)
    memory = psutil.Process(child.pid).memory_full_info()
    assert memory.uss < 0.5 * memory.rss, f"{memory.uss >> 20} of {memory.rss >> 20} MiB are its own"
    ours.close()
    assert child.end(20)[0] == 0
    zygote.close()
    os.close(read)
    os.close(write)


def test_what_is_loaded_ahead_is_there_in_children_and_what_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "ahead.py").write_text(f"import os; open({str(tmp_path / 'by')!r}, 'a').write(f'{{os.getpid()}} ')")
    (tmp_path / "leaves.py").write_text("import sys; sys.exit('I leave')")
    with open(tmp_path / "log", "ab") as log:
        zygote = Zygote.start("base", environment(1, [str(tmp_path)]), log.fileno())
    zygote.preload(["no_such_module", "leaves", "ahead"])
    child = coordinator(zygote, tmp_path)
    assert (tmp_path / "by").read_text().split() == [str(psutil.Process(child.pid).ppid())]
    log_text = (tmp_path / "log").read_text()
    assert "no_such_module cannot be loaded ahead" in log_text and "I leave" in log_text
    (tmp_path / "by").unlink()
    (tmp_path / "late.py").write_text((tmp_path / "ahead.py").read_text())
    zygote.preload(["late"])
    coordinator(zygote, tmp_path)
    assert not (tmp_path / "by").exists(), "not while it has children, who may need it alive"
    zygote.close()


def test_a_zygote_in_which_a_preload_started_a_thread_ends(tmp_path: Path) -> None:
    (tmp_path / "threaded.py").write_text(
        "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()"
    )
    with open(tmp_path / "log", "ab") as log:
        base = Zygote.start("base", environment(1, [str(tmp_path)]), log.fileno())
        child, zygote = base.nest("base", log.fileno())
    zygote.preload(["threaded"])
    with pytest.raises(Gone):
        coordinator(zygote, tmp_path)
    assert child.end(20)[0] == 1
    assert "threaded ahead started threads" in (tmp_path / "log").read_text()
    base.close()
