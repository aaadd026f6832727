"""What the live page shows of the server now: the records of one document.

Rules: the lists are bounded, so a document stays below some tens of KiB however many streams, runs and orders there
are. Of the open streams those are shown that brought the most bytes since the last document. It is made in short steps;
the totals are those of the last tick, which walks over all streams anyway.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from heapq import nlargest
from itertools import islice
from typing import Final

from ctrlserver.desk import Desk
from ctrlserver.render.snapshot import Seen, past, snapshot
from ctrlserver.stats.counters import StreamCounters

MOST_STREAMS: Final = 100
"""Four screens of a table; with more, the page asks ``/streams.json`` for those that it wants."""

A_STEP: Final = 1000
"""Streams looked at in one: about a third of a millisecond."""

RECORDS_A_STEP: Final = 10
"""A record takes 10 microseconds, and where the kernel is asked for TCP figures more."""

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

    def steps(self) -> Iterator[bytes]:
        """The document of now, behind an empty piece for each step before."""
        desk, book = self._desk, self._desk.book
        shown = yield from self._shown()
        streams = []
        for each in shown:
            streams.append(book.record(each))
            if len(streams) % RECORDS_A_STEP == 0:
                yield b""
        self._made = now = desk.now()
        reading = book.reading(now, 0)
        stats, health = reading.stats, desk.health()
        yield b""
        runs = book.runs.records(now, reading.totals)
        yield b""
        listeners, injections = desk.listeners(reading.totals), desk.injections(False)
        workers = None if desk.workers is None else desk.workers()[:MOST_ROWS]
        seen = Seen(
            time=book.interval(stats, stats).time,
            instance=desk.instance,
            version=desk.version,
            charts=self._charts,
            ready=health.ready,
            reasons=health.reasons,
            stats=stats,
            streams=streams,
            streams_total=len(book.counters.open) + len(book.counters.recent),
            runs=runs[:MOST_RUNS],
            runs_total=len(runs),
            listeners=listeners[:MOST_ROWS],
            injections=injections[:MOST_ROWS],
            workers=workers,
        )
        yield snapshot(seen, book.renames)

    def past(self) -> bytes:
        """What the minute before the last document brought, second by second."""
        return past(self._desk.book.rates.by_second(), self._made)

    def _shown(self) -> Generator[bytes, None, Sequence[StreamCounters]]:
        """The open streams that bring the most, of equal ones the newest; then those closed last."""
        counters, before = self._desk.book.counters, self._bytes
        walk = iter(list(counters.open.values()))
        self._bytes = {}
        most: list[tuple[int, int, StreamCounters]] = []
        while some := list(islice(walk, A_STEP)):
            self._bytes.update([(each.stream, each.bytes) for each in some])
            grown = [(each.bytes - before.get(each.stream, 0), each.stream, each) for each in some]
            most = nlargest(MOST_STREAMS, most + grown)
            yield b""
        found = [each for _, _, each in most if each.state == "open"]
        return [*found, *islice(reversed(counters.recent), MOST_STREAMS - len(found))]
