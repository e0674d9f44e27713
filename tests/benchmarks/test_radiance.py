"""The radiance benchmarks measure what they say: the twin is the same algorithm, diaries add up, the model obeys."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.radiance import ablate, scaling, twin
from benchmarks.radiance.cluster_model import Cluster, Rates, measured, simulate, speedup, touched
from nerf_plugin.datasets import load
from nerf_plugin.training import PRESETS
from nerf_plugin.training.local import train
from nerf_plugin.training.tasks import parts_of
from tests.nerf_plugin.captures import ball

RATES = Rates(rays=128e3, rows=9e5, ray=2.4e-6, row=3.3e-8, touched=0.24, tasks=4, latency=3e-3)


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ball(tmp_path_factory.mktemp("ball"))


@pytest.mark.skipif(twin.compiler() is None, reason="no g++")
def test_the_twin_computes_the_same_and_a_difference_is_noticed(capture: Path, tmp_path: Path) -> None:
    train(load(capture, "train"), PRESETS["draft"].scaled(0.1)).save(tmp_path / "field.daf")
    work = twin.work_of(str(capture), str(tmp_path / "field.daf"))
    library = twin.compiled(tmp_path)
    alive, grads, out = twin.ours(work)(True)
    other = twin.twin(work, library)(True)
    assert alive > 1000 and np.abs(grads).max() > 0
    assert twin.check((alive, grads, out), other) < twin.TOLERANCE
    with pytest.raises(twin.Differs, match="gradients"):
        twin.check((alive, grads * 1.01, out), other)
    with pytest.raises(twin.Differs, match="pictures"):
        twin.check((alive, grads, out + 0.01), other)


def test_one_and_two_workers_leave_the_same_rows_and_a_diary(capture: Path, tmp_path: Path) -> None:
    figures, _ = scaling.measure(str(capture), "draft", 0.05, tmp_path)
    diary = scaling.rounds(scaling.read_diary(tmp_path / "1-0"))
    assert len(diary) == PRESETS["draft"].scaled(0.05).rounds
    for one in diary:
        assert one["maps"] == 4 and one["reduces"] == parts_of(PRESETS["draft"], int(one["live"]))
        assert 0 < one["kernel"] <= one["tasks"] <= one["wall"]
        assert one["kernel"] <= one["own"] <= one["wall"] - one["diary"] and one["diary"] > 0
        assert one["reduce_bytes"] == 32 * one["live"] <= 32 * one["dense"]
    assert figures["dense"] > figures["live"] > 0 and 0 < figures["overhead"] < 100 and figures["ceiling"] > 0
    rates = measured(tmp_path / "1-0", 2e-3)
    assert rates.rows == diary[-1]["live"] and 0 < rates.touched <= 1 and rates.ray > 0 and rates.row > 0
    lines = [line | {"values": 28} if "values" in line else line for line in scaling.read_diary(tmp_path / "1-0")]
    (tmp_path / "wide").mkdir()
    (tmp_path / "wide/diary.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    wide = measured(tmp_path / "wide", 2e-3)
    assert (wide.row_bytes, rates.row_bytes) == (64, 32) and wide.touched < 0.6 * rates.touched


def test_an_ablation_trains_with_what_it_was_told(capture: Path) -> None:
    levels = ["16,4,2048", "24,4,4096"]
    one, dark = (
        ablate.measure(str(capture), ablate.settings_of("draft", 1.0, levels, changes, True), photos=1)
        for changes in (["hull_resolution=24"], ["hull_resolution=24", "rate_color=1e-9"])
    )
    assert one["dB"] > dark["dB"] + 0.5 and 0 < one["rays"] < 4 * 6144 * 1.2 and one["rows"] > 0
    calm = ablate.settings_of("draft", 0.5, [], ["seed=7"], masks=False)
    assert calm.shells and calm.exposure and calm.seed == 7 and calm.rounds == PRESETS["draft"].scaled(0.5).rounds
    with pytest.raises(ValueError, match="'levels' is no number"):
        ablate.settings_of("draft", 1.0, [], ["levels=3"], masks=True)


def test_each_round_counts_as_it_went_best() -> None:
    first, second = [{"wall": 2.0, "kernel": 1.0}, {"wall": 1.0, "kernel": 0.5}], [{"wall": 1.5}, {"wall": 3.0}]
    assert scaling.best([first, second]) == [second[0], first[1]]


def test_a_single_machine_sends_nothing_and_a_faster_card_never_harms() -> None:
    alone = simulate(RATES, Cluster(4, cores=4))
    assert alone.packets == alone.rows == alone.received == 0
    for workers in (8, 32, 100):
        slow, fast = (speedup(RATES, Cluster(workers, gigabits=speed)) for speed in (1, 10))
        assert 0 < slow < fast < workers


def test_free_networks_and_even_tasks_scale_without_loss() -> None:
    ideal = replace(RATES, latency=0.0, uneven=1.0, touched=0.0)
    assert speedup(ideal, Cluster(32, gigabits=1e12)) == pytest.approx(32, rel=1e-3)


def test_the_rows_that_fewer_rays_touch_are_what_was_measured() -> None:
    head = replace(RATES, touched=0.608)
    for workers, share in ((4, 0.608), (8, 0.452), (32, 0.184)):
        assert touched(head, workers, 1.0) == pytest.approx(share, abs=0.005)
    for workers, share in ((1, 0.774), (2, 0.713)):
        assert share < touched(head, workers, 1.0) < share + 0.07


def test_who_has_a_photo_more_than_others_is_waited_for() -> None:
    hundred = replace(RATES, photos=100)
    for workers, most in ((4, 25), (25, 4), (32, 4), (100, 1), (128, 1)):
        share = simulate(RATES, Cluster(workers)).map * most / (100 / workers)
        assert simulate(hundred, Cluster(workers)).map == pytest.approx(share)
