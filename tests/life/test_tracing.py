"""Streams in the log at level debug, and no trace of that at any other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.logger import capturedLogs

from ctrlserver.life.tracing import LINES_AT_ONCE, Tracing
from ctrlserver.logs.level import LEVEL
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin

ORIGIN = Origin(listener="data", protocol="tcp", framing="line", mode="sink", size=None)


@pytest.fixture(autouse=True)
def level_as_it_was() -> Iterator[None]:
    before = LEVEL.name
    yield
    LEVEL.set(before)


@pytest.fixture
def book() -> Book:
    return Book(version="1", now=0.0, wall=0.0)


def one_stream(book: Book) -> None:
    book.stream_closed(book.stream_opened(ORIGIN, "127.0.0.1:1", 1.0), "eof", 0, 2.0)


def test_at_debug_a_stream_has_a_line_when_it_opens_and_one_when_it_closes(book: Book) -> None:
    tracing = Tracing(book, lambda: 0.0)
    assert "info" == tracing.set_level("debug")
    with capturedLogs() as lines:
        one_stream(book)
    assert ["stream-opened", "stream-closed"] == [line["event"] for line in lines]
    assert ("127.0.0.1:1", "eof") == (lines[0]["peer"], lines[1]["reason"])


def test_at_any_other_level_the_book_is_as_it_was_made(book: Book) -> None:
    made = dict(vars(book))
    tracing = Tracing(book, lambda: 0.0)
    tracing.set_level("debug")
    assert "debug" == tracing.set_level("info")
    assert made == vars(book)
    with capturedLogs() as lines:
        one_stream(book)
    assert [] == lines


def test_many_streams_write_few_lines_and_the_number_of_the_others(book: Book) -> None:
    tracing = Tracing(book, lambda: 0.0)
    tracing.set_level("debug")
    with capturedLogs() as lines:
        for _ in range(LINES_AT_ONCE):
            one_stream(book)
        tracing.tell_left_out(1000.0)
    assert LINES_AT_ONCE + 1 == len(lines)
    assert LINES_AT_ONCE == lines[-1]["number"]
