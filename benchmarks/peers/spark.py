"""PySpark with local[2]."""

from __future__ import annotations

import shutil
import time
from typing import Any

from . import common


def missing() -> str | None:
    return common.not_installed("pyspark") or (None if shutil.which("java") else "needs Java")


def version() -> str:
    return common.version_of("pyspark")


def session() -> Any:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(f"local[{common.WORKERS}]").config("spark.ui.enabled", "false")
    return builder.config("spark.driver.memory", "4g").config("spark.local.dir", str(common.scratch())).getOrCreate()


def start() -> tuple[dict[str, float], str]:
    begin = time.perf_counter()
    result = session().sparkContext.parallelize([7], 1).map(common.identity).collect()[0]
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "idle": common.tree_memory()}, common.digest(result)


def empty_tasks(n: int) -> tuple[dict[str, float], str]:
    context = session().sparkContext
    context.parallelize(range(10), 10).map(common.identity).sum()
    some = min(n, 2000)  # a partition a task; 20,000 would take ten minutes
    seconds, _ = common.timed(lambda: context.parallelize(range(some), some).map(common.identity).sum())
    return {"rate": some / seconds}, common.digest(sum(range(n)))


def round_trip(n: int) -> tuple[dict[str, float], str]:
    context = session().sparkContext
    some = min(n, 50)
    return common.round_trips(lambda x: context.parallelize([x], 1).map(common.identity).collect(), some), ""


def sort(records: int, data: str) -> tuple[dict[str, float], str]:
    out = common.scratch() / "sorted"
    with common.Peak() as peak:
        begin = time.perf_counter()
        session().read.text(data).sort("value").write.text(str(out))
        seconds = time.perf_counter() - begin
    with open(common.scratch() / "whole", "wb") as whole:  # Spark leaves its parts in files of their own
        for part in sorted(out.glob("part-*")):
            with open(part, "rb") as file:
                shutil.copyfileobj(file, whole)
    return {"seconds": seconds, "peak": peak.mebibytes}, common.file_digest(whole.name)


def wordcount(bytes: int, data: str) -> tuple[dict[str, float], str]:
    with common.Peak() as peak:
        begin = time.perf_counter()
        from pyspark.sql import functions as f

        words = session().read.text(data).select(f.explode(f.split("value", " ")).alias("word")).filter("word != ''")
        counts = {row["word"]: row["count"] for row in words.groupBy("word").count().collect()}
        seconds = time.perf_counter() - begin
    return {"seconds": seconds, "peak": peak.mebibytes}, common.word_digest(counts)
