"""Search text files for a pattern, with file names and line numbers.

A map task sees a range of a file and cannot know how many lines lie before it. So it sends, under the file's number,
how many lines its range has and which of them match; values reach `reduce` in map order, which is the order of the
ranges, and a running sum turns them into line numbers.
"""

import heapq
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

from mapreduce import BadInput, Job, Param, check_files, check_output, file_ranges, read_range


@dataclass
class Grep(Job):
    """Find the lines of text files that match a regular expression."""

    pattern: Annotated[str, Param(description="a regular expression of Python's re")]
    paths: Annotated[list[Path], Param(min_length=1, description="text files (UTF-8)")]
    ignore_case: Annotated[bool, Param(description="take upper and lower case as the same")] = False
    invert: Annotated[bool, Param(description="find the lines that do not match")] = False
    show: Annotated[int, Param(ge=0, description="how many matching lines to show")] = 1000
    out: Annotated[Path | None, Param(description="file for all matching lines")] = None

    def check(self):
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise BadInput(f"the pattern {self.pattern!r} is not a regular expression: {error}") from error
        check_files(self.paths)
        if self.out:
            check_output(self.out)

    def splits(self):
        for number, path in enumerate(self.paths):
            yield from ((number, part) for part in file_ranges([path]))

    def map(self, split, ctx):
        number, part = split
        search = re.compile(self.pattern, re.IGNORECASE if self.ignore_case else 0).search
        lines = read_range(part).decode(errors="replace").split("\n")
        if not lines[-1]:
            lines.pop()
        found = [(i, line) for i, line in enumerate(lines) if bool(search(line)) is not self.invert]
        ctx.count("matches", len(found))
        yield number, (len(lines), found)

    def reduce(self, number, ranges, ctx):
        before = 1
        for lines, found in ranges:
            yield from (((number, before + i), line) for i, line in found)
            before += lines

    def finish(self, results, ctx):
        def lines():
            for (number, line), text in heapq.merge(*map(results.partition, range(results.partitions))):
                yield f"{self.paths[number]}:{line}:{text}"

        if self.out:
            with ctx.artifact(self.out, "w") as file:
                file.writelines(line + "\n" for line in lines())
        return list(islice(lines(), self.show))
