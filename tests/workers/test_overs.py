"""Streams that are over when they are told come out as those that are told event by event."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import asdict, evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import StreamCounters
from ctrlserver.stats.probing import Probing
from tests.stats.books import LINES, ORIGIN, send
from tests.workers.paths import Path
from tests.workers.test_merging import Several

ORIGINS = (ORIGIN, LINES, evolve(ORIGIN, listener="fixed", by_size=True, labels={}), evolve(LINES, labels={"site": 7}))
REASONS = ("eof", "reset", "fault")

Short = tuple[int, int, int, int, int, int]
"""Worker, origin, host, packets (0: it never sends), how many open before it closes, and what strikes it."""

SHORT = st.tuples(*[st.integers(low, high) for low, high in [(1, 2), (0, 3), (1, 3), (0, 2), (0, 3), (0, 5)]])


def live(several: Several, days: list[list[Short]], *, apart: bool) -> Book:
    """Each list of streams is told at once, or each event for itself if ``apart``."""
    now, port, waiting = 501.0, 0, list[tuple[int, int, StreamCounters]]()

    def went_by() -> None:
        nonlocal now
        now += 2**-10
        if apart:
            several.refresh(now)

    def close(worker: int, stream: StreamCounters) -> None:
        several.workers[worker].stream_closed(stream, REASONS[stream.injected % 3], stream.injected, now)
        went_by()

    send(several.workers[1], several.open(1, now), 1, now)
    for day in days:
        several.refresh(now)
        for worker, origin, host, packets, stays, strike in day:
            book, port = several.workers[worker], port + 1
            stream = book.stream_opened(ORIGINS[origin], f"10.0.0.{host}:{port}", now)
            waiting.append((port + stays, worker, stream))
            went_by()
            if packets:
                send(book, stream, packets, now)
                stream.bytes += 70 * strike
                went_by()
            if strike:
                book.counters.struck = True
                stream.injected, stream.swallowed, stream.duplicated = strike, strike % 2, strike // 2
                stream.unanswered, stream.path, stream.probing = strike // 3, Path(), Probing()
            for each in sorted([each for each in waiting if each[0] <= port], key=lambda each: each[0]):
                waiting.remove(each)
                close(*each[1:])
        now += 0.25
    several.tick(now)
    several.mirror.lost(2, now)
    return several.book


def figures(stream: StreamCounters) -> dict[str, Any]:
    return asdict(stream, filter=lambda field, _: field.name != "told")


def whole(book: Book) -> list[object]:
    """All but the kept streams."""
    sums = [(each.host, each.listener, each.streams, each.packets, each.bytes) for each in book.hosts.sums()]
    open_ones = [figures(each) for each in book.counters.open.values()]
    return [book.stats(600.0), book.counters.totals(), book.runs.records(502.0), sorted(sums), open_ones]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(SHORT, max_size=40), min_size=1, max_size=3), st.integers(0, 12))
def test_told_at_once_or_event_by_event_they_are_one_book_of_which_the_last_are_kept(
    days: list[list[Short]], kept: int
) -> None:
    apart = live(Several(), days, apart=True)
    at_once = live(Several(), days, apart=False)
    few = live(Several(closed_kept=kept), days, apart=False)
    assert whole(apart) == whole(at_once) == whole(few)
    assert sorted(map(figures, apart.counters.recent), key=lambda each: each["stream"]) == sorted(
        map(figures, at_once.counters.recent), key=lambda each: each["stream"]
    )
    assert len({stream.origin for stream in at_once.counters.recent}) <= len(ORIGINS)
    last = [figures(stream) for stream in at_once.counters.recent]
    assert last[max(0, len(last) - kept) :] == [figures(stream) for stream in few.counters.recent]


def test_overs_that_cannot_be_entered_are_raised_once_all_the_rest_is_entered() -> None:
    several = Several()
    send(several.workers[1], lasting := several.open(1, 501.0), 1, 501.0)
    several.refresh(501.0)
    for worker in several.workers:
        several.close(worker, several.open(worker, 501.1), 501.2)
    several.close(1, lasting, 501.3)
    taken = {number: book.take(501.4) for number, book in several.workers.items()}
    taken[1].overs[0].reason = "unheard of"
    with pytest.raises(KeyError):
        several.mirror.apply(taken)
    assert [2, 1] == [each.stream for each in several.book.counters.recent]
    assert not several.book.counters.open
