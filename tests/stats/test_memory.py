"""One limit for all that is held: what goes first, and what it costs."""

from __future__ import annotations

from attrs import define, field

from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin, StreamCounters
from ctrlserver.stats.kept import PACKET_OVERHEAD, KeptPackets
from ctrlserver.stats.memory import Memory

ORIGIN = Origin("data", "tcp", "line", "sink")
PACKET = b"x" * (1000 - PACKET_OVERHEAD)


@define(eq=False)
class Peer:
    """A stream that keeps packets of 1000 bytes of memory each."""

    book: Book
    counters: StreamCounters = field(init=False)
    other: int = 0

    def __attrs_post_init__(self) -> None:
        self.counters = self.book.stream_opened(ORIGIN, "10.0.0.1:1", 0.0)
        self.counters.kept = KeptPackets(100, 1 << 20)

    def keep(self, packets: int, now: float) -> None:
        assert self.counters.kept is not None
        self.counters.kept.add([PACKET] * packets)
        self.counters.last = now
        self.hold(self.other)

    def hold(self, other: int) -> None:
        self.other = other
        assert self.counters.kept is not None
        self.book.memory.hold(self, self.counters.kept.memory + other)

    def abort(self, reason: str, now: float) -> None:
        self.book.memory.hold(self, 0)
        self.book.stream_closed(self.counters, reason, 0, now)

    def kept(self) -> int:
        return 0 if self.counters.kept is None else len(self.counters.kept)


def a_book(limit: int) -> tuple[Book, list[str]]:
    book = Book(version="test", now=0.0, wall=0.0)
    calls: list[str] = []
    book.memory.limit = limit
    book.memory.over = lambda: calls.append("over")
    return book, calls


def test_at_the_limit_packets_of_closed_streams_go_before_those_of_open_ones_and_the_oldest_first() -> None:
    book, calls = a_book(8000)
    closed, silent, lively = Peer(book), Peer(book), Peer(book)
    closed.keep(2, 1.0)
    closed.abort("eof", 1.0)
    silent.keep(3, 2.0)
    lively.keep(3, 3.0)
    assert ([], 8000) == (calls, book.stats(0.0).memory_bytes)
    lively.keep(2, 4.0)
    assert ["over"] == calls
    book.relieve_memory(4.0)
    assert (0, 0, 5) == (closed.kept(), silent.kept(), lively.kept())
    assert (5000, 5) == (book.stats(0.0).memory_bytes, book.stats(0.0).kept_given_up_total)
    assert 0 == book.stats(0.0).closed_limit_total


def test_where_that_is_not_enough_the_stream_that_holds_most_ends_for_the_limit() -> None:
    book, _ = a_book(8000)
    small, large = Peer(book), Peer(book)
    small.keep(1, 1.0)
    small.hold(3000)
    large.hold(7000)
    book.relieve_memory(2.0)
    assert ("open", "closed", "limit") == (small.counters.state, large.counters.state, large.counters.reason)
    assert (3000, 1) == (book.stats(0.0).memory_bytes, book.stats(0.0).closed_limit_total)
    small.abort("limit", 3.0)  # as without memory
    assert 1 == book.memory.ended, "the limit ended one of the two"


def test_over_is_called_once_until_it_is_relieved() -> None:
    book, calls = a_book(8000)
    peer = Peer(book)
    for held in (9000, 10_000, 11_000):
        peer.hold(held)
    assert ["over"] == calls
    book.relieve_memory(1.0)
    Peer(book).hold(9000)
    assert ["over"] * 2 == calls


def test_the_walk_over_the_holders_is_paid_for_by_an_eighth_of_the_limit() -> None:
    limit = 80_000
    for factor in (1, 2, 4):
        book, calls = a_book(limit)
        for number in range(100 * factor):
            Peer(book).keep(4, float(number))
            if len(calls) and book.memory.held > limit:
                book.relieve_memory(float(number))
        assert len(calls) <= 400_000 * factor / (limit / 8) + 1
        assert book.memory.held <= limit


def test_small_packets_count_with_their_objects() -> None:
    memory = Memory()
    kept = KeptPackets(1000, 1 << 20)
    kept.add([b""] * 1000)
    assert 1000 * PACKET_OVERHEAD == kept.memory
    assert 1000 == kept.clear()
    assert (0, 0, 1000) == (kept.memory, len(kept), kept.total)
    assert 0 == memory.held
