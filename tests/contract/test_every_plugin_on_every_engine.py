"""One promise, over every plugin and every engine: the same bits, and what an independent program finds."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mapreduce import Job, JobFailed, Result, run
from mapreduce.engines.inline import InlineEngine
from mapreduce.wire import codec
from plugins.grep import Grep
from plugins.kmeans import KMeans
from plugins.sort import Sort
from plugins.thumbnails import Thumbnails
from plugins.wordcount import WordCount
from plugins.wordcount_fast import FastWordCount
from tests.contract.jobs import Nothing, Vanishing, Walk, Zoo

FIRST: dict[str, str] = {}
"""What a job left on the first engine that ran it; all others have to leave the same."""


def fingerprint(result: Result) -> str:
    """One hash of everything that a user can see: pairs by partition, value, counters, artifacts' bytes."""
    parts = [list(result.outputs.partition(i)) for i in range(result.outputs.partitions)]
    seen = [parts, result.value, result.counters, [(a.path.name, a.sha256, a.size) for a in result.artifacts]]
    return hashlib.sha256(b"".join(map(bytes, codec.dumps(seen)))).hexdigest()


def same_everywhere(job: Job, engine: Any, name: str) -> Result:
    """Run a job and hold it against what the inline engine left."""
    result = run(job, engine)
    if name not in FIRST:
        FIRST[name] = fingerprint(run(job, InlineEngine()))
    assert fingerprint(result) == FIRST[name]
    for artifact in result.artifacts:
        data = artifact.path.read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (artifact.sha256, artifact.size)
    return result


