"""What a fleet's processes report, summed to what one process would report of the whole load. PURE.

Rules: an interval of the whole is told once every process has told its own, or has ended; its counts are their sums,
its percentiles those of all times together. Intervals join without a gap. Progress and waiting are of this moment: sums
again, but of percentiles the worst, because there are no histograms four times a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attrs import define, evolve, field

from ctrlserver.load.measure.intervals import Gauge, Interval, Progress, Waiting
from ctrlserver.load.results.merged_intervals import Cell, interval_of

#: The place of an interval: of the measured part after those of the warm-up, then by number.
Place = tuple[bool, int]

#: Where all intervals of a process that has ended are told.
_PAST_ALL: Place = (True, 1 << 62)


@define
class _Slice:
    """The intervals of one place, and when they begin and end."""

    cell: Cell = field(factory=Cell)
    ends: float = 0.0


class Summing:
    """The sums over ``of`` processes, numbered from 1, whose intervals are ``length`` seconds long."""

    def __init__(self, of: int, length: float) -> None:
        self._told: dict[int, Place] = dict.fromkeys(range(1, of + 1), (False, -1))
        self._marked: dict[int, float] = {}
        self._length = length
        self._slices: dict[Place, _Slice] = {}
        self._ends = 0.0
        self._progress: dict[int, Progress] = {}
        self._waiting: dict[int, Waiting] = {}

    # Intervals

    def interval(self, number: int, one: Interval) -> list[Interval]:
        """A process has told its interval; gives those of the whole that are complete by it."""
        since = one.start_seconds
        if not one.warm_up:
            since -= self._marked.setdefault(number, one.start_seconds)
        place = (not one.warm_up, max(0, round(since / self._length)) if self._length else 0)
        found = self._slices.setdefault(place, _Slice())
        found.cell.add(number, one)
        found.ends = max(found.ends, one.start_seconds + one.seconds)
        self._told[number] = place
        return self._complete()

    def ended(self, number: int) -> list[Interval]:
        """A process has ended: it is waited for no longer."""
        self._told[number] = _PAST_ALL
        self._waiting.pop(number, None)
        if (last := self._progress.get(number)) is not None:
            self._progress[number] = evolve(last, in_flight=0)
        return self._complete()

    def _complete(self) -> list[Interval]:
        made = []
        least = min(self._told.values())
        for place in sorted(each for each in self._slices if each <= least):
            found = self._slices.pop(place)
            start, self._ends = self._ends, max(self._ends, found.ends)
            made.append(interval_of(found.cell, start, self._ends, not place[0]))
        return made

    # This moment

    def progress_of(self, number: int, progress: Progress) -> None:
        """A process has told how far it is."""
        self._progress[number] = progress
        self._waiting.pop(number, None)

    def waiting_of(self, number: int, waiting: Waiting) -> None:
        """A process waits after its last byte."""
        self._waiting[number] = waiting

    def now(self) -> Progress | Waiting | None:
        """How far the whole is; ``Waiting`` once all that go on do; None before anybody has told."""
        running = [number for number, place in self._told.items() if place != _PAST_ALL]
        if running and all(number in self._waiting for number in running):
            return waiting_sum(list(self._waiting.values()))
        return progress_sum(list(self._progress.values()), len(self._told)) if self._progress else None


def progress_sum(parts: Sequence[Progress], of: int) -> Progress:
    """Of ``of`` processes; while one warms up, of the warm-up."""
    warm_up = any(part.warm_up for part in parts)
    parts = [part for part in parts if part.warm_up is warm_up]
    fractions = [part.fraction for part in parts]
    known = _known(fractions)
    return Progress(
        fraction=min(1.0, sum(known) / of) if len(known) == len(fractions) else None,
        seconds=max(part.seconds for part in parts),
        packets=sum(part.packets for part in parts),
        bytes=sum(part.bytes for part in parts),
        in_flight=sum(part.in_flight for part in parts),
        gauge=gauge_sum([part.gauge for part in parts]),
        warm_up=warm_up,
    )


def gauge_sum(gauges: Sequence[Gauge]) -> Gauge:
    """All targets together, and the worst of each percentile."""
    return Gauge(
        target_packets_per_second=_over(sum, (each.target_packets_per_second for each in gauges)),
        response_p50=_over(max, (each.response_p50 for each in gauges)),
        response_p99=_over(max, (each.response_p99 for each in gauges)),
        service_p50=_over(max, (each.service_p50 for each in gauges)),
        service_p99=_over(max, (each.service_p99 for each in gauges)),
    )


def waiting_sum(parts: Sequence[Waiting]) -> Waiting:
    """The longest wait; bytes of those that await the server's counts, if any does."""
    awaiting = [part for part in parts if part.counted_bytes is not None]
    return Waiting(
        seconds=max(part.seconds for part in parts),
        counted_bytes=sum(part.counted_bytes or 0 for part in awaiting) if awaiting else None,
        bytes=sum(part.bytes for part in awaiting or parts),
        unsent_bytes=sum(part.unsent_bytes for part in parts),
    )


def interval_in(event: Mapping[str, Any]) -> Interval:
    """The interval of an event."""
    return Interval(**event["interval"])


def progress_in(event: Mapping[str, Any]) -> Progress:
    """The progress of an event."""
    told = event["progress"]
    return Progress(**{**told, "gauge": Gauge(**told["gauge"]), "until": ()})  # processes have no goals


def waiting_in(event: Mapping[str, Any]) -> Waiting:
    """The wait of an event."""
    return Waiting(**event["waiting"])


def _over(combine: Callable[[Iterable[float]], float], values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return combine(known) if known else None


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
