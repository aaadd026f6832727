from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher

from ctrlserver.net.gate import Seats
from ctrlserver.net.rejections import RejectionLog
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin


@pytest.fixture
def lines() -> Iterator[list[str]]:
    got: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_namespace"].startswith("ctrlserver"):  # not what Twisted says of ports that other tests had
            got.append(formatEvent(event))

    observer = cast(ILogObserver, observe)
    globalLogPublisher.addObserver(observer)
    yield got
    globalLogPublisher.removeObserver(observer)


def test_however_many_are_turned_away_there_is_one_line_a_second_and_none_is_left_out(lines: list[str]) -> None:
    book, seats = Book(version="test", now=0.0, wall=0.0), Seats(limit=64)
    book.stream_opened(Origin("data", "udp", "datagram", "sink", None), "10.0.0.9:1", 0.0)
    log = RejectionLog(book, seats)
    for tick in range(9):
        for _ in range(100):
            seats.last_refused = f"10.0.0.1:{tick}"
            book.counters.rejected("max-streams")
        book.counters.rejected("not-allowed")
        log.look(tick * 0.25)
    log.look(100.0)
    assert [
        "peers rejected: 101 (max-streams 100, not-allowed 1), the last 10.0.0.1:0; 1 streams are open",
        "peers rejected: 404 (max-streams 400, not-allowed 4), the last 10.0.0.1:4; 1 streams are open",
        "peers rejected: 404 (max-streams 400, not-allowed 4), the last 10.0.0.1:8; 1 streams are open",
    ] == lines
