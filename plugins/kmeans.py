"""k-means: a job of rounds. The centres of a round are its shared state; its outputs make those of the next.

Lloyd's algorithm (Lloyd 1982, "Least squares quantization in PCM"), begun from rows drawn with the job's seed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from mapreduce import BadInput, Job, Param, Stage, check_files

ROWS = 1 << 16


@dataclass
class KMeans(Job):
    """Group the rows of a table of numbers around k centres."""

    points: Annotated[Path, Param(description=".npy (rows, columns) or .csv without header")]
    k: Annotated[int, Param(ge=1, description="number of centres")] = 8
    rounds: Annotated[int, Param(ge=1, description="at most so many rounds")] = 50
    tolerance: Annotated[float, Param(ge=0, description="end when no centre moves farther")] = 1e-6
    seed: int = 0

    def check(self):
        check_files([self.points])
        rows = len(load(self.points))
        if rows < self.k:
            raise BadInput(f"{self.points} has {rows} rows, too few for {self.k} centres")

    def next_stage(self, history):
        if not history:
            rows = load(self.points)
            count = len(rows)
            start = np.random.default_rng(self.seed).choice(len(rows), self.k, replace=False)
            centres, moved = rows[np.sort(start)].astype(np.float64), np.inf
        else:
            count = history.last.state
            centres, moved = self.centres(history.last.shared["centres"], history.last.outputs)
        if moved <= self.tolerance or len(history) == self.rounds:
            return None
        ranges = [(i, i + ROWS) for i in range(0, count, ROWS)]
        name, shared = f"round {len(history) + 1}", {"centres": centres}
        return Stage(ranges, name, shared=shared, state=count, reduces=min(self.k, 4))

    def map(self, split, ctx):
        rows = ctx.cached("rows", lambda: load(self.points))[slice(*split)].astype(np.float64)
        if not np.isfinite(rows).all():
            raise BadInput(f"{self.points} holds NaN or infinity in rows {split[0]} to {split[1]}")
        distance = np.stack([((rows - centre) ** 2).sum(1) for centre in ctx.shared["centres"]])
        nearest = distance.argmin(0)
        for k in np.unique(nearest):
            mine = nearest == k
            yield int(k), (rows[mine].sum(0), int(mine.sum()), float(distance[k, mine].sum()))

    def combine(self, k, values):
        return tuple(map(sum, zip(*values)))

    def reduce(self, k, values, ctx):
        yield k, self.combine(k, values)

    def finish(self, results, ctx):
        centres, _ = self.centres(ctx.shared["centres"], results)
        sizes = {k: count for k, (_, count, _) in results}
        inertia = sum(spread for _, (_, _, spread) in results)
        counts = [sizes.get(k, 0) for k in range(self.k)]
        return {"centres": centres.tolist(), "sizes": counts, "inertia": inertia}

    def centres(self, old, outputs):
        new = np.array(old)
        for k, (total, count, _) in outputs:
            new[k] = total / count
        return new, float(np.abs(new - old).max())


def load(path):
    try:
        if path.suffix == ".npy":
            rows = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            rows = np.loadtxt(path, delimiter=",", ndmin=2)
    except (ValueError, EOFError) as error:
        raise BadInput(f"{path} is not a table of numbers: {error}") from error
    if rows.ndim != 2 or rows.dtype.kind not in "iuf" or not rows.size:
        raise BadInput(f"{path} must hold (rows, columns) of numbers, not {rows.dtype} of shape {rows.shape}")
    return rows
