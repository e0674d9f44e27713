"""`daf run`: results, options from the dataclass, and every wrong way to call it."""

from __future__ import annotations

import hashlib
import subprocess
import textwrap
from pathlib import Path

import pytest

from tests.cli.conftest import Daf, one_object


@pytest.mark.parametrize("engine", ["inline", "local"])
def test_a_result_is_text_on_stdout(daf: Daf, book: Path, engine: str) -> None:
    done = daf("run", "wordcount", book, "--top", "2", "--engine", engine)
    assert (done.returncode, done.stdout) == (0, "the\t3\nand\t2\n")
    assert "wordcount: done in" in done.stderr and "8 words" in done.stderr


def test_json_is_one_object_with_everything(daf: Daf, book: Path, tmp_path: Path) -> None:
    done = daf("run", "wordcount", "book.txt", "--top", "1", "--out", "counts.txt", "--workers", "1", "--json")
    about = one_object(done.stdout)
    data = (tmp_path / "counts.txt").read_bytes()
    assert (about["status"], about["value"], about["counters"]) == ("done", [["the", 3]], {"words": 8})
    assert about["artifacts"] == [
        {"path": str(tmp_path / "counts.txt"), "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    ]
    assert about["metrics"]["seconds"] > 0


FUSSY = """
    from dataclasses import dataclass
    from mapreduce import Job


    @dataclass
    class Fussy(Job):
        texts: list[str]

        def splits(self):
            return self.texts

        def map(self, split, ctx):
            if split == "bad":
                raise ValueError("this text is bad")
            yield split, 1
"""


@pytest.mark.parametrize("engine", ["inline", "local"])
def test_splits_that_were_set_aside_are_named_at_the_end(daf: Daf, tmp_path: Path, engine: str) -> None:
    (tmp_path / "fussy.py").write_text(textwrap.dedent(FUSSY))
    command = ("run", "fussy.py", "to", "bad", "be", "--engine", engine)
    done = daf(*command, "--skip-bad", "1")
    assert (done.returncode, sorted(done.stdout.split("\n"))) == (0, ["", "be\t1", "to\t1"])
    assert "1 split was set aside; the result is without them" in done.stderr
    assert "map 1: 'bad': ValueError: this text is bad" in done.stderr and "fussy.py" in done.stderr
    assert "1 set aside" in done.stderr.splitlines()[-1]
    about = one_object(daf(*command, "--skip-bad", "1", "--json", "--quiet").stdout)
    assert [(item["task"], item["message"]) for item in about["skipped"]] == [(1, "this text is bad")]
    assert daf(*command).returncode == 4


def test_quiet_leaves_stderr_alone(daf: Daf, book: Path) -> None:
    assert daf("run", "wordcount", book, "--engine", "inline", "--quiet").stderr == ""


def test_help_shows_the_docstring_and_every_parameter(daf: Daf) -> None:
    text = daf("run", "thumbnails", "--help").stdout
    assert "Make small copies of images." in text and "PATHS..." in text
    assert "--format [jpeg|png|webp]" in text and "[default: jpeg]" in text
    assert "--size INTEGER" in text and "longest side in pixels" in text and "[default: 256]" in text
    assert "--engine [inline|local|tcp://HOST:PORT]" in text
    flags = daf("run", "grep", "--help").stdout
    assert "--ignore-case / --no-ignore-case" in flags and "[default: no]" in flags


def test_a_file_of_ones_own_runs(daf: Daf, slow: Path) -> None:
    done = daf("run", "slow.py", "4", "--workers", "2")
    assert (done.returncode, done.stdout) == (0, "nap\t6\n")
    assert daf("run", f"{slow}:Slow", "4", "--engine", "inline").stdout == "nap\t6\n"
    assert "Sleep, and count the naps." in daf("run", "slow.py", "--help").stdout
    assert daf("--plugins", "slow.py", "run", "slow", "3", "--engine", "inline").stdout == "nap\t3\n"


def test_every_type_of_field_has_its_option(daf: Daf, tmp_path: Path) -> None:
    (tmp_path / "many.py").write_text(
        textwrap.dedent(
            """
            import enum
            from dataclasses import dataclass, field
            from pathlib import Path
            from typing import Literal
            from mapreduce import Job

            class Colour(enum.Enum):
                RED = "red"
                BLUE = "blue"

            @dataclass
            class Many(Job):
                first: str
                paths: list[Path]
                last: int
                on: bool = True
                mode: Literal["a", "b"] = "a"
                colour: Colour = Colour.RED
                tags: list[str] = field(default_factory=list)
                table: dict[str, int] = field(default_factory=dict)
                pair: tuple[int, int] = (1, 2)
                maybe: float | None = None
                workers: int = 0

                def splits(self):
                    return [0]

                def map(self, split, ctx):
                    yield 0, 0

                def finish(self, results, ctx):
                    mode, colour = self.mode, self.colour.value
                    names = [path.name for path in self.paths]
                    return [self.first, names, self.last, self.on, mode, colour, self.tags, self.table, list(self.pair),
                            self.maybe, self.workers]
            """
        )
    )
    plain = daf("run", "many.py", "x", "p", "q", "7", "--json", "--engine", "inline")
    assert one_object(plain.stdout)["value"] == ["x", ["p", "q"], 7, True, "a", "red", [], {}, [1, 2], None, 0]
    options = "--no-on --mode b --colour blue --tags t --tags u --pair [3,4] --maybe 2 --job-workers 5".split()
    full = daf("run", "many.py", "x", "p", "7", *options, "--table", '{"k": 1}', "--json", "--engine", "inline")
    assert one_object(full.stdout)["value"] == [
        "x", ["p"], 7, False, "b", "blue", ["t", "u"], {"k": 1}, [3, 4], 2.0, 5,
    ]  # fmt: skip
    for wrong, words in {
        ("--mode", "c"): "must be one of a, b, not 'c'",
        ("--table", "{"): "must be JSON",
        ("--table", '{"k": "v"}'): "must be a mapping",
        ("--maybe", "x"): "must be a number or nothing, not 'x'",
    }.items():
        done = daf("run", "many.py", "x", "p", "7", *wrong, "--engine", "inline")
        assert done.returncode == 2 and f"Invalid value for '{wrong[0]}'" in done.stderr and words in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["wordcuont", "book.txt"], 2, "there is no job type 'wordcuont'; did you mean wordcount or wordcount-fast?"),
        (["nix.py"], 2, "there is no file 'nix.py'"),
        (["book.txt"], 2, "there is no job type 'book.txt'"),
        (["wordcount"], 2, "Missing argument 'PATHS...'"),
        (["wordcount", "nix.txt"], 3, "there is no file nix.txt"),
        (["wordcount", "."], 3, "is a folder; name the files in it"),
        (["wordcount", "book.txt", "--top", "many"], 2, "'--top': must be an integer >= 0, not 'many'"),
        (["wordcount", "book.txt", "--top", "-1"], 2, "'--top': must be an integer >= 0, not '-1'"),
        (["wordcount", "book.txt", "--topp", "1"], 2, "No such option"),
        (["wordcount", "book.txt", "--engine", "lokal"], 2, "there is no engine 'lokal'"),
        (["wordcount", "book.txt", "--engine", "inline", "--workers", "2"], 2, "the local engine takes a number"),
        (["wordcount", "book.txt", "--engine", "tcp://127.0.0.1"], 2, "there is no engine 'tcp://127.0.0.1'"),
        (["grep", "a[", "book.txt"], 3, "is not a regular expression"),
        (["slow.py", "2000"], 3, "nobody is that tired"),
        (["slow.py:Fast", "2"], 2, "does not define a class 'Fast'; it has Slow"),
        (["sort", "book.txt", "--out", "book.txt/out"], 3, "is not a folder"),
    ],
)
def test_a_wrong_call_gets_one_clear_error(
    daf: Daf, book: Path, slow: Path, args: list[str], code: int, words: str
) -> None:
    done = daf("run", *args)
    assert done.returncode == code
    assert words in done.stderr and "Traceback" not in done.stderr and done.stdout == ""
    failed = daf("run", *args, "--json")
    about = one_object(failed.stdout)
    assert about["status"] == "failed" and failed.returncode == done.returncode == about["error"]["exit_code"]
    assert words.split(";")[0] in about["error"]["message"]


