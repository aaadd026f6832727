from __future__ import annotations

import pytest

from ctrlserver.load.measure.intervals import Gauge
from ctrlserver.load.measure.timing import Timing

MS = 1_000_000


def near(seconds: float) -> object:
    return pytest.approx(seconds, rel=1e-3)


def test_an_interval_has_its_own_times_and_the_total_has_all() -> None:
    timing = Timing()
    timing.service.now.record(1 * MS)
    assert near(0.001) == timing.cut(5.0).service_p50
    timing.service.now.record(9 * MS)
    gauge = timing.cut(7.0)
    assert (7.0, None, None) == (gauge.target_packets_per_second, gauge.response_p50, gauge.response_p99)
    assert [0.009, 0.009] == [near(gauge.service_p50 or 0), near(gauge.service_p99 or 0)]
    latencies = timing.latencies()
    assert latencies is not None
    assert latencies.response is None
    assert latencies.service is not None
    assert (2, near(0.001), near(0.009)) == (latencies.service.count, latencies.service.min, latencies.service.max)


def test_a_short_last_interval_joins_the_one_before_it() -> None:
    timing = Timing()
    for milliseconds in (1, 2, 3):
        timing.response.now.record(milliseconds * MS)
    timing.cut()
    timing.response.now.record(100 * MS)
    joined = timing.cut(join=True)
    assert (near(0.002), near(0.1)) == (joined.response_p50, joined.response_p99)


def test_what_came_before_the_mark_is_forgotten() -> None:
    timing = Timing()
    timing.service.now.record(1)
    timing.cut()
    for histogram in (timing.service.now, timing.response.now, timing.slip, timing.delay):
        histogram.record(1)
    timing.mark()
    assert Gauge() == timing.cut(join=True)
    assert timing.latencies() is None
    assert (0, 0) == (len(timing.slip), len(timing.delay))


def test_the_interval_that_goes_on_can_be_looked_at() -> None:
    timing = Timing()
    assert Gauge(3.0) == timing.live(3.0)
    timing.response.now.record(4 * MS)
    assert near(0.004) == timing.live().response_p99


def test_the_histograms_that_streams_hold_stay_the_same() -> None:
    timing = Timing()
    held = timing.service.now.counts
    timing.cut()
    timing.mark()
    held[7] += 1
    timing.cut()
    latencies = timing.latencies()
    assert latencies is not None
    assert latencies.service is not None
    assert 1 == latencies.service.count


def test_slices_have_each_time_once_whenever_the_intervals_end() -> None:
    timing = Timing()
    times = timing.service
    times.now.record(5)
    news = times.sliced()
    times.now.record(7, 3)
    assert {7: 3} == news.take()
    times.now.record(7)
    timing.cut()
    times.now.record(7)
    times.now.record(9)
    timing.cut(join=True)
    times.now.record(11)
    assert {7: 2, 9: 1, 11: 1} == news.take()
    assert {} == news.take()
