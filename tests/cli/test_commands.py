"""Help, plugins, completion, exit codes: what the command says of itself."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import pytest

from mapreduce import errors
from mapreduce.cli.main import COMMANDS
from mapreduce.cli.main import daf as group
from tests.cli.conftest import ENVIRONMENT, Daf


def test_help_imports_nothing_heavy() -> None:
    program = """
        import sys
        from mapreduce.cli.main import daf
        try:
            daf(["--help"])
        except SystemExit as end:
            assert end.code == 0
        heavy = {"numpy", "numba", "zmq", "rich", "psutil", "PIL", "msgspec", "plugins", "nerf_plugin", "sqlite3"}
        print(sorted(heavy & set(sys.modules)), file=sys.stderr)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, env=ENVIRONMENT, timeout=60
    )
    assert done.stderr.strip() == "[]"
    assert "Run a job and wait for its result." in done.stdout


def test_the_coordinator_program_imports_neither_numpy_nor_plugins() -> None:
    program = """
        import sys, mapreduce.cli.coordinator, mapreduce.coordinator
        print(sorted({"numpy", "numba", "PIL", "plugins", "nerf_plugin", "mapreduce.plugins"} & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_the_table_of_exit_codes_is_that_of_the_errors() -> None:
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.DafError)]
    codes = {each.exit_code for each in classes}
    assert codes <= set(errors.EXIT_CODES)
    assert set(errors.EXIT_CODES) - codes == {0, 130, 141}
    rows = {line.split()[1]: line for line in (errors.__doc__ or "").splitlines() if line.startswith("| ")}
    for each in classes:
        if each.exit_code != 1:
            assert f"`{each.__name__}`" in rows[str(each.exit_code)]


def test_help_lists_every_exit_code(daf: Daf) -> None:
    text = daf("--help").stdout
    assert all(f"  {code} " in text and meaning in text for code, meaning in errors.EXIT_CODES.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_help_that_the_table_says(name: str) -> None:
    command = group.get_command(click.Context(group), name)
    assert command is not None and command.name == name
    assert command.get_short_help_str(200).rstrip(".").startswith(COMMANDS[name][1].rstrip(".").split(",")[0][:20])


def test_a_misspelled_command_is_answered_with_the_right_one(daf: Daf) -> None:
    done = daf("rnu", "wordcount")
    assert done.returncode == 2 and "there is no command 'rnu'; did you mean 'run'?" in done.stderr


def test_version(daf: Daf) -> None:
    from mapreduce import __version__

    assert daf("--version").stdout.strip() == f"daf {__version__}"
    for program in ("daf-coordinator", "daf-worker"):
        assert daf("--version", program=program).stdout.strip() == f"{program} {__version__}"


def test_plugins_are_listed_with_parameters(daf: Daf) -> None:
    done = daf("plugins", "wordcount", "sort")
    assert done.returncode == 0
    assert "wordcount 0" in done.stdout and "top = 20: an integer >= 0; how many" in done.stdout
    about = json.loads(daf("plugins", "wordcount", "--json").stdout)["plugins"][0]
    assert about["schema"]["properties"]["top"]["default"] == 20 and about["error"] is None


def test_a_broken_plugin_is_listed_with_its_error_beside_the_others(daf: Daf, tmp_path: Path, slow: Path) -> None:
    (tmp_path / "bad.py").write_text("from mapreduce import Job\nclass Bad(Job):\n    '''Bad.'''\n1 / 0\n")
    done = daf("-p", "bad.py", "-p", slow, "plugins")
    assert done.returncode == 0
    assert "BROKEN: plugin 'bad'" in done.stdout and "ZeroDivisionError" in done.stdout
    assert "slow file-" in done.stdout and "naps: an integer" in done.stdout
    named = daf("-p", "bad.py", "plugins", "bad")
    assert named.returncode == 9 and "BROKEN" in named.stdout
    assert daf("plugins", "wordcuont").returncode == 2


def test_commands_of_plugins_are_added_and_broken_ones_are_named(daf: Daf, tmp_path: Path) -> None:
    """Two distributions: one with a good command, one with a broken one. Neither touches the other, nor daf."""
    for name, code in {
        "hello": "import click\n\n@click.command()\ndef hello():\n    '''Say hello.'''\n    click.echo('hi')\n",
        "sorry": "import click\n\nraise RuntimeError('out of order')\n",
    }.items():
        (tmp_path / f"its_{name}.py").write_text(code)
        info = tmp_path / f"its_{name}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: its-{name}\nVersion: 1.5\n")
        points = f"{name} = its_{name}:{name}\nrun = its_{name}:run\n"
        (info / "entry_points.txt").write_text(f"[mapreduce.commands]\n{points}")
    path = {"PYTHONPATH": str(tmp_path)}
    text = daf("--help", **path).stdout
    assert "hello  Say hello." in text and "sorry  (its-sorry 1.5, its_sorry:sorry)" in text
    assert daf("hello", **path).stdout == "hi\n"
    done = daf("sorry", "--any", "thing", **path)
    assert done.returncode == 9
    assert "command 'sorry' (its-sorry 1.5" in done.stderr and "RuntimeError: out of order" in done.stderr
    assert "Run a job" in daf("run", "--help", **path).stdout
    assert "BROKEN: command 'sorry'" in daf("plugins", **path).stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("daf r", ["run"]),
        ("daf run word", ["wordcount", "wordcount-fast"]),
        ("daf run wordcount --t", ["--top"]),
        ("daf run thumbnails --format p", ["png"]),
        ("daf run wordcount ", ["file"]),
        ("daf run my", ["file"]),
    ],
)
def test_completion(daf: Daf, words: str, expected: list[str]) -> None:
    parts = words.split(" ")
    done = daf(_DAF_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(len(parts) - 1))
    found = [line.partition(",") for line in done.stdout.splitlines()]
    assert [kind if kind == "file" else value for kind, _, value in found] == expected


def test_completion_works_with_a_broken_plugin(daf: Daf, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("from mapreduce import Job\nclass Wordbad(Job):\n    pass\n1 / 0\n")
    done = daf(_DAF_COMPLETE="bash_complete", COMP_WORDS="daf run word", COMP_CWORD="2", DAF_PLUGINS="bad.py")
    assert done.stdout.split() == ["plain,wordbad", "plain,wordcount", "plain,wordcount-fast"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_of_each_shell(daf: Daf, shell: str) -> None:
    done = daf("completion", shell)
    assert done.returncode == 0 and f"_DAF_COMPLETE={shell}_complete" in done.stdout
