"""Training on many machines, simulated: `python -m benchmarks.radiance.cluster_model DIARY [--gigabits 1 10]`.

DIARY is a folder, empty before this run, which leaves its diary there:

    daf run benchmarks/radiance/training.py:Training --dataset CAPTURE --diary DIARY --workers 1 > /dev/null

(see `training.py`); its measured rates are carried over: CPU seconds of a map
task by ray, of a reduce task by row, bytes of a packet by the share of voxels that a task's rays touch. What is
simulated is a round of W one-core workers on machines of `cores` each, with one network card a machine:

1. every worker's map task: its share of the photos and of the round's rays; nothing else runs;
2. packets to the reducers: a machine sends what its tasks made, less the part that stays, and receives its ranges;
3. the reduce tasks: one range of rows a worker;
4. new rows to everybody: a machine receives all rows that it did not make itself, and sends its own to each other
   machine (the engine has no multicast);
5. the engine's steps between them: `latency` three times (plan, map to reduce, reduce to plan).

Cards are full duplex and shared fairly, so a phase takes as long as the busiest direction of the busiest card; phases
do not overlap. The tail of a phase (uneven tasks) is `uneven` times its mean; map tasks differ by whole photos, too: of
a hundred, some of 32 workers have four. There are as many shards as workers. Two ways to fill a larger cluster are
compared: the same rounds cut finer, and rounds that grow with the cluster ("rays a round" times W / 4), where a job
of as many rays takes fewer rounds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nerf_plugin.harmonics import lanes, width
from nerf_plugin.kernels.update import BESIDE

from .scaling import rounds, total
from .training import read_diary

WORD = 0.2
"""A row's share of a brick's word."""
SPREAD = 0.75
"""How alike the rates are at which rays meet rows. Of a head with 1, 2, 4, 8 and 32 shards (917,504 rays a round) a map
task touches 77, 71, 61, 45 and 18 % of the rows; from the third this gives 83, 74, 45 and 18, equal rates 98, 85, 37
and 11."""


@dataclass(frozen=True)
class Rates:
    """What one core needs, and what a round is.

    rays: of a round. rows: of the level's grid. ray: CPU seconds of a map task by ray (packing is in it). row: CPU
    seconds of a reduce task by row of its range and packet. touched: share of all rows that one of `tasks` map tasks
    touches. latency: seconds between two phases. uneven: slowest task by mean task. numbers: of a row, 16, or 32 with
    harmonics of degree 2. photos: 0, if each number of workers can share them evenly.
    """

    rays: float
    rows: float
    ray: float
    row: float
    touched: float
    tasks: int
    latency: float
    uneven: float = 1.1
    numbers: int = 16
    photos: int = 0

    def longest(self, workers: int) -> float:
        """The slowest map task by the mean one."""
        return self.uneven * (-(-self.photos // workers) * workers / self.photos if self.photos else 1.0)

    @property
    def packet(self) -> float:
        """Bytes of a touched row in a packet."""
        return self.numbers + BESIDE + WORD

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of the grid."""
        return 2 * self.numbers


