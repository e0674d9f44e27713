"""`skip_bad` on every engine, with real processes: the result is that of a run without the bad splits."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest

from mapreduce import Job, JobFailed, run
from mapreduce.engines.local import LocalEngine
from tests.process.test_kills import bits

GOOD = ["to be", "or not", "to be"]


@dataclass
class Fussy(Job):
    """Counts words; chokes on some splits."""

    texts: list[str]
    die: bool = False

    def splits(self):
        return self.texts

    def map(self, split, ctx):
        ctx.count("texts")
        for word in split.split():
            yield word, 1
            if word == "bad":
                self.choke()

    def choke(self):
        if self.die:
            os._exit(9)
        raise ValueError("this text is bad")

    def reduce(self, key, values, ctx):
        yield key, sum(values)

    def finish(self, results, ctx):
        return dict(results)


@pytest.fixture(scope="module")
def local():
    with LocalEngine(2) as engine:
        yield engine


@pytest.mark.parametrize("kind", ["inline", "local"])
def test_the_result_is_that_of_a_run_without_the_bad_splits(kind, local):
    engine = local if kind == "local" else kind
    texts = [GOOD[0], "so bad", *GOOD[1:], "bad too"]
    result = run(Fussy(texts), engine, skip_bad=2)
    without = run(Fussy(GOOD), engine)
    assert bits(result) == bits(without)
    assert result.value == {"to": 2, "be": 2, "or": 1, "not": 1}
    assert result.counters == {"texts": 3}
    assert [(item.stage, item.task, item.type) for item in result.skipped] == [(0, n, "ValueError") for n in (1, 4)]
    assert result.skipped[0].input == "map 1: 'so bad'"
    assert "choke" in result.skipped[0].traceback
    assert "mapreduce/slot.py" not in result.skipped[0].traceback
    assert [item["task"] for item in result.to_dict()["skipped"]] == [1, 4]


@pytest.mark.parametrize("kind", ["inline", "local"])
def test_one_bad_split_too_many_fails_the_job(kind, local):
    error = ValueError if kind == "inline" else JobFailed
    with pytest.raises(error, match="this text is bad"):
        run(Fussy(["bad", *GOOD, "bad"]), local if kind == "local" else kind, skip_bad=1)


def test_a_split_that_kills_its_process_is_set_aside_too(local):
    seen = []
    result = run(Fussy([*GOOD, "bad"], die=True), local, skip_bad=5, on_update=seen.append)
    assert [(item.task, item.type) for item in result.skipped] == [(3, "ProcessExit")]
    assert seen[-1].bad == 1
    assert result.value == {"to": 2, "be": 2, "or": 1, "not": 1}
