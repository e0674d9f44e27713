"""k-means: what it reads, when it ends, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mapreduce import BadInput, run
from plugins.kmeans import KMeans


def save(folder: Path, points: Any) -> Path:
    path = folder / "points.npy"
    np.save(path, points)
    return path


def test_clear_groups_are_found(tmp_path: Path) -> None:
    points = np.array([[0, 0], [0, 2], [10, 10], [10, 12]])
    value = run(KMeans(save(tmp_path, points), k=2, seed=1), "inline").value
    assert sorted(value["centres"]) == [[0, 1], [10, 11]]
    assert value["sizes"] == [2, 2] and value["inertia"] == 4


def test_csv_and_npy_are_the_same_to_it(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(50, 3))
    np.savetxt(tmp_path / "points.csv", points, delimiter=",", fmt="%.17g")
    values = [run(KMeans(p, k=3), "inline").value for p in (save(tmp_path, points), tmp_path / "points.csv")]
    assert values[0] == values[1]


def test_it_ends_when_no_centre_moves(tmp_path: Path) -> None:
    points = np.array([[0.0], [1.0], [10.0], [11.0]])
    result = run(KMeans(save(tmp_path, points), k=2, rounds=50), "inline")
    assert result.metrics["stages"] < 6
    assert run(KMeans(save(tmp_path, points), k=2, rounds=1), "inline").metrics["stages"] == 1


def test_a_centre_without_rows_stays_where_it_was(tmp_path: Path) -> None:
    points = np.array([[1.0], [1.0], [1.0], [5.0]])
    value = run(KMeans(save(tmp_path, points), k=3, tolerance=0, rounds=3), "inline").value
    assert 0 in value["sizes"] and sum(value["sizes"]) == 4
    assert np.isfinite(value["centres"]).all()


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (np.zeros((2, 3)), "has 2 rows, too few for 8 centres"),
        (np.zeros(9), "must hold .rows, columns. of numbers"),
        (np.zeros((9, 0)), "must hold"),
        (np.array([["a"]] * 9), "must hold"),
        (np.array([[{}]] * 9), "is not a table of numbers"),
        (np.array([[np.nan]] * 9), "holds NaN or infinity in rows 0 to"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused(tmp_path: Path, points: Any, words: str) -> None:
    np.save(tmp_path / "points.npy", points, allow_pickle=True)
    with pytest.raises(BadInput, match=words):
        run(KMeans(tmp_path / "points.npy"), "inline")


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY\x01\x00", b"no array"])
def test_a_torn_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "points.npy").write_bytes(data)
    with pytest.raises(BadInput, match=r"points\.npy is not a table of numbers"):
        run(KMeans(tmp_path / "points.npy"), "inline")
