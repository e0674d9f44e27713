"""Many captures, one job: their avatars are made side by side, and one that cannot be made leaves the others alone.

Each face is a `Nerf` job of its own that never learns it is not alone. A stage of the batch is its faces' stages
laid side by side: the splits of all of them, their partitions one after another, their shared state under the
face's name. So single tasks (laying a grid, packing an atlas) of several faces run at once, a round costs the engine
once for all faces, and each face's files are those of `daf run nerf` on its data set alone, bit for bit: its splits,
keys and partitions come in the same order, and its context (`FaceContext`) shows it its own state, counters and caches.

    split      (place of the face among those at work, number of its task, its split)
    map key    (partition, 0 for a failure or 1, the face's key)

A task that finds its face impossible (a damaged photo, an empty field) hands a failure to each of the face's
partitions instead of raising it; `next_stage` reads it and goes on without that face. What may pass another time (a
full disk, a lost blob, a crash) is left to the engine, which tries again, and fails the job when that does not help.

Faces are at work `together` at a time, in waves. All of a wave take their steps at once, so what one stage leaves is
let go as a whole, and the memory of a batch does not grow with the number of its faces.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from mapreduce import BadInput, Context, DafError, History, Job, Outputs, Param, Stage, StageResult, check_output
from nerf_plugin.job import Nerf
from nerf_plugin.options import AvatarOptions
from nerf_plugin.stages.surface import follow

FAILED = "this face failed"
NAMED = 4
"""Faces that a line of progress names at most of each kind."""
MILLISECONDS = "milliseconds"
VERDICTS = (BadInput, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, AssertionError)
"""What the same task on the same data would raise again; other errors of `mapreduce` are never a verdict on a face."""

Run = dict[str, Any]
"""One face at work, as plain data in the stage's state: name, path, the names of the methods of its stage (map,
partition, reduce), base and parts (its partitions), index and state (of its own last stage)."""


@dataclass
class NerfBatch(AvatarOptions, Job):
    """Make avatars of many captures side by side, as one job.

    Each capture gets a folder in OUT with the files that `daf run nerf` makes of it; OUT/batch.json says how each
    fared. A capture that cannot be used is reported with the reason, and the others are finished.
    """

    name: ClassVar[str] = "nerf-batch"
    version: ClassVar[str] = "5"

    datasets: Annotated[list[Path], Param(min_length=1, description="captures, or folders of captures")]
    out: Annotated[Path, Param(description="folder for the results, one folder a capture")] = Path("avatars")
    together: Annotated[int, Param(ge=1, le=64, description="captures at work (and in memory) at a time")] = 4

    # ----------------------------------------------------------------------------------------------------- the input

    def check(self) -> None:
        """Find the captures and look at each; the batch is refused when none of them can be used."""
        captures = self.captures()
        check_output(self.out / "batch.json")
        problems = []
        for name, path in captures.items():
            try:
                self.face(name, path).check()
            except BadInput as error:
                problems.append(f"  {name}: {error}")
        if len(problems) == len(captures):
            raise BadInput("\n".join([f"none of {len(captures)} captures can be used:", *problems]))

    def captures(self) -> dict[str, Path]:
        """The captures by name, in order; those in folders sorted by name. Raises BadInput."""
        from nerf_plugin.datasets import recognise

        found: dict[str, Path] = {}
        for path in self.datasets:
            if not path.exists():
                raise BadInput(f"{path} does not exist; give captures, or folders of captures")
            for place in [path] if recognise(path) else self.inside(path):
                name = place.stem if place.is_file() else place.resolve().name
                if name in found:
                    raise BadInput(f"{found[name]} and {place} would both be {self.out / name}; rename one of them")
                found[name] = place
        return found

    def inside(self, folder: Path) -> list[Path]:
        """The folders in a folder of captures. Leaves out results, and the poses found for photos beside them."""
        from nerf_plugin.datasets.plain import POSED

        children = {child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")}
        posed = {child.with_name(child.name + POSED) for child in children}
        found = sorted(child for child in children - posed if child.resolve() != self.out.resolve())
        if not found:
            raise BadInput(f"{folder} is no capture and has no folders of captures in it")
        return found

    @cached_property
    def known(self) -> dict[str, Face]:
        """The faces at work, as jobs; they remember their capture."""
        return {}

    def face(self, name: str, path: str | Path) -> Face:
        """The job of one face."""
        if name not in self.known:
            options = {f.name: getattr(self, f.name) for f in fields(AvatarOptions)}
            self.known[name] = Face(dataset=Path(path), out=self.out / name, **options)
        return self.known[name]

    # ------------------------------------------------------------------------------------------------------- planning

    def next_stage(self, history: History) -> Stage | None:
        last = history.last
        if last is None:
            waiting = [[name, str(path)] for name, path in self.captures().items()]
            book: dict[str, Any] = {"waiting": waiting, "total": len(waiting), "rows": {}, "running": []}
        else:
            book = dict(last.state, rows=dict(last.state["rows"]))
        if book.pop("over", False):
            return None
        shared = {} if last is None else {key: last.shared[key] for key in last.shared if key.startswith("written ")}
        if any(run["state"]["phase"] == "files" for run in book["running"]):
            assert last is not None
            shared[f"written {len(shared)}"] = last.outputs
        steps = [(run, self.step(run, last, book["rows"])) for run in book["running"]]
        going = [(run, stage) for run, stage in steps if stage is not None]
        while not going and book["waiting"]:
            wave, book["waiting"] = book["waiting"][: self.together], book["waiting"][self.together :]
            steps = [(run, self.step(run, None, book["rows"])) for run in ({"name": n, "path": p} for n, p in wave)]
            going = [(run, stage) for run, stage in steps if stage is not None]
        if not going:
            state = book | {"running": [], "over": True}
            return Stage([], "summary", reduces=1, shared=shared, state=state, share=(1.0, 1.0))
        return self.side_by_side(going, book, shared)

    def step(self, run: Run, last: StageResult | None, rows: dict[str, Any]) -> Stage | None:
        """The next stage of one face, or None when it has ended; then its row says how."""
        name = run["name"]
        row: dict[str, Any] = {"dataset": run["path"], "status": "failed", "psnr": None, "mesh_psnr": None}
        seconds = 0.0
        try:
            face = self.face(name, run["path"])
            if last is None:
                face.check()
                stage = face.next_stage(History(0, None))
            else:
                result = result_of(run, last)
                seconds = result.counters.get(MILLISECONDS, 0) / 1000
                if result.counters.get(FAILED):
                    raise BadInput(next(reason for key, reason in result.outputs if key == FAILED))
                stage = face.next_stage(History(run["index"] + 1, result))
                if stage is None:
                    row |= dict(result.outputs)["value"] | {"status": "done"}
        except VERDICTS as error:
            rows[name] = row | {"seconds": seconds, "error": reason_of(error)}
            return None
        if stage is None:
            rows[name] = row | {"seconds": seconds, "error": None}
        return stage

    def side_by_side(self, going: list[tuple[Run, Stage]], book: dict[str, Any], shared: dict[str, Any]) -> Stage:
        """One stage out of several."""
        splits: list[Any] = []
        running: list[Run] = []
        base = 0
        for place, (run, stage) in enumerate(going):
            splits += [(place, task, split) for task, split in enumerate(stage.splits)]
            shared |= {f"{run['name']}: {key}": value for key, value in stage.shared.items()}
            methods = {role: method_name(getattr(stage, role)) for role in ("map", "partition", "reduce")}
            running.append(
                {"name": run["name"], "path": run["path"], "index": run.get("index", -1) + 1, "state": stage.state}
                | {"base": base, "parts": stage.reduces}
                | methods
            )
            base += stage.reduces
        total = book["total"]
        begin, end = going[0][1].share or (0.0, 0.0)
        ended = total - len(book["waiting"]) - len(going)
        return Stage(
            splits,
            tale([(run["name"], stage.name) for run, stage in going], book["rows"], total),
            reduces=base,
            shared=shared,
            state=book | {"running": running},
            share=((ended + begin * len(going)) / total, (ended + end * len(going)) / total),
        )

    # -------------------------------------------------------------------------------------------------------- running

    def map(self, split: tuple[int, int, Any], ctx: Context) -> Iterator[tuple[tuple[int, int, Any], Any]]:
        """One map task of one face; a failure goes to all of the face's partitions."""
        place, task, inner = split
        face, run, view = self.enter(place, task, ctx)
        partition, base, parts = getattr(face, run["partition"]), run["base"], run["parts"]
        try:
            with view.clock():
                for key, value in getattr(face, run["map"])(inner, view) or ():
                    yield (base + partition(key, parts), 1, key), value
        except VERDICTS as error:
            reason = reason_of(error)
            view.count(FAILED)
            for number in range(base, base + parts):
                yield (number, 0, ""), reason

    def partition(self, key: tuple[int, int, Any], partitions: int) -> int:
        """The key says."""
        return key[0]

    def reduce(self, key: tuple[int, int, Any], values: Iterable[Any], ctx: Context) -> Iterator[tuple[Any, Any]]:
        """One key of one face; failures sort before all keys of their partition, and nothing comes after one."""
        number, kind, inner = key
        ended = ctx.cached("ended", dict, scope="stage")  # by partition: the attempt that met the failure
        if ended.get(number) is ctx:
            return
        runs = ctx.state["running"]
        place = next(i for i, run in enumerate(runs) if run["base"] <= number < run["base"] + run["parts"])
        face, run, view = self.enter(place, number - runs[place]["base"], ctx)
        try:
            if kind == 0:
                ended[number] = ctx
                yield FAILED, next(iter(values))
                return
            with view.clock():
                yield from getattr(face, run["reduce"])(inner, values, view) or ()
        except VERDICTS as error:
            reason = reason_of(error)
            ended[number] = ctx
            view.count(FAILED)
            yield FAILED, reason

    def enter(self, place: int, task: int, ctx: Context) -> tuple[Face, Run, FaceContext]:
        """One face with its view of the context; what this process kept of faces that have ended is let go."""
        caches = ctx.cached("caches", dict)
        names = {run["name"] for run in ctx.state["running"]}
        for kept in (caches, self.known):
            for name in kept.keys() - names:
                del kept[name]
        run = ctx.state["running"][place]
        return self.face(run["name"], run["path"]), run, FaceContext(ctx, run, task, caches)

    def finish(self, results: Outputs, ctx: Context) -> dict[str, Any]:
        """Write batch.json; the value is its rows by name. Raises BadInput when no face could be made."""
        rows = ctx.state["rows"]
        if all(row["status"] == "failed" for row in rows.values()):
            reasons = [f"  {name}: {row['error']}" for name, row in rows.items()]
            raise BadInput("\n".join([f"none of {len(rows)} captures could be made an avatar:", *reasons]))
        for written in ctx.shared.values():
            for key, value in written:
                for artifact in value if key == "artifacts" else ():
                    ctx.keep(artifact)
        with ctx.artifact(self.out / "batch.json") as file:
            file.write((json.dumps({"format": 1, "faces": rows}, indent=2, ensure_ascii=False) + "\n").encode())
        return dict(rows)


