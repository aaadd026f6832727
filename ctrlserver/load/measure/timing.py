"""The times of a run, over all streams: how long replies took, and how late packets were sent.

Rules: all times are in nanoseconds.

- ``service``: from when a packet was sent to its reply.
- ``response``: from when it was due to its reply.
- ``slip``: from when it was due to when it was sent, whoever is to blame.
- ``delay``: from when it was due to when the pacer released it, which is the generator's own fault.

Service and response are counted by the interval, which ``cut`` ends. A cut costs about a millisecond, in which nothing
is sent; slip and delay, which no interval reports, are only totals. ``mark`` ends the warm-up, which no total includes.

Beware: streams hold on to the histograms of the current interval, so these stay the same objects.
"""

from __future__ import annotations

from attrs import Factory, define, evolve, frozen

from ctrlserver.load.measure.intervals import Gauge
from ctrlserver.stats.latency import UNIT_SECONDS, Histogram, Latency


@frozen
class Latencies:
    """The result's ``latency``. ``response`` is None without a schedule."""

    response: Latency | None
    service: Latency | None
    unit_seconds: float = UNIT_SECONDS


@define
class News:
    """What the histogram ``of`` has counted since it was last asked, though it is cleared meanwhile."""

    of: Histogram
    _seen: dict[int, int] = Factory(dict)
    _rest: dict[int, int] = Factory(dict)

    def keep(self) -> None:
        """The histogram is about to be cleared."""
        seen, rest = self._seen.get, self._rest
        news = {
            bucket: count - before for bucket, count in self.of.counts.items() if count != (before := seen(bucket, 0))
        }
        for bucket, count in rest.items():
            news[bucket] = news.get(bucket, 0) + count
        self._seen, self._rest = {}, news

    def take(self) -> dict[int, int]:
        """The counts, by bucket."""
        self.keep()
        self._seen = dict(self.of.counts)
        rest, self._rest = self._rest, {}
        return rest


@define
class Measured:
    """One kind of time: of the current interval (``now``), of the one before, and in total.

    ``news``: of the current slice, where somebody asks for slices.
    """

    now: Histogram = Factory(Histogram)
    before: Histogram = Factory(Histogram)
    total: Histogram = Factory(Histogram)
    news: News | None = None

    def cut(self, *, join: bool) -> None:
        """End the interval; with ``join`` it is added to the one before."""
        self.total.add(self.now)
        if not join:
            self.before.clear()
            self.before.counts.update(self.now.counts)
        else:
            self.before.add(self.now)
        if self.news is not None:
            self.news.keep()
        self.now.clear()

    def sliced(self) -> News:
        """From now on, what is new in each slice."""
        self.news = News(self.now)
        self.news.take()
        return self.news

    def clear(self) -> None:
        """Forget everything so far."""
        for histogram in (self.now, self.before, self.total):
            histogram.clear()


@define
class Timing:
    """All times of a run. ``whole_gauges``: those of intervals have the histograms too."""

    service: Measured = Factory(Measured)
    response: Measured = Factory(Measured)
    slip: Histogram = Factory(Histogram)
    delay: Histogram = Factory(Histogram)
    whole_gauges: bool = False

    def cut(self, target: float | None = None, *, join: bool = False) -> Gauge:
        """End the interval and give its gauge; with ``join`` that of the one before and this one together."""
        self.service.cut(join=join)
        self.response.cut(join=join)
        both = self.response.before, self.service.before
        gauge = Gauge(target, *_percentiles(both[0]), *_percentiles(both[1]))
        if not self.whole_gauges:
            return gauge
        response, service = (times.encoded() if times.counts else None for times in both)
        return evolve(gauge, response_hdr=response, service_hdr=service)

    def live(self, target: float | None = None) -> Gauge:
        """The gauge of the current interval."""
        return Gauge(target, *_percentiles(self.response.now), *_percentiles(self.service.now))

    def mark(self) -> None:
        """The warm-up is over: forget its times."""
        for times in (self.service, self.response, self.slip, self.delay):
            times.clear()

    def latencies(self) -> Latencies | None:
        """The totals, once the last interval is cut; None if no reply was timed."""
        response, service = self.response.total.latency(), self.service.total.latency()
        return None if response is None and service is None else Latencies(response, service)


def _percentiles(histogram: Histogram) -> tuple[float | None, float | None]:
    if not histogram.counts:
        return None, None
    p50, p99 = histogram.at((50, 99))
    return p50, p99
