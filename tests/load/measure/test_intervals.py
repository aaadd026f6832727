from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.load.measure.counts import Counts
from ctrlserver.load.measure.intervals import Gauge, Intervals


def counted_from(began: float) -> Intervals:
    """Intervals without a gauge."""
    return Intervals(began, lambda *_slice: Gauge())


@given(st.lists(st.tuples(st.floats(0.001, 5.0), st.integers(0, 1000)), min_size=1, max_size=20))
def test_intervals_join_without_a_gap_and_add_up(steps: list[tuple[float, int]]) -> None:
    now, packets, intervals = 100.0, 0, counted_from(100.0)
    for seconds, more in steps[:-1]:
        now += seconds
        packets += more
        intervals.cut(now, Counts(packets, packets * 10), warm_up=False)
    now += steps[-1][0]
    packets += steps[-1][1]
    intervals.end(now, Counts(packets, packets * 10), warm_up=False, shortest=0.05)
    kept = list(intervals.kept)
    assert packets == sum(interval.packets for interval in kept)
    assert packets * 10 == sum(interval.bytes for interval in kept)
    for before, after in pairwise(kept):
        assert before.start_seconds + before.seconds == pytest.approx(after.start_seconds, abs=1e-5)
    assert now - 100.0 == pytest.approx(sum(interval.seconds for interval in kept), abs=1e-3)


def test_a_last_interval_that_is_too_short_is_added_to_the_one_before() -> None:
    intervals = counted_from(0.0)
    intervals.cut(1.0, Counts(100, 1000), warm_up=False)
    assert intervals.end(1.001, Counts(101, 1010), warm_up=False, shortest=0.05) is None
    assert [(0.0, 101)] == [(interval.start_seconds, interval.packets) for interval in intervals.kept]


def test_a_short_run_has_one_interval_all_the_same() -> None:
    intervals = counted_from(0.0)
    only = intervals.end(0.001, Counts(5, 50), warm_up=False, shortest=0.05)
    assert [only] == list(intervals.kept)


def test_a_warm_up_is_never_added_to_what_is_measured() -> None:
    intervals = counted_from(0.0)
    intervals.cut(1.0, Counts(100, 1000), warm_up=True)
    intervals.end(1.001, Counts(101, 1010), warm_up=False, shortest=0.05)
    assert [True, False] == [interval.warm_up for interval in intervals.kept]


def test_a_warm_up_that_ends_just_after_an_interval_has_no_interval_of_that_moment() -> None:
    intervals = counted_from(0.0)
    intervals.cut(1.0, Counts(100, 1000), warm_up=True)
    assert intervals.end(1.001, Counts(101, 1010), warm_up=True, shortest=0.05) is None
    intervals.cut(2.001, Counts(201, 2010), warm_up=False)
    assert [(0.0, 101, True), (1.001, 100, False)] == [(i.start_seconds, i.packets, i.warm_up) for i in intervals.kept]


def test_packets_of_a_last_interval_take_as_long_as_the_schedule_gives_them() -> None:
    intervals = counted_from(10.0)
    last = intervals.end(10.5, Counts(2, 2000), warm_up=False, shortest=0.05, plan_ends=11.0)
    assert last is not None
    assert (0.5, 2.0, 16_000.0) == (last.seconds, last.packets_per_second, last.bits_per_second)


def test_one_packet_alone_has_no_rate() -> None:
    intervals = counted_from(10.0)
    last = intervals.end(10.001, Counts(1, 1000, 1), warm_up=False, shortest=0.05, plan_ends=10.5)
    assert last is not None
    assert (None, None) == (last.packets_per_second, last.bits_per_second)


def test_one_packet_after_others_has_the_rate_that_the_schedule_gives_it() -> None:
    intervals = counted_from(10.0)
    intervals.cut(11.0, Counts(2, 2000, 2), warm_up=False)
    last = intervals.end(11.1, Counts(3, 3000, 3), warm_up=False, shortest=0.05, plan_ends=11.5)
    assert last is not None
    assert (2.0, 16_000.0) == (last.packets_per_second, last.bits_per_second)


def test_the_target_of_a_last_interval_is_over_the_time_of_its_rate() -> None:
    asked: list[tuple[float, float]] = []

    def gauge(start: float, end: float, _join: bool) -> Gauge:
        asked.append((start, end))
        return Gauge()

    Intervals(10.0, gauge).end(10.001, Counts(1, 1000, 1), warm_up=False, shortest=0.05, plan_ends=10.5)
    assert [(10.0, 10.5)] == asked
