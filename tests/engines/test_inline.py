"""The inline engine, and through it tasks.py: stages, shared state, counters, artifacts, randomness, and what errors
say."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mapreduce.engines.inline import InlineEngine
from mapreduce.job import Context, History, Job, Outputs, Stage


@dataclass
class Squares(Job):
    """Sum of squares by parity."""

    numbers: list[int] = field(default_factory=lambda: list(range(10)))

    def splits(self) -> Iterable[list[int]]:
        return [self.numbers[:5], self.numbers[5:]]

    def map(self, split: list[int], ctx: Context) -> Iterable[Any]:
        ctx.count("seen", len(split))
        for n in split:
            yield n % 2, n * n

    def combine(self, key: int, values: list[int]) -> int:
        return sum(values)

    def reduce(self, key: int, values: list[int], ctx: Context) -> Iterable[Any]:
        yield key, sum(values)

    def finish(self, results: Outputs, ctx: Context) -> Any:
        return dict(results)


def test_map_combine_reduce_finish() -> None:
    result = InlineEngine().run(Squares())
    assert result.value == {0: 120, 1: 165}
    assert dict(result) == {0: 120, 1: 165}
    assert result.counters == {"seen": 10}


@dataclass
class Rounds(Job):
    """Three rounds; each adds 1 to a shared array and hands a list on unread."""

    rounds: int = 3
    size: int = 5000

    def next_stage(self, history: History) -> Stage | None:
        if len(history) == self.rounds:
            return None
        last = history.last
        shared = (
            {"x": np.zeros(self.size), "first": None} if last is None else {"x": last.outputs, "first": last.outputs}
        )
        if last is not None and last.shared["first"] is not None:
            shared["first"] = last.shared["first"]
        return Stage([0, 1], f"round {len(history)}", map=self.add, reduces=2, shared=shared, state=len(history))

    def add(self, split: int, ctx: Context) -> Iterable[Any]:
        x = ctx.shared["x"]
        array = x if isinstance(x, np.ndarray) else dict(x)[split]
        if ctx.shared["first"] is not None:
            assert dict(ctx.shared["first"])[split][0] == 1
        yield split, array + 1

    def finish(self, results: Outputs, ctx: Context) -> Any:
        return [float(array.sum()) for _, array in results]


def test_rounds_hand_their_outputs_on_as_shared_state() -> None:
    assert InlineEngine().run(Rounds()).value == [15000.0, 15000.0]


def test_a_job_without_stages_still_finishes() -> None:
    result = InlineEngine().run(Rounds(rounds=0))
    assert result.value == [] and list(result) == []


def test_rounds_leave_no_more_behind_than_one_round() -> None:
    def files(result: Any) -> list[str]:
        return [name for _, _, names in os.walk(result._keep.path) for name in names]

    few, many = InlineEngine().run(Rounds(rounds=3)), InlineEngine().run(Rounds(rounds=12))
    assert len(files(few)) == len(files(many))


@dataclass
class Dice(Job):
    """Random numbers from ctx.rng."""

    seed: int = 7

    def splits(self) -> Iterable[int]:
        return range(3)

    def map(self, split: int, ctx: Context) -> Iterable[Any]:
        yield split, int(ctx.rng.integers(2**40))


def test_randomness_depends_on_seed_stage_and_task_and_on_nothing_else() -> None:
    first, again, other = (dict(InlineEngine().run(Dice(seed=seed))) for seed in (7, 7, 8))
    assert first == again and len(set(first.values())) == 3
    assert not set(first.values()) & set(other.values())


@dataclass
class Files(Job):
    """Artifacts from map and from finish."""

    out: Path = Path()

    def splits(self) -> Iterable[int]:
        return range(2)

    def map(self, split: int, ctx: Context) -> Iterable[Any]:
        (ctx.scratch() / "temporary").write_text("gone")
        with ctx.artifact(self.out / f"{split}.txt", "w") as file:
            file.write(f"part {split}\n")
        yield split, file.record()

    def finish(self, results: Outputs, ctx: Context) -> Any:
        for _, record in results:
            ctx.keep(record)
        with ctx.artifact(self.out / "all.txt", "w") as file:
            file.write("all\n")


def test_artifacts_of_map_and_finish_are_listed_with_their_hashes(tmp_path: Path) -> None:
    result = InlineEngine().run(Files(tmp_path))
    assert sorted(a.path.name for a in result.artifacts) == ["0.txt", "1.txt", "all.txt"]
    assert sorted(os.listdir(tmp_path)) == ["0.txt", "1.txt", "all.txt"]
    assert all(len(a.sha256) == 64 and a.size == a.path.stat().st_size for a in result.artifacts)
    assert not list(Path(result._keep.path).rglob("temporary"))


def test_ctx_cached_lives_for_the_job_or_for_the_stage() -> None:
    made: list[str] = []

    @dataclass
    class Cached(Rounds):
        def add(self, split: int, ctx: Context) -> Iterable[Any]:
            ctx.cached("a", lambda: made.append("job"))
            ctx.cached("a", lambda: made.append("stage"), scope="stage")
            return super().add(split, ctx)

    InlineEngine().run(Cached())
    assert made.count("job") == 1 and made.count("stage") == 3


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (Stage([1], map="nothing"), "map must be a method of Bad, not 'nothing'"),
        (Stage([1], reduces=0), "reduces must be at least 1"),
        ("no stage", "must return a Stage or None, not a str"),
        (Stage([object()]), "builtins.object cannot be sent"),
    ],
)
def test_a_broken_stage_is_named(stage: Any, message: str) -> None:
    @dataclass
    class Bad(Job):
        def next_stage(self, history: History) -> Any:
            return stage

    with pytest.raises((TypeError, ValueError), match=message):
        InlineEngine().run(Bad())


def test_a_job_that_defines_nothing_is_told_what_to_define() -> None:
    @dataclass
    class Empty(Job):
        pass

    with pytest.raises(TypeError, match=r"Empty must define splits\(\)"):
        InlineEngine().run(Empty())


def test_only_the_last_stage_is_kept_in_history() -> None:
    @dataclass
    class Greedy(Rounds):
        def next_stage(self, history: History) -> Stage | None:
            return (
                Stage([1], map=self.add, shared={"x": np.zeros(1), "first": None}) if len(history) < 2 else history[0]
            )

        def add(self, split: int, ctx: Context) -> Iterable[Any]:
            yield 1, 1

    with pytest.raises(IndexError, match="only the last committed stage"):
        InlineEngine().run(Greedy())


def test_what_a_killed_run_left_is_deleted_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
        import os
        from mapreduce.engines.inline import InlineEngine
        from tests.engines.test_inline import Squares
        InlineEngine().run(Squares(), on_update=lambda update: os.kill(os.getpid(), 9))
    """
    environ = os.environ | {"DAF_DATA_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=environ)
    assert killed.returncode == -9
    (left,) = tmp_path.iterdir()
    monkeypatch.setenv("DAF_DATA_DIR", str(tmp_path))
    result = InlineEngine().run(Squares())
    (mine,) = tmp_path.iterdir()
    assert mine != left and not left.exists()
    assert dict(result) == {0: 120, 1: 165}
    del result
    assert not mine.exists()
