from __future__ import annotations

import pytest

from ctrlserver.load.verdict import bottleneck, scheduled
from ctrlserver.stats.latency import Histogram

MS = 1_000_000


@pytest.mark.parametrize(
    ("slip", "delay", "busy", "sent", "expected"),
    [
        (0.0002, 0.0001, 0.2, 1000, "none"),
        (0.0002, 0.0001, 1.0, 1000, "none"),  # busy, and in time all the same
        (0.0020, 0.0020, 0.2, 1000, "generator"),
        (0.0020, 0.0001, 0.95, 1000, "generator"),
        (0.0020, 0.0001, 0.2, 1000, "target"),
        (0.5000, 0.0005, 0.1, 1000, "target"),
        (0.0002, 0.0001, 0.2, 990, "none"),
        (0.0002, 0.0001, 0.2, 900, "target"),
        (0.0002, 0.0001, 0.95, 900, "generator"),
    ],
)
def test_the_verdict_follows_its_rules(slip: float, delay: float, busy: float, sent: int, expected: str) -> None:
    assert expected == bottleneck(1000, sent, slip, delay, busy)


def histogram(times: dict[int, int]) -> Histogram:
    made = Histogram()
    for time, count in times.items():
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
    assert [told.slip.p99, told.slip.p50] == pytest.approx([0.02, 0.0001], rel=1e-3)


def test_a_run_that_sent_nothing_has_a_record_all_the_same() -> None:
    none = Histogram()
    told = scheduled(
        target=5.0, planned=0, sent=0, plan_seconds=0, seconds=0, busy=0, slip=none, delay=none, dropped_ticks=0
    )
    assert (None, 0.0, "none") == (told.achieved_packets_per_second, told.slip.max, told.bottleneck)
