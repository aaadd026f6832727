"""A run's reporting slices, and what a person is shown while it goes on.

Rules: slices join without a gap, so their counts sum to the total. A last slice that is too short for a rate is added
to the one before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from attrs import field, frozen

from ctrlserver.load.measure.counts import Counts, per_second

#: Intervals kept: more than a day of seconds. The oldest go first.
INTERVALS_KEPT = 100_000


@frozen
class Gauge:
    """What there is to tell of a slice besides its counts: the schedule's rate, and times in seconds; or None."""

    target_packets_per_second: float | None = None
    response_p50: float | None = None
    response_p99: float | None = None
    service_p50: float | None = None
    service_p99: float | None = None


@frozen
class Interval:
    """One reporting slice; ``start_seconds`` counts from the first send of the run, the warm-up included."""

    start_seconds: float
    seconds: float
    packets: int
    bytes: int
    packets_per_second: float | None
    bits_per_second: float | None
    warm_up: bool
    target_packets_per_second: float | None = None
    response_p50: float | None = None
    response_p99: float | None = None
    service_p50: float | None = None
    service_p99: float | None = None


def no_gauge(*_slice: float) -> Gauge:
    """Nothing but counts."""
    return Gauge()


class Intervals:
    """Cuts running totals into slices that join without a gap.

    ``gauge`` is asked at the end of a slice, with its start and end, and whether it joins the slice before it.
    """

    def __init__(self, began: float, gauge: Callable[[float, float, bool], Gauge] = no_gauge) -> None:
        self._gauge = gauge
        self._began = began
        self._from = began
        self._counts = Counts()
        self.kept: deque[Interval] = deque(maxlen=INTERVALS_KEPT)

    def cut(self, now: float, counts: Counts, *, warm_up: bool) -> Interval:
        """The slice up to ``now``."""
        interval = self._slice(self._from, now, counts.since(self._counts), warm_up, False)
        self._from, self._counts = now, counts
        self.kept.append(interval)
        return interval

    def end(self, now: float, counts: Counts, *, warm_up: bool, shortest: float) -> Interval | None:
        """The last slice; None where it is shorter than ``shortest`` seconds and was added to the one before it."""
        before = self.kept[-1] if self.kept else None
        seconds = now - self._from
        if before is None or before.warm_up != warm_up or seconds >= shortest:
            return self.cut(now, counts, warm_up=warm_up) if seconds > 0 else None
        news = counts.since(self._counts)
        whole = Counts(before.packets + news.packets, before.bytes + news.bytes)
        self.kept[-1] = self._slice(self._began + before.start_seconds, now, whole, warm_up, True)
        self._from, self._counts = now, counts
        return None

    def _slice(self, start: float, end: float, news: Counts, warm_up: bool, join: bool) -> Interval:
        seconds = end - start
        gauge = self._gauge(start, end, join)
        return Interval(
            start_seconds=round(start - self._began, 6),
            seconds=round(seconds, 6),
            packets=news.packets,
            bytes=news.bytes,
            packets_per_second=per_second(news.packets, seconds),
            bits_per_second=per_second(news.bytes * 8, seconds),
            warm_up=warm_up,
            target_packets_per_second=gauge.target_packets_per_second,
            response_p50=gauge.response_p50,
            response_p99=gauge.response_p99,
            service_p50=gauge.service_p50,
            service_p99=gauge.service_p99,
        )


@frozen
class Progress:
    """How far a run is; ``fraction`` 0 to 1, None during the warm-up. Counts are of the part that is going on.

    ``in_flight`` packets are to be answered and are not; ``gauge`` has the rate that the schedule asks for now, and the
    times of the interval that goes on.
    """

    fraction: float | None
    seconds: float
    packets: int
    bytes: int
    in_flight: int = 0
    gauge: Gauge = field(factory=Gauge)


class Watcher(Protocol):
    """Whoever shows a run to a person while it goes on."""

    def interval(self, interval: Interval) -> None:
        """A slice has ended."""

    def progress(self, progress: Progress) -> None:
        """Several times a second."""

    def note(self, text: str) -> None:
        """Something worth a line that is no failure."""
