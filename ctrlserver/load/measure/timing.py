"""The times of a run: how long replies took, how late packets were sent, over all streams.

Rules: ``service`` counts from the moment a packet was sent, ``response`` from the moment it was due, ``slip`` is the
time between the two, whoever is to blame; ``delay`` is how long after it was due the pacer released a packet, which is
the generator's own fault. All in nanoseconds. Service and response are counted for the interval that goes on, which
``cut`` ends; ``mark`` ends the warm-up, whose times are left out of the totals.

A cut costs about a millisecond, in which nothing is sent: slip and delay, of which no interval tells, are only totals.

Beware: streams hold on to the histograms of the interval; they stay the same objects.
"""

from __future__ import annotations

from attrs import frozen

from ctrlserver.load.measure.intervals import Gauge
from ctrlserver.stats.latency import UNIT_SECONDS, Histogram, Latency


@frozen
class Latencies:
    """The result's ``latency``. ``response`` is None without a schedule."""

    response: Latency | None
    service: Latency | None
    unit_seconds: float = UNIT_SECONDS


class Measured:
    """One kind of time: of the interval ``now``, of the interval before, and in total."""

    __slots__ = ("before", "now", "total")

    def __init__(self) -> None:
        self.now = Histogram()
        self.before = Histogram()
        self.total = Histogram()

    def cut(self, *, join: bool) -> None:
        """The interval is over; with ``join`` it belongs to the one before it."""
        self.total.add(self.now)
        if not join:
            self.before.clear()
            self.before.counts.update(self.now.counts)
        else:
            self.before.add(self.now)
        self.now.clear()

    def mark(self) -> None:
        """Leave out what was timed up to here."""
        for histogram in (self.now, self.before, self.total):
            histogram.clear()


class Timing:
    """All of a run's times."""

    def __init__(self) -> None:
        self.service = Measured()
        self.response = Measured()
        self.slip = Histogram()
        self.delay = Histogram()

    def cut(self, target: float | None = None, *, join: bool = False) -> Gauge:
        """End an interval and say what it came to; ``join``: together with the one before it."""
        self.service.cut(join=join)
        self.response.cut(join=join)
        return Gauge(target, *_percentiles(self.response.before), *_percentiles(self.service.before))

    def live(self, target: float | None = None) -> Gauge:
        """The interval that goes on."""
        return Gauge(target, *_percentiles(self.response.now), *_percentiles(self.service.now))

    def mark(self) -> None:
        """The warm-up is over."""
        self.service.mark()
        self.response.mark()
        self.slip.clear()
        self.delay.clear()

    def latencies(self) -> Latencies | None:
        """The totals, once the last interval is cut; None where no reply was timed."""
        response, service = self.response.total.latency(), self.service.total.latency()
        return None if response is None and service is None else Latencies(response, service)


def _percentiles(histogram: Histogram) -> tuple[float | None, float | None]:
    if not histogram.counts:
        return None, None
    p50, p99 = histogram.at((50, 99))
    return p50, p99
