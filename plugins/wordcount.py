"""Word count: the first job type to read.

Words are what lies between white space, as bytes, so that the counts agree with

    tr -s '[:space:]' '\\n' < FILE | LC_ALL=C sort | uniq -c
"""

import heapq
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mapreduce import WORD, Job, Param, check_files, check_output, file_ranges, read_range

BLOCK = 1 << 16  # its words, as objects, fit a core's cache


@dataclass
class WordCount(Job):
    """Count the words of text files."""

    paths: Annotated[list[Path], Param(min_length=1, description="text files")]
    top: Annotated[int, Param(ge=0, description="how many of the most frequent words to show")] = 20
    out: Annotated[Path | None, Param(description="file for all words and counts, in the order of LC_ALL=C sort")] = (
        None
    )

    def check(self):
        check_files(self.paths)
        if self.out:
            check_output(self.out)

    def splits(self):
        return file_ranges(self.paths, 64 << 20)

    def map(self, split, ctx):
        path, start, stop = split
        counts = Counter()
        for at in range(start, stop, BLOCK):
            counts.update(read_range((path, at, min(at + BLOCK, stop)), WORD).split())
        ctx.count("words", counts.total())
        yield from counts.items()

    def combine(self, word, counts):
        return sum(counts)

    def reduce(self, word, counts, ctx):
        yield word, sum(counts)

    def finish(self, results, ctx):
        if self.out:
            with ctx.artifact(self.out) as file:
                for word, count in heapq.merge(*map(results.partition, range(results.partitions))):
                    file.write(b"%d %s\n" % (count, word))
        best = heapq.nsmallest(self.top, results, key=lambda item: (-item[1], item[0]))
        return [[word.decode(errors="backslashreplace"), count] for word, count in best]
