"""A published field of a stream, read without its record."""

from __future__ import annotations

import pytest
from attrs import evolve

from ctrlserver.stats.counters import Origin
from ctrlserver.stats.records import as_mapping
from tests.stats.books import LINES, ORIGIN, a_book, send


@pytest.mark.parametrize("origin", [ORIGIN, evolve(ORIGIN, by_size=True, labels={"site": "lab"}), LINES])
def test_each_field_of_a_stream_is_that_of_its_record(origin: Origin) -> None:
    book = a_book()
    stream = book.stream_opened(origin, "a:1", 500.0)

    def same() -> bool:
        record = as_mapping(book.record(stream))
        return record == {name: book.figure(name)(stream) for name in record}

    assert same()
    send(book, stream, 3, 500.25)
    send(book, stream, 7, 501.0)
    stream.injected = 2
    assert same()
    book.stream_closed(stream, "fault", 17, 501.0)
    assert same()
    assert (None, 17) == (book.figure("nothing")(stream), book.figure("incomplete_bytes")(stream))
