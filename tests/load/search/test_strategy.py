from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.load.plan.sought import Sought
from ctrlserver.load.search.strategy import (
    Answer,
    Limit,
    Outcome,
    Search,
    between,
)


def looking(lowest: float, top: float, precision: float, repeats: int) -> Sought:
    return Sought(lowest, top, precision, 0.01, repeats)


Server = Callable[[float], Outcome]


def searched(server: Server, sought: Sought) -> tuple[Answer, list[float]]:
    """The answer, and the rate of each run."""
    search = Search(sought)
    rates: list[float] = []
    while search.rate is not None:
        rates.append(search.rate)
        assert len(rates) < 500
        search.record(server(search.rate))
    return search.answer, rates


def with_knee(knee: float, beyond: Outcome = Outcome.BAD) -> Server:
    return lambda rate: Outcome.GOOD if rate <= knee else beyond


rates = st.floats(1, 1e9)
repeats = st.integers(1, 7)
precisions = st.floats(0.001, 1)


@given(rates, rates, rates, precisions, repeats)
def test_the_answer_is_good_and_within_the_precision_of_the_knee(
    knee: float, lowest: float, top: float, precision: float, repeats: int
) -> None:
    lowest, top = sorted((lowest, top))
    answer, tried = searched(with_knee(knee), looking(lowest, top, precision, repeats))
    assert all(lowest <= rate <= top for rate in tried)
    if knee < lowest:
        assert Answer(None, Limit.TARGET, lowest) == answer
    elif top <= knee:
        assert Answer(top, Limit.TOP, None) == answer
    else:
        assert answer.highest is not None
        assert answer.above is not None
        assert answer.highest <= knee < answer.above
        assert answer.above <= answer.highest * (1 + precision) * (1 + 1e-9)


@given(rates, st.floats(1, 1e4), precisions, repeats)
def test_both_ends_of_the_answer_rest_on_a_majority(knee: float, lowest: float, precision: float, repeats: int) -> None:
    answer, tried = searched(with_knee(knee), looking(lowest, 1e9, precision, repeats))
    for rate in (answer.highest, answer.above):
        if rate is not None:
            assert tried.count(rate) * 2 >= repeats
    assert all(tried.count(rate) <= repeats for rate in tried)


@given(st.integers(), st.floats(2_000, 500_000), st.sampled_from([1, 2, 3, 5]))
def test_a_search_among_lies_comes_to_an_end(seed: int, knee: float, repeats: int) -> None:
    chance = Random(seed)

    def lying(rate: float) -> Outcome:
        """One time in three."""
        return Outcome.GOOD if (rate <= knee) is (chance.random() < 2 / 3) else Outcome.BAD

    answer, tried = searched(lying, looking(1_000, 1e6, 0.05, repeats))
    assert all(tried.count(rate) <= repeats for rate in tried)
    assert answer.highest is None or answer.above is None or answer.highest < answer.above


def test_of_noisy_searches_nearly_all_find_the_knee() -> None:
    """By a fixed seed: nothing here is left to chance."""
    chance = Random(7)

    def noisy(rate: float) -> Outcome:
        """Sure 10 % off the knee, a matter of chance in between."""
        return Outcome.GOOD if chance.random() < (1.1 - rate / 50_000) / 0.2 else Outcome.BAD

    found = [searched(noisy, looking(1_000, 1e9, 0.05, 3))[0].highest for _ in range(200)]
    assert all(highest is not None and 42_500 <= highest <= 55_000 for highest in found)


def test_a_single_bad_run_decides_nothing() -> None:
    told = iter([Outcome.GOOD, Outcome.BAD, Outcome.GOOD, Outcome.GOOD] + [Outcome.BAD] * 100)
    search = Search(looking(1_000, 1e9, 1.0, 3))
    tried = []
    while search.rate is not None:
        tried.append(search.rate)
        search.record(next(told))
    assert [1_000, 2_000, 2_000, 2_000, 4_000] == tried[:5]
    assert Answer(2_000, Limit.TARGET, 4_000) == search.answer


def test_a_good_run_by_luck_is_found_out_when_it_is_about_to_be_the_answer() -> None:
    told = iter([Outcome.GOOD, Outcome.GOOD, Outcome.BAD, Outcome.BAD, Outcome.BAD, Outcome.BAD, Outcome.GOOD])
    answer, tried = searched(lambda _: next(told), looking(1_000, 1e9, 1.0, 3))
    assert Answer(1_000, Limit.TARGET, 2_000) == answer
    assert [1_000, 2_000, 4_000, 4_000, 2_000, 2_000, 1_000] == tried


def test_what_the_generator_spoilt_is_not_blamed_on_the_target() -> None:
    answer, _ = searched(with_knee(30_000, Outcome.SPOILT), looking(1_000, 1e9, 0.05, 3))
    assert (Limit.GENERATOR, True) == (answer.limit, (answer.highest or 0) > 28_000)
    mixed = iter([Outcome.GOOD, Outcome.BAD, Outcome.SPOILT, Outcome.GOOD])
    answer, _ = searched(lambda _: next(mixed), looking(1_000, 1e9, 1.0, 3))
    assert Answer(1_000, Limit.GENERATOR, 2_000) == answer
    mixed = iter([Outcome.GOOD, Outcome.BAD, Outcome.SPOILT, Outcome.GOOD, Outcome.GOOD])
    answer, _ = searched(lambda _: next(mixed), looking(1_000, 2_000, 1.0, 4))
    assert Answer(1_000, Limit.GENERATOR, 2_000) == answer


def test_a_rate_that_half_of_its_runs_find_bad_is_bad() -> None:
    mixed = iter([Outcome.GOOD, Outcome.GOOD, Outcome.BAD, Outcome.GOOD, Outcome.GOOD])
    answer, tried = searched(lambda _: next(mixed), looking(1_000, 2_000, 1.0, 2))
    assert Answer(1_000, Limit.TARGET, 2_000) == answer
    assert [1_000, 2_000, 2_000, 1_000] == tried


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(1_000, 2_000, 1_500), (16_000, 16_970, 16_500), (1, 2, 1.5), (0.1, 0.104, 0.102)]
)
def test_a_rate_in_between_has_few_digits(low: float, high: float, expected: float) -> None:
    assert between(low, high) == expected


@given(rates, st.floats(1.001, 2))
def test_what_is_between_is_between(low: float, factor: float) -> None:
    assert low < between(low, low * factor) < low * factor
