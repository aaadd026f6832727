from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.load.results.comparison import FIGURES, Compared, compare, differing_options, ratio_interval
from ctrlserver.load.results.result import as_document
from ctrlserver.load.results.schemas import number_paths
from tests.load.documents import changed, latency
from tests.load.results.test_result import FULL

BASE: dict[str, Any] = changed(
    as_document(FULL),
    latency={"unit_seconds": 1e-6, "response": latency([0.001] * 99 + [0.3]), "service": latency([0.001] * 100)},
)


def rate(value: float) -> dict[str, Any]:
    return changed(BASE, sent__packets_per_second=value)


def of(compared: list[Compared], name: str) -> Compared:
    (found,) = [one for one in compared if one.figure.name == name]
    return found


def test_every_figure_is_a_number_of_the_document() -> None:
    assert {one.path for one in FIGURES} | {one.of for one in FIGURES if one.of is not None} <= set(number_paths())
    assert len({one.name for one in FIGURES}) == len({one.words for one in FIGURES}) == len(FIGURES)


def test_a_ratio_is_b_over_a_and_the_better_side_is_told() -> None:
    slower = changed(rate(10.0), latency__service__p99=0.002)
    compared = compare([BASE], [slower], None)
    speed, tail = of(compared, "sent.packets_per_second"), of(compared, "latency.service.p99")
    assert (0.5, "a", False) == (speed.ratio, speed.better, speed.worse_beyond_tolerance)
    assert ("a", None) == (tail.better, tail.ratio_low)
    assert pytest.approx(2.0, rel=0.01) == tail.ratio
    back = compare([slower], [BASE], None)
    assert ("b", "b") == (of(back, "sent.packets_per_second").better, of(back, "latency.service.p99").better)
    assert {"same"} == {one.better for one in compare([BASE], [BASE], 0.0)}


@given(st.floats(1e-9, 1e12), st.integers(1, 5), st.integers(1, 5))
def test_a_result_is_the_same_as_itself_however_often_it_is_given(value: float, times_a: int, times_b: int) -> None:
    speed = of(compare([rate(value)] * times_a, [rate(value)] * times_b, 0.0), "sent.packets_per_second")
    assert ("same", 1.0, False) == (speed.better, speed.ratio, speed.worse_beyond_tolerance)


@pytest.mark.parametrize(
    ("a", "b", "worse"),
    [
        (100.0, 95.0, False),
        (100.0, 94.9, True),
        (100.0, 200.0, False),
        (100.0, 0.0, True),
        (0.0, 100.0, False),
    ],
)
def test_only_what_is_worse_by_more_than_the_tolerance_counts(a: float, b: float, worse: bool) -> None:
    assert worse == of(compare([rate(a)], [rate(b)], 0.05), "sent.packets_per_second").worse_beyond_tolerance


@pytest.mark.parametrize(
    ("a", "b", "worse", "ratio"), [(0, 0, False, 1.0), (0, 1, True, None), (1, 0, False, 0.0), (100, 104, False, 1.04)]
)
def test_mishaps_are_a_share_of_what_was_sent(a: int, b: int, worse: bool, ratio: float | None) -> None:
    sides = [[changed(BASE, delivery={"lost": lost}, sent__packets=1000)] for lost in (a, b)]
    lost = of(compare(sides[0], sides[1], 0.05), "delivery.lost")
    assert (worse, (a / 1000,)) == (lost.worse_beyond_tolerance, lost.a)
    assert lost.ratio == (None if ratio is None else pytest.approx(ratio))
    more = changed(BASE, delivery={"lost": 2}, sent__packets=2000)
    fewer = changed(BASE, delivery={"lost": 1}, sent__packets=1000)
    assert "same" == of(compare([fewer], [more], 0.05), "delivery.lost").better


def test_a_figure_of_one_side_only_has_no_ratio_and_fails_nobody() -> None:
    tail = of(compare([BASE], [changed(BASE, latency=None)], 0.0), "latency.response.p99")
    assert (None, None, (), False) == (tail.ratio, tail.better, tail.b, tail.worse_beyond_tolerance)


def test_several_runs_give_an_interval_and_what_may_be_chance_is_no_loss() -> None:
    noisy = compare([rate(v) for v in (90, 100, 115)], [rate(v) for v in (80, 95, 100)], 0.05)
    speed = of(noisy, "sent.packets_per_second")
    assert ("unclear", False) == (speed.better, speed.worse_beyond_tolerance)
    assert pytest.approx((80 * 95 * 100 / (90 * 100 * 115)) ** (1 / 3)) == speed.ratio
    sure = of(
        compare([rate(v) for v in (99, 100, 101)], [rate(v) for v in (89, 90, 91)], 0.05), "sent.packets_per_second"
    )
    assert ("a", True) == (sure.better, sure.worse_beyond_tolerance)
    assert sure.ratio_low is not None
    assert sure.ratio_high is not None
    assert sure.ratio_low < 0.9 < sure.ratio_high < 1


def test_an_interval_needs_two_runs_on_both_sides_and_values_above_0() -> None:
    assert ratio_interval([1.0], [1.0, 2.0]) is None
    assert ratio_interval([1.0, 2.0], [0.0, 2.0]) is None
    assert pytest.approx((2.0, 2.0)) == ratio_interval([2.0, 2.0], [4.0, 4.0])


def test_the_interval_holds_the_true_ratio_as_often_as_it_says() -> None:
    chance = random.Random(1)
    rounds, held = 150, 0
    for _ in range(rounds):
        a = [100 * math.exp(chance.gauss(0, 0.05)) for _ in range(3)]
        b = [150 * math.exp(chance.gauss(0, 0.10)) for _ in range(4)]
        low, high = ratio_interval(a, b) or (0.0, 0.0)
        held += low <= 1.5 <= high
    assert pytest.approx(0.95, abs=0.04) == held / rounds


@given(st.lists(st.floats(0.001, 1e9), min_size=2, max_size=4), st.lists(st.floats(0.001, 1e9), min_size=2, max_size=4))
def test_the_interval_of_the_other_way_round_is_the_inverse(a: list[float], b: list[float]) -> None:
    there, back = ratio_interval(a, b), ratio_interval(b, a)
    assert there is not None
    assert back is not None
    if there[1] < 1e200 and back[1] < 1e200:
        assert there[0] == pytest.approx(1 / back[1], rel=1e-6)


def test_runs_that_were_asked_for_different_things_are_told() -> None:
    other = changed(BASE, options__streams=4, options__payload="x", options__admin="127.0.0.1:9", target="127.0.0.1:6")
    assert ["target 127.0.0.1:5 | 127.0.0.1:6", "payload none | x", "streams 1 | 4"] == differing_options([BASE, other])
    assert [] == differing_options([BASE, BASE])
