from __future__ import annotations

import math
import random

import pytest

from ctrlserver.load.measure.confidence import LEAST_SLICES, MOST_SLICES, Estimate, Slices, Stopping, Until
from ctrlserver.stats.latency import Histogram
from tests.load.measure.coverage import simulated


@pytest.mark.parametrize("name", ["exponential", "bimodal", "fading", "queue"])
def test_the_interval_of_a_run_that_stopped_by_it_has_the_truth(name: str) -> None:
    """A short form of tests/load/measure/coverage.py, which makes a thousand runs and more distributions."""
    outcomes = [simulated(name, seed, 0.2, 700) for seed in range(8)]
    assert sum(outcome.reached for outcome in outcomes) >= 6
    assert sum(outcome.covers is True for outcome in outcomes) >= 7


def filled(number: int, seed: int = 1) -> tuple[Slices, Histogram]:
    """Slices of twenty replies each, and all of them in one histogram."""
    chance, slices, whole = random.Random(seed), Slices(), Histogram()
    for _ in range(number):
        histogram = Histogram()
        for _ in range(20):
            histogram.record(round(chance.expovariate(1e-6)))
        slices.add(0.1, 20, dict(histogram.counts))
        whole.add(histogram)
    return slices, whole


def of(estimate: Estimate | None) -> Estimate:
    assert estimate is not None
    return estimate


@pytest.mark.parametrize("number", [1, 300, MOST_SLICES + 1, 3 * MOST_SLICES])
def test_the_figures_are_those_of_the_whole_run_however_many_slices_were_joined(number: int) -> None:
    slices, whole = filled(number)
    latency = whole.latency()
    assert latency is not None
    assert number == slices.cut
    assert MOST_SLICES >= len(slices._kept)
    assert pytest.approx(latency.mean, abs=1e-9) == of(slices.mean()).value * 1e-9
    expected = pytest.approx([latency.p50, latency.p99])
    assert expected == [of(slices.percentile(share)).value * 1e-9 for share in (0.5, 0.99)]
    assert pytest.approx(200.0) == of(slices.ratio()).value


def test_joined_slices_lie_in_the_run_without_a_gap_and_no_longer_than_twice_the_shortest_allows() -> None:
    slices, _ = filled(7 * MOST_SLICES)
    kept = slices._kept
    assert [each.start + each.length for each in kept[:-1]] == [each.start for each in kept[1:]]
    assert 7 * MOST_SLICES == sum(each.length for each in kept)
    assert max(each.length for each in kept) <= 16
    assert len(kept) > MOST_SLICES // 2


def test_a_longer_run_is_surer() -> None:
    short, long = of(filled(100)[0].percentile(0.9)), of(filled(1600)[0].percentile(0.9))
    assert short.half is not None
    assert long.half is not None
    assert 2.5 < short.half / long.half < 6.5
    assert short.independent
    assert long.independent


def test_a_short_run_has_a_figure_and_no_interval() -> None:
    assert Slices().ratio() is None
    assert Slices().mean() is None
    assert Slices().percentile(0.5) is None
    slices, _ = filled(LEAST_SLICES - 1)
    assert (None, None, None) == (of(slices.ratio()).low, of(slices.mean()).half, of(slices.percentile(0.5)).batches)


def test_a_percentile_that_few_replies_are_beyond_has_no_interval() -> None:
    slices, _ = filled(LEAST_SLICES)
    assert [None, None] == [of(slices.percentile(share)).half for share in (0.9999, 0.995)]
    assert of(slices.percentile(0.99)).low is not None


def test_a_steady_rate_is_sure_at_once() -> None:
    slices = Slices()
    for _ in range(LEAST_SLICES):
        slices.add(0.1, 50)
    found = of(slices.ratio())
    assert pytest.approx((500.0, 500.0, 500.0)) == (found.value, found.low, found.high)
    assert found.independent


def test_no_interval_of_a_rate_or_a_mean_reaches_below_zero_and_it_is_no_narrower_for_that() -> None:
    slices = Slices()
    for number in range(LEAST_SLICES):
        slices.add(0.1, 1000 * (number == 0), {5: 1, 500: 100 * (number == 0)})
    for found in (of(slices.ratio()), of(slices.mean())):
        assert found.high is not None
        assert (0.0, found.high - found.value) == (found.low, found.half)
        assert found.high > 2 * found.value


def test_the_interval_of_a_median_has_as_many_replies_below_it_as_above() -> None:
    times, slices = list(range(1, 20 * LEAST_SLICES + 1)), Slices()
    random.Random(1).shuffle(times)
    for number in range(LEAST_SLICES):
        slices.add(0.1, 20, dict.fromkeys(times[number::LEAST_SLICES], 1))
    found = of(slices.percentile(0.5))
    assert found.low is not None
    assert found.high is not None
    assert 20 * LEAST_SLICES - found.high == found.low - 1 < 20 * LEAST_SLICES / 2


def test_where_each_slice_is_alike_the_interval_is_the_estimate() -> None:
    slices = Slices()
    for _ in range(LEAST_SLICES):
        slices.add(0.1, 100, dict.fromkeys(range(1, 101), 1))
    found = of(slices.percentile(0.5))
    assert (50, 50, 50) == (found.value, found.low, found.high)


def test_what_swings_as_slowly_as_the_run_is_long_is_not_independent() -> None:
    slices = Slices()
    for number in range(300):
        slices.add(0.1, 100 + 50 * math.sin(number / 50))
    found = of(slices.ratio())
    assert not found.independent
    assert found.half is not None


def test_correlation_widens_the_interval() -> None:
    def half(memory: int) -> float:
        chance, slices, level = random.Random(3), Slices(), 0.0
        for number in range(640):
            level = chance.gauss(0, 1) if number % memory == 0 else level
            slices.add(1.0, 10 + level)
        found = of(slices.ratio()).half
        assert found is not None
        return found

    assert half(16) > 2.5 * half(1)


def test_looks_become_rare() -> None:
    stopping = Stopping(100)
    assert [100, 150, 225, 338, 507] == [cut for cut in range(600) if stopping.due(cut)]
    assert Stopping(1).due(LEAST_SLICES)


def test_another_unit_is_the_same_estimate() -> None:
    assert Estimate(2.0, 1.0, None, 10, True) == Estimate(4.0, 2.0, None, 10, True).times(0.5)
    assert 0 == Until.of([]).unreached
