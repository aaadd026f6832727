"""A run's reporting slices, and what a person is shown while it goes on.

Rules: slices join without a gap, so their counts sum to the total. A last slice that is too short for a rate is added
to the one before it. The packets of a last slice take as long as the schedule gives them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import asdict, field, frozen

from ctrlserver.load.measure.confidence import Precision
from ctrlserver.load.measure.counts import Counts, part_rates, per_second

#: Intervals kept: more than a day of seconds. The oldest go first.
INTERVALS_KEPT = 100_000


@frozen
class Gauge:
    """What is measured of a slice besides its counts: the schedule's rate, and times in seconds; or None.

    ``*_hdr`` are the whole histograms, of a shard alone.
    """

    target_packets_per_second: float | None = None
    response_p50: float | None = None
    response_p99: float | None = None
    service_p50: float | None = None
    service_p99: float | None = None
    response_hdr: str | None = None
    service_hdr: str | None = None


@frozen
class Interval:
    """One reporting slice, in the order of the document; the last seven fields are those of its ``Gauge``.

    ``start_seconds`` counts from the first send of the run, the warm-up included.
    """

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
    response_hdr: str | None = None
    service_hdr: str | None = None


class Intervals:
    """Cuts running totals into slices that join without a gap.

    ``gauge`` is called once a slice, with its start and end and whether it is added to the slice before it.
    """

    def __init__(self, began: float, gauge: Callable[[float, float, bool], Gauge]) -> None:
        self._gauge = gauge
        self._began = began
        self._from = began
        self._counts = Counts()
        self.kept: deque[Interval] = deque(maxlen=INTERVALS_KEPT)

    def cut(self, now: float, counts: Counts, *, warm_up: bool) -> Interval:
        """The slice up to ``now``."""
        news = counts.since(self._counts)
        seconds = now - self._from
        rates = per_second(news.packets, seconds), per_second(news.bytes * 8, seconds)
        return self._keep(self._from, now, counts, news, rates, warm_up)

    def end(
        self, now: float, counts: Counts, *, warm_up: bool, shortest: float, plan_ends: float = 0.0
    ) -> Interval | None:
        """The last slice; None where it is shorter than ``shortest`` seconds and was added to the one before it.

        ``plan_ends``: the moment up to which the schedule gives time for its packets.
        """
        before = self.kept[-1] if self.kept else None
        news, start, seconds = counts.since(self._counts), self._from, now - self._from
        if before is None or before.warm_up != warm_up:
            planned = max(now, plan_ends)
            rates = part_rates(news, planned - start)
            return self._keep(start, now, counts, news, rates, warm_up, planned=planned) if seconds > 0 else None
        joined = seconds < shortest
        if joined:
            start = self._began + before.start_seconds
            news = Counts(before.packets + news.packets, before.bytes + news.bytes)
            self.kept.pop()
        planned = max(now, plan_ends)
        rates = per_second(news.packets, planned - start), per_second(news.bytes * 8, planned - start)
        interval = self._keep(start, now, counts, news, rates, warm_up, planned=planned, join=joined)
        return None if joined else interval

    def _keep(
        self,
        start: float,
        end: float,
        counts: Counts,
        news: Counts,
        rates: tuple[float | None, float | None],
        warm_up: bool,
        *,
        planned: float = 0.0,
        join: bool = False,
    ) -> Interval:
        interval = Interval(
            round(start - self._began, 6),
            round(end - start, 6),
            news.packets,
            news.bytes,
            *rates,
            warm_up,
            **asdict(self._gauge(start, planned or end, join)),
        )
        self._from, self._counts = end, counts
        self.kept.append(interval)
        return interval


@frozen
class Progress:
    """How far a run is, or its warm-up: ``fraction`` is from 0 to 1, None if no end is known.

    Counts are of the current part, the warm-up or the measured one. ``in_flight`` packets still await their answer;
    ``gauge`` has the rate that the schedule asked for in the last second, and the times of the current interval;
    ``until``, how sure the figures of ``--until`` are by now.
    """

    fraction: float | None
    seconds: float
    packets: int
    bytes: int
    in_flight: int = 0
    gauge: Gauge = field(factory=Gauge)
    warm_up: bool = False
    until: Sequence[Precision] = ()


@frozen
class Waiting:
    """The wait after the last byte, ``seconds`` long by now: for the server's counts, or for the target to close.

    The server has counted ``counted_bytes`` of ``bytes``, None where its counts are not awaited. Our kernel still holds
    ``unsent_bytes`` for the target.
    """

    seconds: float
    counted_bytes: int | None
    bytes: int
    unsent_bytes: int


class Watcher(Protocol):
    """Shows a run to a person, or to a program, while it goes on."""

    def interval(self, interval: Interval) -> None:
        """A slice has ended."""

    def progress(self, progress: Progress) -> None:
        """Several times a second."""

    def starting(self, seconds: float | None) -> None:
        """All streams are open, and the run is to begin in so many seconds; about once a second until then.

        None, once: it waits to be told when.
        """

    def waiting(self, waiting: Waiting) -> None:
        """The run waits after its last byte; about once a second, from the first one on."""

    def note(self, text: str) -> None:
        """A line worth showing that is no failure."""
