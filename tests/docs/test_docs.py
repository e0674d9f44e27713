"""The docs are true: their code runs and prints what they say, their links lead somewhere, and what the command line
offers is described."""

from __future__ import annotations

import os
import re
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from mapreduce import errors
from mapreduce.working.limits import die_with_parent
from tests.docs.pages import Block, Command, Page, commands, matches

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PORT = "7077"  # in the docs; a test takes a free one instead
SECONDS = 120
GENERATE = runpy.run_path(str(ROOT / "docs/generate.py"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


class Dialogue:
    """A page's folder and the programs that its commands left running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.background: list[subprocess.Popen[bytes]] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = str(probe.getsockname()[1])
        bin_folder = str(Path(sys.executable).parent)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("DAF_")} | {
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "COLUMNS": "120",
            "DAF_COORDINATOR": f"tcp://127.0.0.1:{self.port}",
            "TERM": "dumb",
        }

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Runs a command; what it prints on either stream is its stdout, in order."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )

    def program(self, block: Block) -> str:
        path = self.folder / f"block_{block.line}.py"
        path.write_text(block.text.replace(PORT, self.port))
        done = self.run([sys.executable, str(path)])
        assert done.returncode == 0, f"line {block.line}: the program failed\n{done.stdout}"
        return done.stdout

    def command(self, command: Command, block: Block) -> None:
        line = command.line.replace(PORT, self.port)
        if line.endswith("&"):
            log = open(self.folder / f"background-{len(self.background)}.log", "wb")
            bash = ["bash", "-c", f"exec {line.rstrip('& ')}"]
            self.background.append(
                subprocess.Popen(
                    bash,
                    cwd=self.folder,
                    env=self.env,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=partial(die_with_parent, os.getpid()),  # also when the test run is killed
                )
            )
            log.close()
            return
        done = self.run(["bash", "-c", line])
        printed = done.stdout.replace(self.port, PORT)
        assert done.returncode == 0, f"line {block.line}: $ {line}\nexit status {done.returncode}\n{printed}"
        if command.expected.strip():
            assert matches(command.expected, printed), (
                f"line {block.line}: $ {line}\n--- printed\n{printed}--- the page says\n{command.expected}"
            )

    def close(self) -> None:
        for process in reversed(self.background):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.background:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def dialogue(tmp_path: Path) -> Iterator[Dialogue]:
    made = Dialogue(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_code_runs_and_prints_what_the_page_says(path: Path, dialogue: Dialogue) -> None:
    page = Page.read(path)
    for block, after in zip(page.blocks, [*page.blocks[1:], None]):
        if block.language == "python" and block.title:
            file = dialogue.folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text)
        elif block.language == "python":
            printed = dialogue.program(block)
            if after is not None and after.language == "text":
                assert matches(after.text, printed), f"line {block.line} prints\n{printed}"
        elif block.language == "console":
            for command in commands(block):
                dialogue.command(command, block)
        else:
            known = {"text", "sh", "yaml", "json", "ini", "toml", ""}
            assert block.language in known, f"line {block.line}: {block.language!r} is none of {sorted(known)}"


@pytest.mark.parametrize(("title", "lines"), [("words.py", 25), ("lloyd.py", 40)])
def test_the_first_examples_stay_short(title: str, lines: int) -> None:
    [block] = [block for block in Page.read(ROOT / "README.md").blocks if block.title == title]
    assert len(block.text.splitlines()) <= lines


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    for link in Page.read(path).links():
        if "://" in link or link.startswith("mailto:"):
            continue
        target, _, fragment = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        assert file.is_relative_to(ROOT), f"{link} leads out of the project"
        assert file.exists(), f"{link}: there is no {file}"
        if fragment and file.suffix == ".md":
            assert fragment in Page.read(file).anchors(), f"{link}: {file.name} has no such heading"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        path = todo.pop()
        if path in reached:
            continue
        reached.add(path)
        links = (link.partition("#")[0] for link in Page.read(path).links() if "://" not in link)
        todo += [found for link in links if link.endswith(".md") and (found := (path.parent / link).resolve()).exists()]
    assert {p for p in PAGES if p.suffix == ".md"} <= reached


def test_pages_that_the_code_speaks_of_exist() -> None:
    missing = {}
    for package in ("mapreduce", "plugins", "nerf_plugin", "bin", "tests", "benchmarks"):
        for path in (ROOT / package).rglob("*"):
            if path.suffix in {".py", ".sh"}:
                for page in re.findall(r"docs/[\w.-]+\.(?:md|svg|png)", path.read_text()):
                    if not (ROOT / page).exists():
                        missing[name(path)] = page
    assert not missing


@pytest.mark.parametrize("page", GENERATE["PAGES"])
def test_generated_pages_are_up_to_date(page: str) -> None:
    assert (ROOT / "docs" / page).read_text() == GENERATE["PAGES"][page](), "run: python docs/generate.py"


def test_every_option_is_described() -> None:
    silent = [f"{command} {option}" for command, option, text in GENERATE["options"]() if not text.strip()]
    assert not silent, "give these a help text"


def test_every_exit_code_is_documented() -> None:
    text = (ROOT / "docs/cli.md").read_text()
    classes = [errors.DafError]
    for found in classes:
        classes += found.__subclasses__()
    for found in classes:
        assert f"| {found.exit_code} |" in text, f"{found.__name__} has exit code {found.exit_code}"
