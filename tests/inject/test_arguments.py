from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlserver.inject.arguments import Drip, Exponential, Fixed, Uniform, size_text, time_text
from ctrlserver.units import parse_duration, parse_size

some = settings(max_examples=200, deadline=None)
words = st.integers(0, (1 << 64) - 1)
LAST = (1 << 64) - 1


@pytest.mark.parametrize(
    ("expected", "ns"),
    [("0s", 0), ("90s", 90 * 10**9), ("2m", 120 * 10**9), ("1h", 3600 * 10**9), ("1500ms", 15 * 10**8), ("7ns", 7)],
)
def test_a_time_is_written_in_the_largest_unit_of_which_it_is_whole(expected: str, ns: int) -> None:
    assert expected == time_text(ns)


@some
@given(st.integers(0, 3600 * 10**9), st.integers(1, 1 << 60))
def test_times_and_sizes_read_back(ns: int, nbytes: int) -> None:
    assert ns == round(parse_duration(time_text(ns)) * 1e9)
    assert nbytes == parse_size(size_text(nbytes))


@some
@given(words, st.integers(0, 10**12), st.integers(1, 10**12))
def test_a_uniform_delay_is_within_its_bounds(word: int, low: int, width: int) -> None:
    assert low / 1e9 <= Uniform(low, low + width).seconds(word) <= (low + width) / 1e9


def test_the_ends_of_a_uniform_delay_are_drawn() -> None:
    delay = Uniform(50, 200)
    assert (50e-9, 200e-9) == (delay.seconds(0), delay.seconds(LAST))


def test_an_exponential_delay_is_finite_and_half_of_them_are_below_the_median() -> None:
    delay = Exponential(20 * 10**6)
    assert 0.0 == delay.seconds(LAST)
    assert 0.02 * 0.693147 == pytest.approx(delay.seconds(LAST // 2), rel=1e-5)
    assert 0.8 < delay.seconds(0) < 45 * 0.02


def test_a_fixed_delay_is_what_was_ordered() -> None:
    assert 0.2 == Fixed(200 * 10**6).seconds(12345)


@pytest.mark.parametrize(("expected", "length"), [(0.0, 0), (0.01, 1), (0.01, 4), (0.02, 5), (2.56, 1024)])
def test_a_drip_takes_the_time_of_its_pieces(expected: float, length: int) -> None:
    assert expected == Drip(4, 10 * 10**6).seconds(length)
