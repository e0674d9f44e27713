"""Whose a process is, and what families use."""

from __future__ import annotations

import os
import subprocess
import sys

from mapreduce.working.usage import LAZY, LOOK, Looks, Process, families, look, proportional


def one(pid: int, parent: int, group: int) -> Process:
    return Process(pid, parent, group, True, 0.0)


def test_a_family_is_a_process_group_and_all_descendants() -> None:
    table = [
        one(1, 0, 1),
        one(10, 1, 10),  # a slot
        one(11, 10, 10),
        one(12, 11, 12),  # has left the group, its parent has not
        one(13, 12, 12),
        one(14, 1, 10),  # has lost its parent, not its group
        one(15, 14, 15),
        one(20, 1, 20),  # another slot
        one(21, 20, 20),
        one(30, 1, 30),
        one(31, 30, 30),
    ]
    found = families(reversed(table), [10, 20])
    assert {slot: sorted(member.pid for member in family) for slot, family in found.items()} == {
        10: [10, 11, 12, 13, 14, 15],
        20: [20, 21],
    }


def test_parents_that_go_round_in_a_circle_belong_to_nobody() -> None:
    """Between two lines of the table a process id may have been given again."""
    assert families([one(1, 2, 1), one(2, 1, 2)], [10]) == {10: []}


def test_what_a_child_uses_is_seen() -> None:
    code = "held = bytearray(64 << 20); print('ready', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        used = look([os.getpid()])[os.getpid()]
        assert child.pid in used.others
        assert used.memory >= 64 << 20
        assert proportional([child.pid]) >= 64 << 20
        child.communicate(b"\n")
    assert child.pid not in look([os.getpid()])[os.getpid()].others


def test_families_are_not_looked_at_all_the_time() -> None:
    looks = Looks()
    assert os.getpid() in looks.due([os.getpid()], hurry=True)
    assert looks.due([os.getpid()], hurry=True) == {}
    looks._last -= LAZY
    assert looks.due([os.getpid()], hurry=False)
    looks._last -= LOOK
    assert looks.due([os.getpid()], hurry=False) == {}
