"""A real file system that is too small, and one that is mounted read-only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, sys
from mapreduce.errors import StoreError
from mapreduce.store import open_store

folder = sys.argv[1]
store = open_store(f"sqlite://{folder}/state.db")
with open(f"{folder}/ballast", "wb") as file:
    file.write(bytes(300_000))
number = 0
try:
    while True:
        store.rpush("l", b"%d" % number * 1000)
        store.commit()
        number += 1
except StoreError as error:
    print(error)
assert store.llen("l") == number and store.pending == 1
os.unlink(f"{folder}/ballast")
store.commit()
assert store.llen("l") == number + 1
store.close()
assert os.system(f"mount -o remount,ro {folder}") == 0
try:
    open_store(f"sqlite://{folder}/state.db")
except StoreError as error:
    print(error)
"""


def test_a_full_file_system_and_a_read_only_one(tmp_path: Path) -> None:
    mounts = ["unshare", "-rm", "sh", "-ec", f'mount -t tmpfs -o size=700k none {tmp_path} && exec "$@"', "sh"]
    try:
        subprocess.run([*mounts, "true"], check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a file system cannot be mounted here: {error}")
    command = [*mounts, sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    full, read_only = done.stdout.splitlines()
    assert full.startswith("the disk is full") and "Make room" in full and str(tmp_path) in full
    assert "Read-only file system" in read_only and str(tmp_path) in read_only
