"""Claims about packets and bits per second."""

from __future__ import annotations

from itertools import accumulate

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.stats.counters import Totals
from ctrlserver.stats.rates import SAMPLE_SECONDS, Rates

NOTHING = Totals(0, 0, 0, 0, 0, 0, 0, 0)


def totals(packets: int, size: int = 1024) -> Totals:
    return evolve(NOTHING, packets=packets, bytes=packets * size)


def figures(rates: Rates, now: float, totals_now: Totals) -> list[float]:
    """Packets over the three windows, then bits."""
    return list(rates.figures(now, totals_now).values())


def test_without_a_sample_every_rate_is_zero() -> None:
    assert [0.0, 0.0, 0.0, 0.0, 0.0, 0.0] == figures(Rates(), 5.0, totals(1000))


def test_in_the_instant_of_the_first_sample_every_rate_is_zero() -> None:
    rates = Rates()
    rates.sample(5.0, totals(0))
    assert [0.0, 0.0, 0.0, 0.0, 0.0, 0.0] == figures(rates, 5.0, totals(1000))


def test_at_the_start_of_life_a_figure_covers_the_time_there_is() -> None:
    rates = Rates()
    rates.sample(0.0, totals(0))
    assert [200.0, 200.0, 200.0, 1.6e6, 1.6e6, 1.6e6] == figures(rates, 0.5, totals(100, 1000))


def test_a_steady_stream_has_the_same_rate_over_every_window() -> None:
    rates = Rates()
    for quarter in range(4 * 70):
        rates.sample(quarter * SAMPLE_SECONDS, totals(quarter * 250))
    now = 4 * 70 * SAMPLE_SECONDS
    bits = 1000 * 1024 * 8.0
    assert [1000.0, 1000.0, 1000.0, bits, bits, bits] == figures(rates, now, totals(4 * 70 * 250))


def test_a_burst_leaves_each_window_when_it_is_older() -> None:
    rates = Rates()
    for quarter in range(4 * 70):
        now = quarter * SAMPLE_SECONDS
        burst = totals(0 if quarter < 8 else 6000)  # between 1.75 s and 2 s
        rates.sample(now, burst)
        packets = tuple(figures(rates, now, burst)[:3])
        if now == 2.5:
            assert (6000.0, 2400.0, 2400.0) == packets
        if now == 5.0:
            assert (0.0, 1200.0, 1200.0) == packets
        if now == 60.0:
            assert (0.0, 0.0, 100.0) == packets
        if now == 65.0:
            assert (0.0, 0.0, 0.0) == packets


def test_late_samples_make_a_window_longer_and_no_figure_wrong() -> None:
    rates = Rates()
    rates.sample(0.0, totals(0))
    rates.sample(5.0, totals(5000))
    assert 1000.0 == rates.figures(5.5, totals(5500))["packets_per_second"]


def test_samples_that_come_too_soon_are_left_out_so_that_the_longest_window_stays_whole() -> None:
    rates = Rates()
    for hundredth in range(100 * 70):
        rates.sample(hundredth / 100, totals(hundredth))
    assert pytest.approx(100.0) == rates.figures(70.0, totals(7000))["packets_per_second_60s"]


@given(
    st.lists(st.tuples(st.sampled_from([1, 2, 3, 8, 40, 200]), st.integers(0, 500)), min_size=1, max_size=200),
    st.integers(0, 20),
)
def test_a_figure_is_the_growth_since_the_youngest_sample_as_old_as_its_window(
    steps: list[tuple[int, int]], eighths_later: int
) -> None:
    """The model keeps every sample and searches all of them; times are eighths of a second, so exact."""
    whens = [0.0, *accumulate(eighths / 8 for eighths, _ in steps)]
    counts = [0, *accumulate(packets for _, packets in steps)]
    rates = Rates()
    for when, packets in zip(whens, counts, strict=True):
        rates.sample(when, totals(packets, 10))
    now, packets = whens[-1] + eighths_later / 8, counts[-1] + 7
    expected = []
    for window in (1.0, 10.0, 60.0):
        old_enough = [i for i, when in enumerate(whens) if now - when >= window]
        then = old_enough[-1] if old_enough else 0
        expected.append((packets - counts[then]) / (now - whens[then]))
    found = figures(rates, now, totals(packets, 10))
    assert pytest.approx((*expected, *(rate * 80 for rate in expected))) == found


def test_the_last_minute_is_known_second_by_second() -> None:
    rates = Rates()
    for quarter in range(4 * 70 + 1):
        rates.sample(quarter * SAMPLE_SECONDS, totals(quarter * 250))
    seconds = list(rates.by_second())
    assert 60 == len(seconds)
    assert [(11.0, 1000.0, 1000 * 1024 * 8.0), 70.0] == [seconds[0], seconds[-1][0]]


def test_late_samples_make_longer_seconds_and_no_wrong_rate() -> None:
    rates = Rates()
    for now in (0.0, 0.7, 1.6, 4.0):
        rates.sample(now, totals(round(now * 1000)))
    assert [(1.6, 1000.0), (4.0, 1000.0)] == [(at, packets) for at, packets, _ in rates.by_second()]
