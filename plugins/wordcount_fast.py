"""Word count, compiled: the same words and counts as `wordcount`, with arrays instead of a key a word.

A map task counts its range of the mapped file in one kernel and yields, under the number of a partition, all words that
belong there as three arrays; a reduce task adds such arrays up in another. The kernels are in `words.py`; the first run
on a machine compiles them, which takes some ten seconds, and later runs load them from disk.
"""

from dataclasses import dataclass

import numpy as np

from mapreduce import WORD, map_range

from .wordcount import WordCount


@dataclass
class FastWordCount(WordCount):
    """Count the words of text files with compiled kernels."""

    name = "wordcount-fast"
    preload = ("plugins.loadedwords",)
    combine = None

    def map(self, split, ctx):
        from . import words  # loads Numba: only where tasks run

        text = np.frombuffer(map_range(split, WORD), np.uint8)
        table = words.count(text)
        ctx.count("words", int(table[:, words.COUNT].sum()))
        yield from words.cut(text, table, self.reduces)

    def reduce(self, part, some, ctx):
        from . import words

        yield part, words.merge(list(some))

    def finish(self, results, ctx):
        from . import words

        every = text, lengths, counts = words.merge([some for _, some in results])
        if self.out:
            with ctx.artifact(self.out) as file:
                file.writelines(b"%d %s\n" % (count, word) for word, count in pairs(every))
        ends, best = np.cumsum(lengths), np.argsort(-counts, kind="stable")[: self.top]
        shown = [text[ends[i] - lengths[i] : ends[i]].tobytes().decode(errors="backslashreplace") for i in best]
        return [[word, int(count)] for word, count in zip(shown, counts[best])]


def pairs(words):
    """(word, count), in turn, of the arrays that this job's partitions hold."""
    text, end = words[0].tobytes(), 0
    for length, count in zip(words[1].tolist(), words[2].tolist(), strict=True):
        begin, end = end, end + length
        yield text[begin:end], count
