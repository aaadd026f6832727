"""Claims about those who have the live page open."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from ctrlserver.admin.ports import AdminPorts
from ctrlserver.desk import Desk, Health, of_now
from ctrlserver.http.page.readers import MOST_READERS, Readers
from ctrlserver.stats.book import Book
from tests.http.conftest import Place, Visit

GET = b"GET /events HTTP/1.1\r\nHost: lab\r\n\r\n"


class Page:
    """``/events`` of a server that nothing is sent to; ``made`` is how many documents there have been."""

    def __init__(self, place: Place, fresh: Callable[..., Deferred[None] | None] = of_now) -> None:
        self.place = place
        self.made = 0
        self.health: Callable[[], object] = lambda: None
        now = place.clock.seconds
        book = Book(version="1.0.0", now=now(), wall=1_700_000_000.0)
        desk = Desk(book=book, version="1.0.0", now=now, kick=lambda _: False, health=self._health, fresh=fresh)
        self.readers = Readers(AdminPorts(desk, cast(Any, place.clock)), None)
        place.site.pages = {"/events": self.readers.events}

    def _health(self) -> Health:
        self.made += 1
        self.health()
        return Health(live=True, ready=True)

    def reader(self) -> Visit:
        visit = self.place.visit()
        visit.send(GET)
        return visit


def events(visit: Visit, name: str = "snapshot") -> list[Any]:
    """What it got under this name."""
    pieces = visit.said.split(b"event: %s\ndata: " % name.encode())[1:]
    return [json.loads(piece.partition(b"\n")[0]) for piece in pieces]


@pytest.fixture
def page(place: Place) -> Page:
    return Page(place)


def test_a_reader_gets_the_last_minute_and_a_document_at_once(page: Page) -> None:
    reader = page.reader()
    assert b"Content-Type: text/event-stream\r\n" in reader.said
    assert b"retry: 1000\n\n" in reader.said
    assert [1, 1] == [len(events(reader, "past")), len(events(reader))]
    assert "1.0.0" == events(reader)[0]["version"]


def test_a_document_is_made_each_second_and_once_for_all_readers(page: Page) -> None:
    readers = [page.reader() for _ in range(5)]
    assert [1] * 5 == [len(events(reader)) for reader in readers]
    page.place.pass_time(3.1)
    assert [4] * 5 == [len(events(reader)) for reader in readers]
    assert 4 == page.made


def test_while_nobody_reads_none_is_made(page: Page) -> None:
    page.place.pass_time(5.1)
    assert 0 == page.made
    reader = page.reader()
    reader.wire.lose()
    page.place.pass_time(5.1)
    assert [1, 0] == [page.made, len(page.readers)]
    assert 1 == len(events(page.reader()))


def test_a_reader_that_does_not_read_misses_documents_and_gets_the_newest_when_it_does(page: Page) -> None:
    slow, quick = page.reader(), page.reader()
    slow.channel.pauseProducing()
    page.place.pass_time(5.1)
    assert [1, 6] == [len(events(slow)), len(events(quick))]
    slow.channel.resumeProducing()
    assert [2, 6] == [len(events(slow)), len(events(quick))]
    assert events(slow)[-1] == events(quick)[-1]


def test_readers_past_the_most_are_told_when_to_come_again(page: Page) -> None:
    readers = [page.reader() for _ in range(MOST_READERS)]
    refused = page.reader()
    assert refused.said.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 5\r\n" in refused.said
    readers[0].wire.lose()
    assert 1 == len(events(page.reader()))


def test_where_no_document_can_be_made_the_readers_are_told_by_the_end(page: Page) -> None:
    readers = [page.reader(), page.reader()]
    page.health = lambda: 1 / 0
    page.place.pass_time(1.1)
    assert [True, True, 0] == [*(reader.is_over for reader in readers), len(page.readers)]
    assert page.reader().is_over


def test_a_head_takes_no_place(page: Page) -> None:
    visit = page.place.visit()
    assert b"text/event-stream" in visit.send(GET.replace(b"GET", b"HEAD"))
    assert [0, 0] == [len(page.readers), page.made]


def test_while_the_workers_are_late_there_is_a_heartbeat_and_then_a_document(place: Place) -> None:
    asked: list[Deferred[None]] = []

    def fresh() -> Deferred[None]:
        asked.append(Deferred())
        return asked[-1]

    page = Page(place, fresh)
    reader = page.reader()
    place.pass_time(2.1)
    assert [0, 2, 1] == [len(events(reader)), len(events(reader, "heartbeat")), len(asked)]
    asked[0].callback(None)
    assert [1, 1] == [len(events(reader)), len(events(reader, "past"))]
    place.pass_time(1.1)
    assert 2 == len(asked)


def test_workers_that_answer_when_nobody_reads_any_more_are_no_harm(place: Place) -> None:
    late: Deferred[None] = Deferred()
    page = Page(place, lambda: late)
    page.reader().wire.lose()
    late.callback(None)
    assert 0 == page.made
