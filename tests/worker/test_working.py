"""The small parts of a worker: the gauge, the data directory, limits, failures as text."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from mapreduce.working import failure, gauge, host, limits


def test_a_gauge_says_what_runs():
    fd = gauge.create()
    ours, theirs = gauge.Gauge(fd), gauge.Gauge(fd)
    os.close(fd)
    assert ours.read() is None
    theirs.begin((1, 2, 1, 3, 4), 99, "ä".encode() * 5000)
    reading = ours.read()
    assert (reading.key, reading.started, reading.text[:3]) == ((1, 2, 1, 3, 4), 99, "äää")
    theirs.idle()
    assert ours.read() is None


def test_a_node_keeps_its_name_and_its_directory_is_private(tmp_path):
    first = host.DataDirectory(tmp_path / "d")
    second = host.DataDirectory(tmp_path / "d")
    assert first.node == second.node
    assert (tmp_path / "d").stat().st_mode & 0o777 == 0o700
    first.close()
    second.close()
    assert (tmp_path / "d" / "blobs").exists()


def test_a_temporary_directory_goes_and_stale_ones_are_removed(tmp_path):
    alive = host.DataDirectory(base=tmp_path)
    code = "import sys; from pathlib import Path; from mapreduce.working import host; import os\n"
    code += f"print(host.DataDirectory(base=Path({str(tmp_path)!r})).path, flush=True); os._exit(1)"
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()
    assert os.path.isdir(dead)
    assert [str(path) for path in host.remove_stale(tmp_path)] == [dead]
    assert alive.path.is_dir()
    alive.close()
    assert not list(tmp_path.iterdir())


def test_scratch_of_the_dead_goes_when_nobody_else_uses_the_directory(tmp_path):
    first = host.DataDirectory(tmp_path / "d")
    (first.scratch / "123").mkdir()
    second = host.DataDirectory(tmp_path / "d")
    assert (first.scratch / "123").exists()
    first.close()
    second.close()
    host.DataDirectory(tmp_path / "d").close()
    assert not list((tmp_path / "d" / "scratch").iterdir())


def test_the_environment_says_where_temporary_directories_go(tmp_path, monkeypatch):
    monkeypatch.setenv("DAF_DATA_DIR", str(tmp_path / "here"))
    directory = host.DataDirectory()
    assert directory.path.parent == tmp_path / "here"
    directory.close()


def test_a_child_finds_what_this_process_finds(tmp_path):
    found = host.python_path([str(tmp_path), os.path.dirname(os.__file__)]).split(os.pathsep)
    assert str(tmp_path) in found
    assert os.path.dirname(os.__file__) not in found


def test_resident_memory_counts_what_is_allocated():
    before = limits.resident()
    block = bytearray(os.urandom(1) * (64 << 20))
    assert limits.resident() - before > 60 << 20
    del block
    assert limits.resident(2**22 + 1) == 0


def test_the_traceback_of_an_exception_from_outside_this_package_is_whole():
    def users() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError) as caught:
        users()
    error = failure.of_exception(caught.value, worker="w", text="map 1")
    assert (error.kind, error.type, error.worker, error.input) == ("exception", "KeyError", "w", "map 1")
    assert "users()" in error.traceback


def test_an_exception_that_cannot_be_shown_is_named_all_the_same():
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    error = failure.of_exception(Broken())
    assert error.type.endswith("Broken")
    assert "cannot be shown" in error.message


def test_text_that_is_no_unicode_can_be_sent():
    error = failure.of_exception(ValueError("\udcff" * 10))
    assert error.message == "?" * 10


@pytest.mark.parametrize(
    ("status", "why", "kind", "words"),
    [
        (-signal.SIGSEGV, "", "crash", "SIGSEGV"),
        (-signal.SIGKILL, "", "crash", "from outside"),
        (3, "", "crash", "exit code 3"),
        (-signal.SIGKILL, "timeout", "timeout", "limit of 5 s"),
        (-signal.SIGKILL, "memory", "memory", "limit of 5 s"),
    ],
)
def test_a_death_is_told_in_words(status, why, kind, words):
    error = failure.of_death(status, why=why, peak=1, dump="", log="bye", worker="w", text="map 1", limit="5 s")
    assert error.kind == kind
    assert words in error.message
    assert error.log == "bye"


def test_the_process_that_holds_the_connection_loads_no_numpy_and_no_plugin():
    code = "import sys, mapreduce.worker, mapreduce.working.start; "
    code += (
        "print([name for name in sys.modules if name.split('.')[0] in ('numpy', 'numba', 'plugins', 'nerf_plugin')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