@dataclass(frozen=True)
class Cluster:
    """workers of one core each, on machines of `cores`; gigabits a second of each machine's card, each way."""

    workers: int
    cores: int = 4
    gigabits: float = 1.0

    @property
    def machines(self) -> int:
        return -(-self.workers // self.cores)


@dataclass(frozen=True)
class Round:
    """Seconds of the phases of one round, and the bytes that the busiest machine receives."""

    map: float
    packets: float
    reduce: float
    rows: float
    latency: float
    received: float

    @property
    def seconds(self) -> float:
        return self.map + self.packets + self.reduce + self.rows + self.latency


def touched(rates: Rates, workers: int, growth: float) -> float:
    """Share of the rows that one worker's rays touch.

    If rays met all rows alike, it would be 1 - exp(-rate * rays). They meet some far more often than others; with rates
    that follow a gamma distribution it is 1 - (1 + rays / scale) ** -SPREAD (the zero class of the negative binomial).
    The scale follows from what is measured for a round cut into `rates.tasks`.
    """
    ratio = growth * rates.tasks / workers
    untouched = 1 - min(rates.touched, 1 - 1e-9)
    return float(1 - (1 + ratio * (untouched ** (-1 / SPREAD) - 1)) ** -SPREAD)


def simulate(rates: Rates, cluster: Cluster, growth: float = 1.0) -> Round:
    """One round with `growth` times the rays."""
    workers, machines = cluster.workers, cluster.machines
    rate = cluster.gigabits * 125e6
    away = (machines - 1) / machines
    share = touched(rates, workers, growth)
    packets = share * rates.rows * rates.packet
    sent = packets * min(workers, cluster.cores) * away
    received = packets * workers / machines * away
    own = rates.rows * rates.row_bytes / machines
    rows_in, rows_out = rates.rows * rates.row_bytes * away, own * (machines - 1)
    return Round(
        map=rates.longest(workers) * rates.ray * rates.rays * growth / workers,
        packets=max(sent, received) / rate,
        reduce=rates.uneven * rates.row * rates.rows / workers * max(1.0, share * workers),
        rows=max(rows_in, rows_out) / rate,
        latency=3 * rates.latency,
        received=received + rows_in,
    )


def speedup(rates: Rates, cluster: Cluster, growth: float = 1.0) -> float:
    """Rays a second, against one worker without a network."""
    alone = simulate(replace(rates, uneven=1.0), Cluster(1, 1, cluster.gigabits))
    return growth * alone.seconds / simulate(rates, cluster, growth).seconds


def measured(folder: Path, latency: float) -> Rates:
    """The rates of a run's last level, in CPU time. Packing is in a map task's time."""
    diary = read_diary(folder)
    found = rounds(diary)
    last = [one for one in found if one["level"] == found[-1]["level"]]
    count, first = len(last), last[0]
    maps, rows = int(first["maps"]), first["live"]
    rays = sum(line.get("rays", 0) for line in diary if line.get("level") == first["level"]) / count
    rates = Rates(
        rays=rays,
        rows=rows,
        ray=total(last, "map_kernel") / count / rays,
        row=0.0,
        touched=0.0,
        tasks=maps,
        latency=latency,
        numbers=width(2 if first["values"] > len(lanes(1)) else 1),
    )
    share = total(last, "map_bytes") / count / (maps * rows * rates.packet)
    row = total(last, "reduce_kernel") / count / rows / max(1.0, maps * share)
    return replace(rates, row=row, touched=share)


def table(rates: Rates, gigabits: Sequence[float], workers: Sequence[int]) -> str:
    """Markdown: seconds of the phases, MB that a machine receives, and speed-ups."""
    lines = [
        "| card, Gbit/s | workers | machines | rays a round | map, ms | packets, ms | reduce, ms | rows, ms | round, s "
        "| MB in a machine | speed-up | of the ideal |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for speed in gigabits:
        for count in workers:
            for growth in dict.fromkeys((1.0, max(1.0, count / rates.tasks), max(1.0, 4 * count / rates.tasks))):
                cluster = Cluster(count, gigabits=speed)
                one, factor = simulate(rates, cluster, growth), speedup(rates, cluster, growth)
                phases = " | ".join(f"{1e3 * x:,.0f}" for x in (one.map, one.packets, one.reduce, one.rows))
                lines.append(
                    f"| {speed:g} | {count} | {cluster.machines} | {rates.rays * growth / 1e3:,.0f} k | {phases} "
                    f"| {one.seconds:.2f} | {one.received / 1e6:,.0f} | {factor:.1f} | {100 * factor / count:.0f} % |"
                )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("diary", type=Path, help="folder of a run's diary")
    parser.add_argument("--gigabits", type=float, nargs="*", default=[1.0, 10.0])
    parser.add_argument("--workers", type=int, nargs="*", default=[4, 8, 32, 100])
    parser.add_argument("--latency", type=float, default=3.0, help="milliseconds between two phases of a round")
    parser.add_argument("--photos", type=int, default=100, help="of the capture")
    chosen = parser.parse_args()
    rates = replace(measured(chosen.diary, chosen.latency / 1e3), photos=chosen.photos)
    print(
        f"{rates.rays:,.0f} rays a round, {rates.rows:,.0f} rows; {1e6 * rates.ray:.2f} us a ray, "
        f"{1e9 * rates.row:.1f} ns a row and packet; a map task touches {100 * rates.touched:.0f} % of the rows; "
        f"{1e3 * rates.latency:.1f} ms between phases\n"
    )
    print(table(rates, chosen.gigabits, chosen.workers))


if __name__ == "__main__":
    main()
