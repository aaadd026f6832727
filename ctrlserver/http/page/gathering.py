"""What the live page shows of the server now: the records of one document.

Rules: the lists are bounded, so a document stays below some tens of KiB however many streams, runs and orders there
are. Of the open streams those are shown that brought the most bytes since the last document.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice, repeat
from operator import sub
from typing import Final

from ctrlserver.desk import Desk
from ctrlserver.render.snapshot import Seen, past, snapshot
from ctrlserver.stats.counters import StreamCounters

MOST_STREAMS: Final = 100
"""Four screens of a table; with more, the page asks ``/streams.json`` for those that it wants."""

MOST_RUNS: Final = 10
MOST_ROWS: Final = 50
"""Of listeners, injections and workers each."""


class Gathering:
    """For the live pages of one server; ``charts`` is where they find the library for charts, or None."""

    def __init__(self, desk: Desk, charts: str | None) -> None:
        self._desk = desk
        self._charts = charts
        self._bytes: dict[int, int] = {}  # of each open stream, at the last document
        self._made = 0.0  # when that was

    def looked_at(self) -> list[StreamCounters]:
        """The open streams, where they are so few that their TCP figures may be asked for each second; else none."""
        open_ones = self._desk.book.counters.open
        return list(open_ones.values()) if len(open_ones) <= MOST_STREAMS else []

    def forget(self) -> None:
        """Nobody reads any more."""
        self._bytes = {}

    def document(self) -> bytes:
        """Of now."""
        desk, book = self._desk, self._desk.book
        self._made = now = desk.now()
        stats = book.stats(now)
        health = desk.health()
        runs = book.runs.records(now)
        listeners, injections = desk.listeners(), desk.injections(False)
        workers = None if desk.workers is None else desk.workers()[:MOST_ROWS]
        seen = Seen(
            time=book.interval(stats, stats).time,
            instance=desk.instance,
            version=desk.version,
            charts=self._charts,
            ready=health.ready,
            reasons=health.reasons,
            stats=stats,
            streams=[book.record(each) for each in self._shown()],
            streams_total=len(book.counters.open) + len(book.counters.recent),
            runs=runs[:MOST_RUNS],
            runs_total=len(runs),
            listeners=listeners[:MOST_ROWS],
            injections=injections[:MOST_ROWS],
            workers=workers,
        )
        return snapshot(seen, book.renames)

    def past(self) -> bytes:
        """What the minute before the last document brought, second by second."""
        return past(self._desk.book.rates.by_second(), self._made)

    def _shown(self) -> Sequence[StreamCounters]:
        """The open streams that bring the most, of equal ones the newest; then those closed last."""
        counters = self._desk.book.counters
        numbers, octets = list(counters.open), [each.bytes for each in counters.open.values()]
        grown = list(map(sub, octets, map(self._bytes.get, numbers, repeat(0))))
        self._bytes = dict(zip(numbers, octets, strict=True))
        if len(numbers) > MOST_STREAMS:
            least = sorted(grown)[-MOST_STREAMS]
            more = [number for number, by in zip(numbers, grown, strict=True) if by > least]
            equal = [number for number, by in zip(numbers, grown, strict=True) if by == least]
            numbers = more + equal[len(more) - MOST_STREAMS :]
        closed = islice(reversed(counters.recent), MOST_STREAMS - len(numbers))
        return [*(counters.open[number] for number in numbers), *closed]
