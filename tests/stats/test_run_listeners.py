"""Claims about whose streams a run had, and about the numbers of runs."""

from __future__ import annotations

from itertools import count

from ctrlserver.stats.counters import Origin
from ctrlserver.stats.records import as_mapping
from tests.stats.books import LINES, ORIGIN, a_book, send

OTHER = Origin("other", "tcp", "line", "sink", labels={"site": "roof", "rack": 4})


def test_a_run_names_the_listeners_of_the_streams_that_sent_in_it_and_their_labels() -> None:
    book = a_book()
    before, silent = book.stream_opened(ORIGIN, "a:1", 500.0), book.stream_opened(LINES, "a:2", 500.0)
    send(book, before, 1, 500.5)
    book.runs.start("soak", None, 501.0)
    assert (None, {}) == (book.runs.records(501.0)[0].listeners, book.runs.records(501.0)[0].labels)
    send(book, book.stream_opened(OTHER, "a:3", 501.5), 1, 502.0)
    send(book, before, 1, 502.5)
    (record, first) = book.runs.records(503.0)
    assert ("other,data", {"site": ["roof", "lab"], "rack": [4]}) == (record.listeners, record.labels)
    assert ("data", {"site": ["lab"]}) == (first.listeners, first.labels)
    assert {"site": "roof,lab", "rack": 4}.items() <= as_mapping(record).items()
    book.stream_closed(before, "eof", 0, 503.0)
    book.stream_closed(silent, "eof", 0, 503.0)
    assert record.listeners == book.runs.records(503.5)[0].listeners


def test_a_run_has_the_number_that_it_is_given_and_the_total_counts_from_the_start() -> None:
    book, numbers, begun = a_book(), count(41), []
    book.runs.number = lambda _: next(numbers)
    book.runs.on_begin = lambda: begun.append(book.runs.newest)
    book.runs.start("a", None, 500.0)
    book.runs.start("b", None, 501.0)
    assert [42, 41] == [record.run for record in book.runs.records(502.0)]
    assert (42, [41, 42], 2) == (book.runs.newest, begun, book.stats(502.0).runs_total)
