"""Artifacts: whole or not at all."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mapreduce.artifacts import open_artifact


def test_an_artifact_appears_whole_with_its_hash(tmp_path: Path) -> None:
    with open_artifact(tmp_path / "new" / "a.bin") as file:
        file.write(b"content")
        assert not (tmp_path / "new" / "a.bin").exists()
    assert file.record() == (str(tmp_path / "new" / "a.bin"), hashlib.sha256(b"content").hexdigest(), 7)
    assert os.listdir(tmp_path / "new") == ["a.bin"]


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError), open_artifact(tmp_path / "a.txt", "w") as file:
        file.write("half of the n")
        raise RuntimeError
    assert (tmp_path / "a.txt").read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """The limit on file size stands for the full disk: the write fails half-way with OSError."""
    (tmp_path / "a.bin").write_bytes(b"old")
    program = (
        "import resource, signal, sys; from pathlib import Path; from mapreduce.artifacts import open_artifact\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (9999, 9999))\n"
        "with open_artifact(Path(sys.argv[1])) as file: file.write(bytes(20000))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.bin")], capture_output=True, text=True)
    assert done.returncode != 0 and "File too large" in done.stderr and "a.bin" in done.stderr.splitlines()[-1]
    assert (tmp_path / "a.bin").read_bytes() == b"old" and os.listdir(tmp_path) == ["a.bin"]


def test_the_record_of_an_open_file_is_refused(tmp_path: Path) -> None:
    with open_artifact(tmp_path / "a") as file, pytest.raises(ValueError, match="still being written"):
        file.record()


def test_text_keeps_its_line_ends_and_the_users_mode_bits(tmp_path: Path) -> None:
    with open_artifact(tmp_path / "a", "w") as file:
        file.write("é\n")
    assert (tmp_path / "a").read_bytes() == "é\n".encode()
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode
