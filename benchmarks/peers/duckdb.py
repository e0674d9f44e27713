"""DuckDB, two threads."""

from __future__ import annotations

import time

from . import common


def missing() -> str | None:
    return common.not_installed("duckdb")


def version() -> str:
    return common.version_of("duckdb")


def wordcount(bytes: int, data: str) -> tuple[dict[str, float], str]:
    query = (
        "select word, count(*) from (select unnest(string_split(line, ' ')) as word from "
        f"read_csv('{data}', header=false, delim='\x01', quote='', columns={{'line': 'varchar'}})) "
        "where word <> '' group by word"
    )
    with common.Peak() as peak:
        begin = time.perf_counter()
        import duckdb

        counts = duckdb.connect(config={"threads": common.WORKERS}).execute(query).fetchall()
        seconds = time.perf_counter() - begin
    return {"seconds": seconds, "peak": peak.mebibytes}, common.word_digest(dict(counts))
