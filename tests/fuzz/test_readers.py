"""Whatever bytes they get, readers end well or in the errors that they promise, and take no more than they may.

`python -m tests.fuzz NAME` does the same with atheris, which is led by what the code does with an input; what it finds
is kept in corpus/NAME."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import pytest

from tests.fuzz.mutation import mutated
from tests.fuzz.targets import TARGETS, corpus

SEED, COUNT = 20_261_122, 400
FEW = {"transforms": 200, "image": 200, **{name: 120 for name in TARGETS if name.startswith("colmap")}}
MOST = 256 << 20
"""Bytes that reading a small file may take at a time."""


@pytest.mark.parametrize("name", TARGETS)
def test_sound_input_is_read(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    for data in target.seeds():
        try:
            target.read(data, tmp_path)
        except target.allowed:
            assert name in ("to-worker", "to-client", "parameters"), "their seeds are of other conversations and types"


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_input_ends_in_a_promised_error(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    rng = random.Random(f"{SEED} {name}")
    seeds = [*target.seeds(), *(data for _, data in corpus(name))]
    tracemalloc.start()
    try:
        for number in range(FEW.get(name, COUNT)):
            data = mutated(rng, seeds, target.text)
            try:
                target.read(data, tmp_path)
            except target.allowed as error:
                assert str(error).strip(), "an error says something"
            except Exception as error:
                pytest.fail(f"{name}, input {number} of seed {SEED}: {type(error).__name__}: {error}\n{data[:2000]!r}")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST, f"{name}: {peak >> 20} MiB for an input of a few KiB"


@pytest.mark.parametrize("name", TARGETS)
def test_input_that_was_kept_ends_in_a_promised_error(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    for file, data in corpus(name):
        try:
            target.read(data, tmp_path)
        except target.allowed:
            continue
        except Exception as error:
            raise AssertionError(f"corpus/{name}/{file}: {type(error).__name__}: {error}") from error