class Face(Nerf):
    """The job of one face: that of its data set alone, with one more stage in which a task writes its files."""

    def next_stage(self, history: History) -> Stage | None:
        last = history.last
        if last is None or last.state["phase"] != "files":
            stage = super().next_stage(history)
            if stage is not None or last is None:
                return stage
            return replace(follow(last, "files", [0], self.write, results=last.outputs), share=(1.0, 1.0))
        return None

    def write(self, split: int, ctx: Context) -> Iterator[tuple[str, Any]]:
        """Map: the face's files, its value, and the records of the files."""
        value = self.finish(ctx.shared["results"], ctx)
        assert isinstance(ctx, FaceContext)
        yield "value", value
        yield "artifacts", ctx.written


class FaceContext:
    """What a task of one face sees: its own shared state, counters and caches; the rest is the batch's."""

    def __init__(self, ctx: Context, run: Run, task: int, caches: dict[str, dict[str, Any]]):
        self._ctx, self._name, self._cache = ctx, run["name"], caches.setdefault(run["name"], {})
        self.job, self.stage, self.task = ctx.job, run["index"], task
        self.shared: Mapping[str, Any] = Scoped(ctx.shared, f"{run['name']}: ")
        self.state = run["state"]
        self.written: list[Any] = []

    @property
    def rng(self) -> Any:
        return self._ctx.rng

    def count(self, name: str, n: int = 1) -> None:
        self._ctx.count(f"_{self._name}: {name}", n)

    def progress(self, done: float, total: float = 1.0, note: str = "") -> None:
        self._ctx.progress(done, total, f"{self._name}: {note}" if note else "")

    def cached(self, key: str, make: Any, scope: Literal["job", "stage"] = "job") -> Any:
        if scope == "stage":
            return self._ctx.cached(f"{self._name}: {key}", make, scope)
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]

    def empty(self, shape: int | tuple[int, ...], dtype: Any = "float64") -> Any:
        return self._ctx.empty(shape, dtype)

    def final(self, part: Any) -> None:
        self._ctx.final(part)

    @contextmanager
    def artifact(self, path: str | Path, mode: str = "wb") -> Iterator[Any]:
        with self._ctx.artifact(path, mode) as file:
            yield file
        self.keep(file.record())

    def keep(self, artifact: Any) -> None:
        self.written.append(artifact)

    def scratch(self) -> Path:
        return self._ctx.scratch()

    @contextmanager
    def clock(self) -> Iterator[None]:
        """Count the processor time of the block for this face."""
        start = time.process_time()
        try:
            yield
        finally:
            self.count(MILLISECONDS, round(1000 * (time.process_time() - start)))