@pytest.mark.parametrize("engine", ["inline", "local"])
def test_a_job_that_fails_says_where(daf: Daf, slow: Path, engine: str) -> None:
    args = ["run", "slow.py", "2", "--fail", "--engine", engine]
    done = daf(*args)
    assert done.returncode == 4
    assert "RuntimeError: woken from nap" in done.stderr and "slow.py" in done.stderr and "in map" in done.stderr
    assert "mapreduce/tasks.py" not in done.stderr
    about = one_object(daf(*args, "--json").stdout)
    assert about["status"] == "failed" and about["error"]["type"] == "JobFailed"
    assert "woken from nap" in about["error"]["message"]


def test_a_broken_plugin_shows_its_own_traceback(daf: Daf, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("from mapreduce import Job\nimport no_such_module\nclass Bad(Job):\n    pass\n")
    done = daf("run", "bad.py")
    assert done.returncode == 9
    assert "bad.py" in done.stderr and "No module named 'no_such_module'" in done.stderr
    assert "importlib" not in done.stderr


def test_debug_shows_the_traceback(daf: Daf) -> None:
    assert "Traceback" in daf("--debug", "run", "wordcount", "nix.txt").stderr
    assert "Traceback" in daf("run", "wordcount", "nix.txt", DAF_DEBUG="1").stderr


def test_a_reader_that_goes_away_is_no_error(book: Path, start: object) -> None:
    book.write_text("x\n" * 200_000)
    process = start("run", "grep", "x", book, "--show", "200000", "--engine", "inline", "-q")  # type: ignore[operator]
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr.read() == ""
    program = "from mapreduce.cli.exits import guarded; guarded(lambda: print(1))"
    at_the_end = start("-c", program, program="python")  # type: ignore[operator]
    at_the_end.stdout.close()
    assert at_the_end.wait(60) == 141
    assert at_the_end.stderr.read() == ""


def test_a_full_disk_is_said(daf: Daf, book: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    with open("/dev/full", "w") as full:
        command = ["run", "wordcount", str(book), "--engine", "inline", "-q"]
        from tests.cli.conftest import BIN, ENVIRONMENT

        done = subprocess.run([BIN / "daf", *command], stdout=full, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert done.returncode == 1 and "No space left on device" in done.stderr and "Traceback" not in done.stderr


def test_the_seed_reaches_the_job(daf: Daf, tmp_path: Path) -> None:
    (tmp_path / "dice.py").write_text(
        textwrap.dedent(
            """
            from dataclasses import dataclass
            from mapreduce import Job

            @dataclass
            class Dice(Job):
                def splits(self):
                    return range(3)

                def map(self, split, ctx):
                    yield split, int(ctx.rng.integers(1_000_000))
            """
        )
    )
    first, again, other = (daf("run", "dice.py", "--engine", "inline", "--seed", n).stdout for n in "112")
    assert first == again != other
    assert daf("run", "dice.py", "--engine", "local", "--seed", "1").stdout == first
