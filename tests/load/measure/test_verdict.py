from __future__ import annotations

import pytest

from ctrlserver.load.measure.verdict import bottleneck, scheduled, too_many_late
from ctrlserver.stats.latency import Histogram

MS = 1_000_000


@pytest.mark.parametrize(
    ("slipped", "delayed", "busy", "sent", "expected"),
    [
        (False, False, 0.2, 1000, "none"),
        (False, False, 1.0, 1000, "none"),  # busy, and in time all the same
        (True, True, 0.2, 1000, "generator"),
        (True, False, 0.95, 1000, "generator"),
        (True, False, 0.2, 1000, "target"),
        (False, False, 0.2, 990, "none"),
        (False, False, 0.2, 900, "target"),
        (False, False, 0.95, 900, "generator"),
    ],
)
def test_the_verdict_follows_its_rules(slipped: bool, delayed: bool, busy: float, sent: int, expected: str) -> None:
    assert expected == bottleneck(1000, sent, slipped, delayed, busy)


@pytest.mark.parametrize(
    ("late", "count", "expected"),
    [
        (0, 0, False),
        (0, 50, False),
        (1, 2, False),
        (1, 50, False),
        (1, 1, True),
        (2, 50, True),
        (10, 1000, False),
        (11, 1000, True),
    ],
)
def test_one_late_packet_of_a_few_is_tolerated_as_one_of_100_is(late: int, count: int, expected: bool) -> None:
    assert expected == too_many_late(histogram({MS // 10: count - late, 20 * MS: late}))


def histogram(times: dict[int, int]) -> Histogram:
    made = Histogram()
    for time, count in times.items():
        if count:
            made.record(time, count)
    return made


def test_what_is_late_is_counted_and_the_rate_is_over_the_plans_time() -> None:
    slip, delay = histogram({MS // 10: 950, 20 * MS: 50}), histogram({1000: 980, 3 * MS: 20})
    told = scheduled(
        target=100.0,
        planned=1000,
        sent=1000,
        plan_seconds=10.0,
        seconds=9.99,
        busy=0.1,
        slip=slip,
        delay=delay,
        dropped_ticks=2,
    )
    assert (100.0, 50, 2, "generator") == (
        told.achieved_packets_per_second,
        told.late_packets,
        told.dropped_ticks,
        told.bottleneck,
    )
    assert pytest.approx([0.02, 0.0001], rel=1e-3) == [told.slip.p99, told.slip.p50]


@pytest.mark.parametrize(("delayed", "expected"), [(1_000, "target"), (20_000, "generator")])
def test_a_target_that_takes_nothing_is_not_excused_by_a_few_late_wake_ups(delayed: int, expected: str) -> None:
    told = scheduled(
        target=100_000.0,
        planned=50_000,
        sent=4_000,
        plan_seconds=0.5,
        seconds=0.5,
        busy=0.1,
        slip=histogram({MS // 10: 3_950, 20 * MS: 50}),
        delay=histogram({1000: 50_000 - delayed, 3 * MS: delayed}),
        dropped_ticks=10,
    )
    assert expected == told.bottleneck


def test_a_single_packet_has_no_achieved_rate() -> None:
    none = Histogram()
    told = scheduled(
        target=2.0, planned=1, sent=1, plan_seconds=0.5, seconds=0, busy=0, slip=none, delay=none, dropped_ticks=0
    )
    assert (None, 1) == (told.achieved_packets_per_second, told.sent_packets)


def test_a_run_that_sent_nothing_of_its_plan_has_no_rate() -> None:
    none = Histogram()
    told = scheduled(
        target=5.0, planned=10, sent=0, plan_seconds=2.0, seconds=0, busy=0, slip=none, delay=none, dropped_ticks=0
    )
    assert (None, "target") == (told.achieved_packets_per_second, told.bottleneck)


def test_a_run_that_sent_nothing_has_a_record_all_the_same() -> None:
    none = Histogram()
    told = scheduled(
        target=5.0, planned=0, sent=0, plan_seconds=0, seconds=0, busy=0, slip=none, delay=none, dropped_ticks=0
    )
    assert (None, 0.0, "none") == (told.achieved_packets_per_second, told.slip.max, told.bottleneck)
