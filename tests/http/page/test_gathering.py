"""Claims about what a document of the live page is made of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ctrlserver.desk import Desk
from ctrlserver.http.page.gathering import A_STEP, MOST_STREAMS, RECORDS_A_STEP, Gathering
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin, StreamCounters

ORIGIN = Origin("data", "tcp", "fixed:1024", "sink", size=1024, by_size=True)


class Server:
    """A book with ``streams`` open streams, and the documents made of it."""

    def __init__(self, streams: int) -> None:
        self.now = 0.0
        self.book = Book(version="1.0.0", now=0.0, wall=1_700_000_000.0)
        self.streams = [self.book.stream_opened(ORIGIN, f"10.0.0.1:{number}", 0.0) for number in range(streams)]
        desk = Desk(book=self.book, version="1.0.0", now=lambda: self.now, kick=lambda _: False)
        self.gathering = Gathering(desk, "/static/charts.js")

    def document(self) -> Any:
        self.now += 1.0
        self.book.tick(self.now, 0.0, 1_700_000_000.0 + self.now)
        return json.loads(next(filter(None, self.gathering.steps())))

    def shown(self) -> list[int]:
        """The numbers of the streams in the next document."""
        streams = self.document()["streams"]
        assert "stream" == streams["fields"][0]
        return [row[0] for row in streams["rows"]]

    def send(self, stream: StreamCounters, octets: int = 1024) -> None:
        stream.bytes += octets


@pytest.fixture
def crowd() -> Server:
    return Server(5000)


def test_of_many_streams_those_are_shown_that_brought_the_most_since_the_last_document(crowd: Server) -> None:
    crowd.send(crowd.streams[0], 10**9)
    crowd.document()
    for stream in crowd.streams[1000 : 1000 + MOST_STREAMS]:
        crowd.send(stream)
    assert set(range(1001, 1001 + MOST_STREAMS)) == set(crowd.shown())


def test_of_equal_ones_the_newest_are_shown(crowd: Server) -> None:
    crowd.send(crowd.streams[0])
    assert {1, *range(5000 - MOST_STREAMS + 2, 5001)} == set(crowd.shown())


def test_a_document_says_how_many_streams_are_on_view_and_stays_small(crowd: Server) -> None:
    document = crowd.document()
    assert [5000, MOST_STREAMS] == [document["streams"]["total"], len(document["streams"]["rows"])]
    assert len(json.dumps(document)) < 30_000


def test_a_document_of_many_streams_is_made_in_many_steps(crowd: Server) -> None:
    looks, records, rest = 5000 // A_STEP, MOST_STREAMS // RECORDS_A_STEP, 3
    assert looks + records + rest == len(list(crowd.gathering.steps()))


def test_streams_that_close_while_a_document_is_made_are_shown_once(crowd: Server) -> None:
    steps = crowd.gathering.steps()
    next(steps)
    for stream in crowd.streams[-MOST_STREAMS:]:
        crowd.book.stream_closed(stream, "eof", 0, 1.0)
    rows = json.loads(next(filter(None, steps)))["streams"]["rows"]
    assert MOST_STREAMS == len({row[0] for row in rows}) == len(rows)


def test_where_there_is_room_the_streams_closed_last_are_shown_too() -> None:
    server = Server(4)
    for stream in server.streams[:2]:
        server.book.stream_closed(stream, "eof", 0, 1.0)
    assert [4, 3, 2, 1] == server.shown()


def test_the_past_is_counted_from_the_last_document() -> None:
    server = Server(1)
    server.document()
    server.send(server.streams[0], 2048)
    server.document()
    server.now += 0.5
    assert [[-1.0, 0.0, 0.0], [0.0, 2.0, 16384.0]] == json.loads(server.gathering.past())


def test_the_page_is_told_where_the_library_for_charts_is() -> None:
    assert "/static/charts.js" == Server(0).document()["charts"]
