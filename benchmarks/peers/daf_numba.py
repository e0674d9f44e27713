"""This library with the compiled twin of a plugin, where there is one."""

from __future__ import annotations

import time

from . import common
from .daf import engine, missing, version

__all__ = ["missing", "version", "wordcount"]


def wordcount(bytes: int, data: str) -> tuple[dict[str, float], str]:
    with common.Peak() as peak:
        begin = time.perf_counter()
        from mapreduce import run
        from plugins.wordcount_fast import FastWordCount, pairs

        with engine() as opened:
            result = run(FastWordCount([data], top=0), engine=opened)
            counts = {word.decode(): count for _, some in result for word, count in pairs(some)}
            seconds = time.perf_counter() - begin
    return {"seconds": seconds, "peak": peak.mebibytes}, common.word_digest(counts)
