"""Dask bag: the collection that Dask has for text, on the cluster of peers/dask.py."""

from __future__ import annotations

import time

from . import common
from .dask import cluster, missing, version

__all__ = ["missing", "version", "wordcount"]


def wordcount(bytes: int, data: str) -> tuple[dict[str, float], str]:
    with common.Peak() as peak:
        begin = time.perf_counter()
        import dask.bag

        with cluster():
            words = dask.bag.read_text(data, blocksize=bytes // 16).str.split().flatten()
            counts = dict(words.frequencies().compute())
            seconds = time.perf_counter() - begin
    return {"seconds": seconds, "peak": peak.mebibytes}, common.word_digest(counts)
