"""What a task can ask of the engine: the `Context` of `job.py`, as every engine gives it."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import shuffle
from .allowance import allowance
from .artifacts import ArtifactFile, open_artifact
from .job import StageResult
from .wire import codec

if TYPE_CHECKING:
    import numpy as np

    from .drafts import Draft
    from .tasks import Env, LoadedStage

PLAN, MAP, REDUCE, FINISH = range(4)


class TaskContext:
    """The `Context` that tasks are given."""

    def __init__(self, env: Env, kind: int, task: int, stage: LoadedStage | StageResult | None, number: int):
        self.job, self.stage, self.task = env.job_id, number, task
        self.shared: Mapping[str, Any] = {} if stage is None else stage.shared
        self.state = None if stage is None else stage.state
        self._stage_cache = {} if stage is None or isinstance(stage, StageResult) else stage.cache
        self.counters: dict[str, int] = {}
        self.artifacts: list[tuple[str, str, int]] = []
        self._env = env
        self._kind = kind
        self._rng: Any = None
        self._scratch: Path | None = None
        self.draft: Draft | None = None

    @property
    def rng(self) -> Any:
        if self._rng is None:
            import numpy as np

            key = np.random.SeedSequence([self._env.seed, self.stage, self._kind, self.task])
            self._rng = np.random.Generator(np.random.Philox(key))
        return self._rng

    def count(self, name: str, n: int = 1) -> None:
        self.counters[name] = self.counters.get(name, 0) + int(n)

    def progress(self, done: float, total: float = 1.0, note: str = "") -> None:
        self._env.report(float(done), float(total), note)

    def cached(self, key: str, make: Callable[[], Any], scope: str = "job") -> Any:
        cache = self._env.cache if scope == "job" else self._stage_cache
        if key not in cache:
            cache[key] = make()
        return cache[key]

    def empty(self, shape: int | tuple[int, ...], dtype: Any = "float64") -> np.ndarray:
        import numpy as np

        env, kind, shape = self._env, np.dtype(dtype), shape if isinstance(shape, tuple) else (shape,)
        size = math.prod(shape) * kind.itemsize
        placed = size >= codec.LARGE and self._kind in (MAP, REDUCE) and env.store.pool.usable
        if placed and allowance.allows(size):
            if self.draft is None:
                expected = env.sizes.get(self._kind, size)
                self.draft = env.store.draft(self.job, self.stage, self._kind, expected, env.waiting)
            array = self.draft.empty(shape, kind)
            if array is not None:
                return array
        return np.empty(shape, kind)

    def final(self, part: np.ndarray) -> None:
        if self.draft is not None:
            self.draft.final(part)

    def weigh(self, value: Any) -> int:
        """About how many bytes a value holds that the task has yielded."""
        if self.draft is not None:
            self.draft.taken(value)
        return shuffle.weight(value)

    def wrote(self, size: int) -> None:
        """The task's output is complete, and has so many bytes: the next one will need as many, and as much room for
        its arrays."""
        if self.draft is not None:
            self._env.sizes[self._kind] = max(size, self.draft.wanted)

    @contextmanager
    def artifact(self, path: str | Path, mode: str = "wb") -> Iterator[ArtifactFile]:
        self._env.roots.check(path, "artifact")
        with open_artifact(Path(path), mode) as file:
            yield file
        if self._kind == FINISH:
            self.keep(file.record())

    def keep(self, artifact: Any) -> None:
        path, digest, size = artifact
        self.artifacts.append((str(path), digest, size))

    def scratch(self) -> Path:
        if self._scratch is None:
            self._env.scratch.mkdir(parents=True, exist_ok=True)
            self._scratch = Path(tempfile.mkdtemp(dir=self._env.scratch))
        return self._scratch

    def close(self) -> None:
        if self.draft is not None:
            self.draft.close()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
