"""Polars, two threads."""

from __future__ import annotations

import os
import time

from . import common


def missing() -> str | None:
    return common.not_installed("polars")


def version() -> str:
    return common.version_of("polars")


def wordcount(bytes: int, data: str) -> tuple[dict[str, float], str]:
    os.environ["POLARS_MAX_THREADS"] = str(common.WORKERS)
    with common.Peak() as peak:
        begin = time.perf_counter()
        import polars

        frame = polars.scan_csv(data, has_header=False, separator="\x01", quote_char=None, new_columns=["line"])
        counts = (
            frame.select(polars.col("line").str.split(" ").explode().alias("word"))
            .filter(polars.col("word") != "")
            .group_by("word")
            .len()
            .collect()
        )
        seconds = time.perf_counter() - begin
    return {"seconds": seconds, "peak": peak.mebibytes}, common.word_digest(dict(counts.iter_rows()))
