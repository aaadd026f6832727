from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.load.plan.schedule import (
    LEAST_RATE,
    NEVER,
    SECOND,
    Curve,
    Evenly,
    EvenlyAtOneRate,
    Piece,
    Poisson,
    joined,
    schedule,
)

RATES = st.integers(0, 10**12)  # millionths of a packet a second
LENGTHS = st.integers(1, 10**12)
PIECES = st.builds(Piece, LENGTHS, RATES, RATES)
CURVES = st.lists(PIECES, min_size=1, max_size=5).map(lambda pieces: Curve(tuple(pieces)))


def exact(curve: Curve, at: int) -> Fraction:
    """The integral in packets, by fractions."""
    total = Fraction(0)
    for piece in curve.pieces:
        inside = min(at, piece.length)
        mean = piece.first + Fraction(piece.last - piece.first) * inside / piece.length / 2
        total += mean * inside / (10**6 * SECOND)
        at -= inside
    return total


@given(CURVES, st.floats(0, 1))
def test_the_integral_is_exact_in_every_piece(curve: Curve, where: float) -> None:
    at = int(where * (curve.end - 1))
    parts = curve.parts(at)
    difference = exact(curve, at) * 2 * 10**15 - parts
    assert 0 <= difference < 1


@given(CURVES, st.integers(0, 10**9))
def test_a_packet_is_due_from_its_time_on_and_not_before(curve: Curve, packet: int) -> None:
    plan = Evenly(curve)
    at = plan.time_of(packet)
    if at == NEVER:
        assert plan.due(curve.end * 2) <= packet
    else:
        assert 0 <= at < curve.end
        assert plan.due(at) > packet
        assert not at or plan.due(at - 1) <= packet


@given(CURVES, st.integers(0, 10**6))
def test_times_never_fall(curve: Curve, packet: int) -> None:
    plan = Evenly(curve)
    assert plan.time_of(packet) <= plan.time_of(packet + 1)


@pytest.mark.parametrize("rate", [1, 3, 7, 1000, 99_999, 1_000_000, 12_345_678.9])
def test_a_constant_rate_does_not_drift_in_a_hundred_days(rate: float) -> None:
    plan = Evenly(Curve.constant(rate))
    days = 100 * 86400 * SECOND
    assert int(Fraction(rate).limit_denominator(10**6) * 100 * 86400) + 1 == plan.due(days)
    packet = plan.due(days)
    assert 0 <= plan.time_of(packet) - days <= SECOND / rate + 1


@given(st.integers(1, 10**12), st.integers(1, 10**13), st.integers(0, 10**13), st.integers(0, 10**6))
def test_a_steady_plan_is_the_constant_one(rate: int, length: int, at: int, packet: int) -> None:
    curve = Curve((Piece(length, rate, rate),))
    steady, plain = EvenlyAtOneRate(curve), Evenly(curve)
    assert (plain.due(at), plain.time_of(packet)) == (steady.due(at), steady.time_of(packet))


def test_the_first_packet_is_due_at_once_and_the_one_at_the_end_never() -> None:
    plan = Evenly(Curve.constant(1000).until(10))
    assert 1 == plan.due(0)
    assert 10_000 == plan.due(10 * SECOND) == plan.due(NEVER)
    assert 9_999_000_000 == plan.time_of(9_999)
    assert NEVER == plan.time_of(10_000)


def test_nothing_is_due_while_the_rate_is_nothing() -> None:
    curve = Curve((Piece.of(2, 0, 0), Piece.of(1, 5, 5), Piece.of(10, 0, 0), Piece.of(1, 5, 5)))
    plan = Evenly(curve)
    expected = [2.0, 2.2, 2.4, 2.6, 2.8, 13.0, 13.2, 13.4, 13.6, 13.8]
    assert expected == [plan.time_of(packet) / SECOND for packet in range(10)]
    assert [0, 5, 5, 6] == [plan.due(int(at * SECOND)) for at in (1.9, 3.0, 12.9, 13.0)]
    assert NEVER == plan.time_of(10)


def test_a_slope_has_the_packets_of_its_mean() -> None:
    curve = Curve((Piece.of(10, 1000, 5000),))
    assert 30_000 == Evenly(curve).due(NEVER)
    assert 3000.0 == curve.mean(0, 10 * SECOND)
    assert 1400.0 == pytest.approx(curve.mean(0, 2 * SECOND))
    assert 3000.0 == curve.rate(5 * SECOND)
    assert 0.0 == curve.rate(10 * SECOND)
    assert 1500.0 == curve.mean(0, 20 * SECOND)


@given(CURVES, st.integers(0, 100))
def test_poisson_arrivals_agree_with_themselves_and_with_their_seed(curve: Curve, seed: int) -> None:
    plan, again = Poisson(curve, seed), Poisson(curve, seed)
    times = [plan.time_of(packet) for packet in range(50)]
    assert times == sorted(times)
    for packet, at in enumerate(times):
        if at < NEVER:
            assert again.due(at) > packet
    assert times == [again.time_of(packet) for packet in range(50)]


def test_poisson_arrivals_have_the_rate_and_the_spread_of_chance() -> None:
    plan = Poisson(Curve.constant(1000), 7)
    gaps = [(later - sooner) / SECOND for sooner, later in pairwise(map(plan.time_of, range(20_000)))]
    mean = sum(gaps) / len(gaps)
    spread = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert 0.001 == pytest.approx(mean, rel=0.03)
    assert mean == pytest.approx(spread, rel=0.05)


def test_other_seeds_are_other_arrivals() -> None:
    assert Poisson(Curve.constant(1000), 1).time_of(5) != Poisson(Curve.constant(1000), 2).time_of(5)


def test_poisson_arrivals_that_are_over_are_forgotten() -> None:
    plan, whole = Poisson(Curve.constant(1000), 1), Poisson(Curve.constant(1000), 1)
    for packet in range(10_000):
        plan.forget(packet)
        assert whole.time_of(packet) == plan.time_of(packet)
    assert len(plan._times) < 5000


def test_the_opening_rate_goes_on() -> None:
    assert 1000.0 == Curve((Piece.of(1, 1000, 5000),)).opening.rate(SECOND * 3600)
    assert 2500.0 == Curve((Piece.of(1, 0, 5000),)).opening.rate(0)


def test_the_opening_of_a_curve_with_hardly_a_packet_is_the_lowest_rate() -> None:
    opening = Curve((Piece.of(10, 0, 0.0000001), Piece.of(10, 0, 0.000001))).opening
    assert LEAST_RATE == opening.rate(0)
    assert 1 == schedule(opening, "constant", 1).due(SECOND)


def test_points_are_joined_and_two_at_one_second_are_a_step() -> None:
    assert (Piece.of(1, 0, 100), Piece.of(2, 500, 500)) == joined([(0, 0), (1, 100), (1, 500), (3, 500)])


def test_a_schedule_is_made_by_its_arrival() -> None:
    curve = Curve.constant(10)
    assert isinstance(schedule(curve, "constant", 1), EvenlyAtOneRate)
    assert isinstance(schedule(Curve((Piece.of(1, 1, 2),)), "constant", 1), Evenly)
    assert isinstance(schedule(curve, "poisson", 1), Poisson)
    assert curve.endless
    assert not curve.until(3).endless
