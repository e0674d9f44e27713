"""A run fitted into a budget: it ends in time whatever rounds cost, with its rates fallen."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from nerf_plugin.training import PRESETS, Level, Settings, plan
from nerf_plugin.training.pacing import MOST, note, open_book, refit


def simulate(
    settings: Settings,
    budget: float,
    per_ray: float,
    between: float = 0.3,
    slow_after: int = 10**9,
    slow_until: int = 10**9,
    slower: float = 3,
    noise: Callable[[], float] = lambda: 1.0,
):
    """Seconds and rounds of a run whose rounds cost so much a ray, and `slower` times as much in the slow rounds; each
    time as `noise` gives."""
    now, levels, level, number = 0.0, list(settings.levels), 0, 0
    book = note(open_book(now), "prepare", now := now + 1.0)
    last_rate = 1.0
    while True:
        for phase in ("grid", "rows"):
            book = note(book, phase, now := now + between / 2)
        while True:
            planned = plan(replace(settings, levels=tuple(levels)), number, 20)
            assert planned.level == level
            spec = levels[level]
            last_rate = planned.rate_sigma / settings.rate_sigma / replace(settings, levels=tuple(levels)).stride(spec)
            now += (
                spec.rays
                * per_ray
                * (spec.resolution / 64) ** 0.7
                * (slower if slow_after <= number < slow_until else 1)
                * noise()
            )
            book = note(book, "round", now)
            number += 1
            done = number - sum(spec.rounds for spec in levels[:level])
            levels = refit(settings, levels, level, done, book, budget)
            if number >= sum(spec.rounds for spec in levels):
                return now, number, last_rate, levels
            if done >= levels[level].rounds:
                level += 1
                break


@pytest.mark.parametrize("per_ray", [4e-6, 16e-6])
@pytest.mark.parametrize("share", [0.2, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("preset", ["draft", "standard", "fine"])
def test_a_run_ends_in_time_with_its_rates_fallen(preset: str, share: float, per_ray: float) -> None:
    settings = PRESETS[preset]
    whole = simulate(settings, 1e9, per_ray)[0] / MOST
    budget = share * whole
    seconds, _, rate, _ = simulate(settings, budget, per_ray)
    assert 0.85 * budget < seconds <= budget
    assert rate < 1.25 * settings.rate_end


def test_a_machine_that_slows_down_is_noticed() -> None:
    settings = PRESETS["standard"]
    budget = simulate(settings, 1e9, 1e-6)[0] / MOST
    seconds, _, rate, _ = simulate(settings, budget, 1e-6, slow_after=60)
    assert seconds < 1.05 * budget + 0.5 and rate < 1.25 * settings.rate_end


@pytest.mark.parametrize("seed", range(8))
def test_rounds_that_vary_end_in_time(seed: int) -> None:
    """A quarter more or less: a twentieth of a round late at most."""
    settings = PRESETS["standard"]
    budget = simulate(settings, 1e9, 1e-6)[0] / MOST
    rng = random.Random(seed)
    seconds, _, _, levels = simulate(settings, budget, 1e-6, noise=lambda: rng.uniform(0.75, 1.25))
    slowest = 1.25 * levels[-1].rays * 1e-6 * (levels[-1].resolution / 64) ** 0.7
    assert 0.9 * budget < seconds < budget + 0.05 * slowest


@pytest.mark.parametrize("slow_after", range(40, 80, 3))
def test_time_is_used_when_fine_levels_are_dropped_late(slow_after: int) -> None:
    """Ten slow rounds at the end of a coarse level look as if there were no time for finer ones."""
    settings = PRESETS["standard"]
    budget = 0.9 * simulate(settings, 1e9, 1e-6)[0] / MOST
    seconds = simulate(settings, budget, 1e-6, slow_after=slow_after, slow_until=slow_after + 10, slower=8)[0]
    assert 0.85 * budget < seconds < 1.1 * budget + 0.5


@pytest.mark.parametrize(("share", "rays"), [(0.3, 131072), (1.0, 917504)])
def test_a_small_budget_takes_smaller_rounds(share: float, rays: int) -> None:
    settings = PRESETS["standard"]
    whole = simulate(settings, 1e9, 1e-6)[0] / MOST
    assert simulate(settings, share * whole, 1e-6)[3][-1].rays == pytest.approx(rays, rel=0.05)


def test_a_large_budget_lengthens_the_run_up_to_a_bound() -> None:
    settings = PRESETS["draft"]
    _, rounds, _, levels = simulate(settings, 1e9, 1e-6)
    assert 0.95 * MOST * settings.rounds < rounds <= MOST * settings.rounds + 2
    assert len(levels) == len(settings.levels)


def test_a_small_budget_drops_fine_levels() -> None:
    settings = PRESETS["fine"]
    whole = simulate(settings, 1e9, 1e-6)[0] / MOST
    assert len(simulate(settings, 0.02 * whole, 1e-6)[3]) < len(settings.levels)


@pytest.mark.parametrize("preset", ["draft", "standard", "fine"])
def test_a_first_round_that_compiles_kernels_costs_no_level(preset: str) -> None:
    settings = PRESETS[preset]
    budget = simulate(settings, 1e9, 4e-6)[0] / MOST
    seconds, _, rate, levels = simulate(settings, budget, 4e-6, slow_until=1, slow_after=0, slower=120)
    assert len(levels) == len(settings.levels)
    assert 0.85 * budget < seconds <= budget and rate < 1.25 * settings.rate_end


def test_hours_in_which_nobody_worked_do_not_count() -> None:
    book = open_book(0.0)
    for now in (1.0, 2.0, 3.0):
        book = note(book, "round", now)
    assert note(book, "round", 1e6)["spent"] < 60


def test_a_plan_stays_until_rounds_were_measured() -> None:
    levels = [Level(64, 40, 16384), Level(128, 48, 49152)]
    assert refit(PRESETS["draft"], levels, 0, 1, note(open_book(0.0), "round", 1.0), 5.0) == levels
