"""Workers run only the job types, and use only the folders, that their operator declared."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

import mapreduce
from mapreduce.client import Client
from mapreduce.errors import BadInput, JobFailed
from mapreduce.roots import Roots
from mapreduce.tasks import unpack_value
from mapreduce.wire import messages as m
from tests.coordinator.running import coordinator
from tests.worker.scripted import Coordinator, start_worker


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """in/ is a root with links that lead in and out; out/ is none."""
    for name in ("in", "out", "in-not"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "book.txt").write_text("to be or not to be\n")
    (tmp_path / "in/out-link").symlink_to(tmp_path / "out")
    (tmp_path / "in/file-link").symlink_to("../out/book.txt")
    (tmp_path / "in/loop").symlink_to("loop")
    (tmp_path / "in/itself").symlink_to(".")
    (tmp_path / "in-link").symlink_to("in")
    return tmp_path


@pytest.mark.parametrize(
    "path", ["in", "in/book.txt", "in/not/there/yet", "in-link/book.txt", "in/itself/itself/book.txt", "out/../in/x"]
)
def test_inside(tree: Path, path: str) -> None:
    Roots((tree / "in",)).check(tree / path, "file")
    Roots((str(tree / "in-link"),)).check(tree / path, "file")


@pytest.mark.parametrize(
    "path",
    ["out/book.txt", "in/../out/book.txt", "in/out-link/book.txt", "in/file-link", "in/out-link/new", "in-not/book.txt",
     ".", "/", "/etc/passwd", "in/itself/../out/book.txt"],
)  # fmt: skip
def test_outside(tree: Path, path: str) -> None:
    with pytest.raises(BadInput, match=r"^file .* is outside the folders .*/in;"):
        Roots((tree / "in",)).check(tree / path, "file")


def test_a_loop_of_links_is_not_inside(tree: Path) -> None:
    with pytest.raises(BadInput, match=r"^file "):
        Roots((tree / "in",)).check(tree / "in/loop/x", "file")


def test_no_roots_contain_everything(tree: Path) -> None:
    Roots().check("/etc/passwd", "file")


def test_a_root_has_to_be_a_folder(tree: Path) -> None:
    with pytest.raises(BadInput, match=r"book.txt is not a folder"):
        Roots((tree / "in/book.txt",))


def test_parameters_are_searched_to_the_bottom(tree: Path) -> None:
    @dataclass
    class Deep(mapreduce.Job):
        here: Path
        many: dict[str, list[tuple[int, Path]]] = field(default_factory=dict)
        maybe: Path | None = None

    roots = Roots((tree / "in",))
    good, bad = tree / "in/book.txt", tree / "out/book.txt"
    roots.check_parameters(Deep(good, {"a": [(1, good)]}, good))
    for job in (Deep(bad), Deep(good, {"a": [(1, good), (2, bad)]}), Deep(good, maybe=bad)):
        with pytest.raises(BadInput, match=r"parameter '(here|many|maybe)' of deep: .*out/book.txt is outside"):
            roots.check_parameters(job)


@contextmanager
def worker(start: Any, *options: str | Path) -> Iterator[Client]:
    """A client of a coordinator with one real worker."""
    with coordinator() as daf, Client(daf.endpoint) as client:
        start(daf.endpoint, "--slots", "1", *options, program="daf-worker", stderr=None)
        deadline = time.monotonic() + 30
        while not client.workers():
            assert time.monotonic() < deadline
        yield client


def words(client: Client, path: Path, **more: Any) -> Any:
    packed = msgspec.msgpack.encode({"paths": [str(path)], **more})
    return unpack_value(client.wait(client.submit("wordcount", packed), timeout=60).value)[0]


def test_a_worker_with_roots(start: Any, tree: Path) -> None:
    with worker(start, "--roots", tree / "in") as client:
        assert dict(words(client, tree / "in/book.txt"))["to"] == 2
        for path in ("out/book.txt", "in/file-link", "in/../out/book.txt"):
            with pytest.raises(JobFailed, match=r"parameter 'paths' of wordcount: .*is outside the folders"):
                words(client, tree / path)


def test_an_artifact_stays_in_the_roots(start: Any, tree: Path) -> None:
    """Also one whose path is no parameter but made by the job type."""
    (tree / "writer.py").write_text(
        "from dataclasses import dataclass\nfrom mapreduce import Job\n@dataclass\nclass Writer(Job):\n"
        "    '''Write.'''\n    path: str\n    def splits(self): return [1]\n    def map(self, split, ctx): yield 1, 1\n"
        "    def finish(self, results, ctx):\n        with ctx.artifact(self.path) as file: file.write(b'x')\n"
    )
    with worker(start, "--roots", tree / "in", "--plugins", tree / "writer.py") as client:

        def write(path: Path) -> None:
            client.wait(client.submit("writer", msgspec.msgpack.encode({"path": str(path)})), timeout=60)

        write(tree / "in/made/new")
        assert (tree / "in/made/new").read_bytes() == b"x"
        for path in ("out/new", "in/out-link/new"):
            with pytest.raises(JobFailed, match=r"artifact .*new.* is outside the folders"):
                write(tree / path)
        assert not (tree / "out/new").exists()


def test_a_worker_offers_and_runs_only_its_types(start: Any, tree: Path) -> None:
    with worker(start, "--types", "sort,grep", "--types", "kmeans") as client:
        assert sorted(client.workers()[0].plugins) == ["grep", "kmeans", "sort"]


def test_an_assignment_of_another_type_is_refused(tmp_path: Path) -> None:
    """A coordinator that lies about what was offered does not get it run."""
    scripted = Coordinator(f"ipc://{tmp_path}/c")
    process = start_worker(scripted.endpoint, tmp_path / "data", types=("sort",))
    try:
        offered = scripted.welcome()
        assert list(offered.plugins) == ["sort"]
        scripted.send(m.StageInfo(1, 0, "wordcount", b"\x81\xa5paths\x90", 0, "", b"", 0, 0, None, (), ()))
        scripted.send(m.Assign(1, 0, 0, ((0, 1),)))
        failed = scripted.receive(m.Failed)
        assert "runs sort and nothing else, so not wordcount" in failed.error.message
    finally:
        process.kill()
        process.wait()
        scripted.close()


def test_a_root_that_is_not_there_is_said(daf: Any, tree: Path) -> None:
    done = daf("--roots", tree / "nowhere", program="daf-worker")
    assert done.returncode == 2 and "nowhere" in done.stderr