def shell(command: str, *paths: Path) -> bytes:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; export LC_ALL=C; {command}", "-", *paths], capture_output=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of words that are not kind: accents, NULs, very long lines, empty lines, no newline at the end; one is
    empty."""
    folder = tmp_path_factory.mktemp("texts")
    rng = np.random.default_rng(5)
    letters = np.frombuffer("abcdefghijklmnop\x00é".encode(), np.uint8)
    paths = []
    for number, lines in enumerate([20_000, 1, 0, 5000, 150_000, 300]):
        words = [bytes(rng.choice(letters, size)) for size in rng.integers(1, 9, 4000)]
        picks = rng.zipf(1.3, (lines, 8)) % len(words)
        counts = rng.integers(0, 9, lines)
        rows = [b" ".join(words[i] for i in row[:count]) for row, count in zip(picks, counts)]
        if lines == 300:
            rows[7] = b"\t".join(words) * 50
        data = (b"\n".join(rows) + b"\n" * (number % 2)) if lines else b""
        paths.append(folder / f"{number}.txt")
        paths[-1].write_bytes(data)
    assert max(path.stat().st_size for path in paths) > 1 << 20
    return paths


def test_wordcount(engine: Any, texts: list[Path], tmp_path: Path) -> None:
    result = same_everywhere(WordCount(texts, top=5, out=tmp_path / "counts"), engine, "wordcount")
    expected = shell(
        r"for f in $@; do tr -s '[:space:]' '\n' < $f; echo; done | grep -a . | sort | uniq -c | sed 's/^ *//'", *texts
    )
    assert (tmp_path / "counts").read_bytes() == expected
    total = Counter(word for path in texts for word in path.read_bytes().split())
    best = sorted(total.items(), key=lambda item: (-item[1], item[0]))[:5]
    assert result.value == [[word.decode(errors="backslashreplace"), count] for word, count in best]
    assert result.counters == {"words": total.total()}


def test_wordcount_fast(engine: Any, texts: list[Path], tmp_path: Path) -> None:
    result = same_everywhere(FastWordCount(texts, top=5, out=tmp_path / "counts"), engine, "wordcount-fast")
    plain = run(WordCount(texts, top=5, out=tmp_path / "plain"), "inline")
    assert (tmp_path / "counts").read_bytes() == (tmp_path / "plain").read_bytes()
    assert (result.value, result.counters) == (plain.value, plain.counters)


def test_grep(engine: Any, texts: list[Path], tmp_path: Path) -> None:
    job = Grep("^[ab]+ |ghi$", texts, show=3, out=tmp_path / "found")
    result = same_everywhere(job, engine, "grep")
    expected = []
    for path in texts:
        lines = path.read_bytes().decode(errors="replace").split("\n")
        lines = lines if lines[-1] else lines[:-1]
        expected += [f"{path}:{n}:{line}" for n, line in enumerate(lines, 1) if re.search("^[ab]+ |ghi$", line)]
    assert (tmp_path / "found").read_bytes().decode().split("\n") == [*expected, ""]
    assert result.value == expected[:3]
    assert result.counters == {"matches": len(expected)} and len(expected) > 100


@pytest.mark.parametrize("part", [16 << 20, 200_000, 3000])
def test_sort_of_lines(engine: Any, texts: list[Path], tmp_path: Path, part: int) -> None:
    """With parts that fit in memory, and with such that have to be merged as streams."""
    same_everywhere(Sort(texts, out=tmp_path / "sorted", part=part), engine, f"sort-{part}")
    assert (tmp_path / "sorted").read_bytes() == shell("sort -- $@", *texts)


def test_sort_of_records_keeps_the_order_of_equal_keys(engine: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("records")
    rows = np.random.default_rng(6).integers(0, 5, (30_000, 20), dtype=np.uint8)
    (folder / "in").write_bytes(rows.tobytes())
    same_everywhere(Sort([folder / "in"], folder / "sorted", record=20, key=3, part=50_000), engine, "records")
    keys = (rows[:, 0].astype(int) * 5 + rows[:, 1]) * 5 + rows[:, 2]
    assert (folder / "sorted").read_bytes() == rows[np.argsort(keys, kind="stable")].tobytes()


def test_kmeans(engine: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    points = np.random.default_rng(7).normal(size=(140_000, 3)) + np.repeat(np.eye(3) * 4, [70_000, 40_000, 30_000], 0)
    path = tmp_path_factory.mktemp("kmeans") / "points.npy"
    np.save(path, points)
    result = same_everywhere(KMeans(path, k=3, rounds=30, tolerance=0, seed=3), engine, "kmeans")
    centres = points[np.sort(np.random.default_rng(3).choice(len(points), 3, replace=False))]
    for _ in range(30):
        squares = ((points[:, None] - centres) ** 2).sum(2)
        nearest = squares.argmin(1)
        centres = np.stack([points[nearest == k].mean(0) for k in range(3)])
    np.testing.assert_allclose(result.value["centres"], centres, rtol=1e-9)
    assert result.value["sizes"] == np.bincount(nearest).tolist()
    np.testing.assert_allclose(result.value["inertia"], squares.min(1).sum(), rtol=1e-9)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six images, and of two files that are none."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (60 + number, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes((folder / "0.png").read_bytes()[:500])
    (folder / "text.jpg").write_text("no image")
    return folder


def test_thumbnails(engine: Any, images: Path) -> None:
    small = images.with_name("small")  # pairs name the files, so every engine has to write the same ones
    shutil.rmtree(small, ignore_errors=True)
    result = same_everywhere(Thumbnails([images], small, size=32, format="png"), engine, "thumbnails")
    assert result.value["made"] == 6 and result.counters == {"unreadable": 2}
    assert sorted(Path(path).name for path in result.value["unreadable"]) == ["broken.png", "text.jpg"]
    assert sorted(path.name for path in small.iterdir()) == [f"{number}.png" for number in range(6)]
    for number in range(6):
        with Image.open(images / f"{number}.png") as image:
            image.thumbnail((32, 32))
            expected = np.asarray(image.convert("RGBA"))
        with Image.open(small / f"{number}.png") as image:
            np.testing.assert_array_equal(np.asarray(image), expected)


@pytest.mark.parametrize("job", [Walk(), Zoo(), Nothing()], ids=lambda job: type(job).__name__)
def test_what_the_plugins_do_not_use(engine: Any, job: Job) -> None:
    result = same_everywhere(job, engine, type(job).__name__)
    if isinstance(job, Walk):
        assert result.counters == {"drawn": 7000}
        assert [key for key, _ in sorted(result, key=lambda pair: pair[0])] == [0, 1, 2, 3]
    elif isinstance(job, Zoo):
        pairs = {(key, number): value for key, (number, value) in result}
        assert pairs["ant", 4] == 2**62 + 2 and pairs["zoo", 0] == (0, "é\n", None, 1.5, b"\xff")
        assert pairs["zoo", 5]["nested"] == [1, (2, 3)] and pairs["zoo", 5]["scratch"] == b"\xff"
    else:
        assert result.value == []


def test_the_seed_decides_what_is_random(engine: Any) -> None:
    first, again, other = (run(Walk(), engine, seed=seed) for seed in (1, 1, 2))
    assert fingerprint(first) == fingerprint(again) != fingerprint(other)
    assert fingerprint(run(Walk(), InlineEngine(), seed=1)) == fingerprint(first)


def test_a_file_that_goes_away_fails_the_job_by_name(engine: Any, tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("some words")
    job = Vanishing(path)
    if isinstance(engine, InlineEngine):
        with pytest.raises(FileNotFoundError, match=r"book\.txt"):
            run(job, engine)
    else:
        with pytest.raises(JobFailed, match=r"book\.txt"):
            run(job, engine)