class Scoped(Mapping[str, Any]):
    """The entries of a mapping whose names begin with a prefix, under the rest of their names."""

    def __init__(self, whole: Mapping[str, Any], prefix: str):
        self._whole, self._prefix = whole, prefix
        self._names = [name.removeprefix(prefix) for name in whole if name.startswith(prefix)]

    def __getitem__(self, name: str) -> Any:
        return self._whole[self._prefix + name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def result_of(run: Run, last: StageResult) -> StageResult:
    """What a committed stage of the batch left of one face."""
    prefix = f"{run['name']}: "
    span = range(run["base"], run["base"] + run["parts"])
    outputs = Outputs([partial(last.outputs.partition, i) for i in span], [last.outputs.refs[i] for i in span])
    counters = Scoped(last.counters, f"_{prefix}")
    return StageResult(last.name, run["index"], run["state"], Scoped(last.shared, prefix), outputs, counters)


def tale(going: list[tuple[str, str]], rows: dict[str, Any], total: int) -> str:
    """How the faces fare, in a line for people: "1 of 4 done, 1 failed (bob); ann, eve: round 3 of 40"."""
    failed = [name for name, row in rows.items() if row["status"] == "failed"]
    steps: dict[str, list[str]] = {}
    for name, step in going:
        steps.setdefault(step, []).append(name)
    ended = f"{len(rows) - len(failed)} of {total} done" + (
        f", {len(failed)} failed ({some(failed)})" if failed else ""
    )
    return "; ".join([ended, *(f"{some(names)}: {step}" for step, names in steps.items())])


def some(names: list[str]) -> str:
    """The names, or the first few and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def method_name(method: Any) -> str:
    """A method's name, from the method or the name itself."""
    return method if isinstance(method, str) else str(method.__name__)


def reason_of(error: Exception) -> str:
    """Why a face failed, for people. Raises the error when it is no verdict on the face but the library's trouble."""
    if isinstance(error, DafError) and not isinstance(error, BadInput):
        raise error
    return str(error) if isinstance(error, BadInput) else f"{type(error).__name__}: {error}"
