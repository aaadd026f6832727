from __future__ import annotations

from ctrlserver.load.fleet.summing import Summing, progress_sum, waiting_sum
from ctrlserver.load.measure.intervals import Gauge, Interval, Progress, Waiting
from ctrlserver.stats.latency import Histogram


def interval(start: float, seconds: float, packets: int, *times: int, warm_up: bool = False) -> Interval:
    """One of a shard; ``times`` of replies are in nanoseconds."""
    histogram = Histogram()
    for time in times:
        histogram.record(time)
    p50, p99 = histogram.at((50, 99)) if times else (None, None)
    return Interval(
        start_seconds=start,
        seconds=seconds,
        packets=packets,
        bytes=packets * 10,
        packets_per_second=packets / seconds,
        bits_per_second=packets * 80 / seconds,
        warm_up=warm_up,
        target_packets_per_second=5.0,
        service_p50=p50,
        service_p99=p99,
        service_hdr=histogram.encoded() if times else None,
    )


def test_an_interval_of_the_whole_is_told_once_all_have_told_theirs() -> None:
    summing = Summing(2, 1.0)
    assert [] == summing.interval(1, interval(0.0, 1.001, 10, 1_000_000))
    assert [] == summing.interval(1, interval(1.001, 1.0, 20))
    (first,) = summing.interval(2, interval(0.0, 0.999, 5, 3_000_000, 3_000_000))
    assert (0.0, 1.001, 15, 150, 10.0) == (
        first.start_seconds,
        first.seconds,
        first.packets,
        first.bytes,
        first.target_packets_per_second,
    )
    assert first.service_p50 is not None
    assert 0.0029 < first.service_p50 < 0.0031
    (second,) = summing.interval(2, interval(0.999, 1.002, 7))
    assert (1.001, 1.0, 27) == (second.start_seconds, second.seconds, second.packets)


def test_one_that_has_ended_is_waited_for_no_longer() -> None:
    summing = Summing(3, 1.0)
    assert [] == summing.interval(1, interval(0.0, 1.0, 10))
    assert [] == summing.interval(2, interval(0.0, 1.0, 10))
    assert [20] == [each.packets for each in summing.ended(3)]
    assert [] == summing.interval(1, interval(1.0, 0.5, 3))
    assert [3] == [each.packets for each in summing.ended(2)]
    assert [] == summing.ended(1)


def test_the_warm_up_and_the_measured_part_are_told_apart_whenever_each_begins() -> None:
    summing = Summing(2, 1.0)
    made = []
    for number, late in ((1, 0.0), (2, 0.003)):
        made += summing.interval(number, interval(0.0, 1.0, 1, warm_up=True))
        made += summing.interval(number, interval(1.0, 0.5 + late, 2, warm_up=True))
        made += summing.interval(number, interval(1.5 + late, 1.0, 4))
    assert [(2, True), (4, True), (8, False)] == [(each.packets, each.warm_up) for each in made]
    assert [0.0, 1.0, 1.503] == [each.start_seconds for each in made]


def test_without_intervals_none_is_made() -> None:
    summing = Summing(2, 0.0)
    assert [] == summing.ended(1) + summing.ended(2)


def test_progress_is_the_sum_and_the_worst_of_the_times() -> None:
    one = Progress(0.5, 2.0, 10, 100, 3, Gauge(5.0, 0.1, 0.2, 0.01, 0.02))
    two = Progress(0.7, 2.5, 20, 200, 4, Gauge(6.0, 0.05, 0.3, None, None))
    assert Progress(0.6, 2.5, 30, 300, 7, Gauge(11.0, 0.1, 0.3, 0.01, 0.02)) == progress_sum([one, two], 2)


def test_while_one_warms_up_the_progress_is_that_of_the_warm_up() -> None:
    warm = Progress(0.9, 1.9, 10, 100, warm_up=True)
    assert Progress(0.45, 1.9, 10, 100, warm_up=True) == progress_sum([warm, Progress(0.1, 0.1, 1, 10)], 2)


def test_the_whole_waits_once_all_that_go_on_do() -> None:
    summing = Summing(3, 1.0)
    assert summing.now() is None
    summing.progress_of(1, Progress(0.5, 1.0, 10, 100))
    summing.waiting_of(1, Waiting(1.0, 50, 100, 5))
    assert isinstance(summing.now(), Progress)
    summing.ended(2)
    summing.waiting_of(3, Waiting(2.0, None, 30, 0))
    assert Waiting(2.0, 50, 100, 5) == summing.now()
    summing.ended(3)
    assert Waiting(1.0, 50, 100, 5) == summing.now()


def test_if_no_counts_are_awaited_it_is_the_close() -> None:
    assert Waiting(2.0, None, 130, 7) == waiting_sum([Waiting(1.0, None, 100, 7), Waiting(2.0, None, 30, 0)])
