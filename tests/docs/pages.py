"""Markdown pages as a list of things that can be run.

The word after a fence says what a block is:

- `python` is a program. It runs by itself in the page's folder; a `text` block right after it is what it prints.
- `python title=words.py` is a file: it is written into the page's folder, for later blocks to use. It does not run.
- `console` is a dialogue. Each line that begins with `$ ` runs in bash, in the page's folder; the lines below it, up to
  the next one, are what it prints (nothing: anything goes). A command ending in `&` runs until the page ends.
- `sh` is for reading: commands that need what a test has not.

In expected output a line `...` stands for any lines, `…` within a line for any text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"^(```+|~~~+)[ ]*(\S*)[ ]*(.*)$")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|<(?:img|a)[^>]*?(?:src|href)=\"([^\"]+)\"")


@dataclass
class Block:
    """A fenced block: its language, what follows it on the line, its text, and the line number where it begins."""

    language: str
    info: str
    text: str
    line: int

    @property
    def title(self) -> str:
        found = re.search(r"title=(\S+)", self.info)
        return found[1] if found else ""


@dataclass
class Page:
    """A Markdown file, split into its blocks and the prose around them."""

    path: Path
    blocks: list[Block] = field(default_factory=list)
    prose: str = ""

    @classmethod
    def read(cls, path: Path) -> Page:
        page = cls(path)
        prose: list[str] = []
        lines = iter(enumerate(path.read_text(encoding="utf-8").splitlines(), 1))
        for number, line in lines:
            opened = FENCE.match(line)
            if not opened:
                prose.append(line)
                continue
            body = []
            for _, inner in lines:
                if inner.strip() == opened[1]:
                    break
                body.append(inner)
            else:
                raise ValueError(f"{path}:{number}: the fence is never closed")
            page.blocks.append(Block(opened[2], opened[3], "\n".join(body) + "\n", number))
            prose.append("")
        page.prose = "\n".join(prose)
        return page

    def links(self) -> list[str]:
        text = re.sub(r"`[^`\n]*`", "", self.prose)
        return [a or b for a, b in LINK.findall(text)]

    def anchors(self) -> set[str]:
        """What `#fragment` may name: the headings as GitHub spells them."""
        headings = re.findall(r"^#+\s+(.+?)\s*#*$", self.prose, re.M)
        return {re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-") for heading in headings}


@dataclass
class Command:
    """One `$` line of a dialogue and what it is said to print."""

    line: str
    expected: str


def commands(block: Block) -> list[Command]:
    found: list[Command] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], ""))
        elif found and found[-1].line.endswith("\\") and not found[-1].expected:
            found[-1].line += "\n" + line
        elif found:
            found[-1].expected += line + "\n"
        elif line.strip():
            raise ValueError(f"line {block.line}: a console block begins with a line that begins with '$ '")
    return found


def matches(expected: str, printed: str) -> bool:
    """Whether `printed` is what the page says, up to white space at the ends of lines."""
    pattern = ""
    for line in tidy(expected).splitlines():
        if line.strip() in {"...", "…"}:
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += ".*?".join(re.escape(part) for part in line.split("…")) + r"\n"
    return re.fullmatch(pattern, tidy(printed)) is not None


def tidy(text: str) -> str:
    text = "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")
    return f"{text}\n" if text else ""
