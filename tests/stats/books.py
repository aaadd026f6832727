"""A book on a clock set by hand, and what the shell does with it."""

from __future__ import annotations

from collections.abc import Callable

from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin, StreamCounters
from ctrlserver.stats.kept import KeptPackets
from ctrlserver.stats.records import RunRecord
from ctrlserver.stats.rename import Renames

ORIGIN = Origin("data", "tcp", "fixed:1000", "echo", 1000, {"site": "lab"})
LINES = Origin("lines", "tcp", "line", "sink")
WALL = 1367409600.0


def a_book(
    *,
    run_gap: float = 1.0,
    closed_kept: int = 1000,
    kept_closed_bytes: int = 10_000,
    renames: Renames | None = None,
    on_run_end: Callable[[RunRecord], object] = id,
) -> Book:
    return Book(
        version="1.2.3",
        now=500.0,
        wall=WALL,
        run_gap=run_gap,
        closed_kept=closed_kept,
        kept_closed_bytes=kept_closed_bytes,
        renames=Renames() if renames is None else renames,
        on_run_end=on_run_end,
    )


def send(book: Book, stream: StreamCounters, packets: int, now: float, size: int = 1000) -> None:
    """Count a chunk as the shell does."""
    if stream.first < 0:
        book.first_data(stream, now, now)
    stream.packets += packets
    stream.bytes += packets * size
    stream.last = now


def keep(stream: StreamCounters, *packets: bytes) -> StreamCounters:
    stream.kept = KeptPackets(10, 1000)
    stream.kept.add(list(packets))
    return stream
