"""How much a reader reads in a turn."""

from __future__ import annotations

import socket
from select import EPOLLIN

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock

from ctrlserver.lane.due import Due
from ctrlserver.lane.lane import Lane
from ctrlserver.linux.recvmmsg import messages
from ctrlserver.net.injected.datagrams import Later
from ctrlserver.net.terms import DatagramTerms, Terms
from ctrlserver.net.udp.answering import Answering
from ctrlserver.net.udp.drops import DropCount
from ctrlserver.net.udp.peers import Peers
from ctrlserver.net.udp.reading import CONTENT_SECONDS, READS_A_TURN, STRUCK_SECONDS, ManyReader, StruckReader
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin
from ctrlserver.wire.datagram import DATAGRAM


@pytest.mark.skipif(not Lane.supported(MemoryReactorClock()), reason="a lane needs epoll")
@pytest.mark.parametrize(("mode", "keep", "one"), [("sink", 0, False), ("sink", 5, True), ("echo", 0, True)])
def test_where_content_costs_much_a_turn_ends_after_one_table(
    ours: socket.socket, peer: socket.socket, mode: str, keep: int, one: bool
) -> None:
    ours.bind(("127.0.0.1", 0))
    ours.setblocking(False)
    time_ = Clock()

    def clock() -> float:
        time_.advance(CONTENT_SECONDS * 2)
        return time_.seconds()

    lane = Lane(MemoryReactorClock(), clock)
    book = Book(version="test", now=0.0, wall=0.0)
    terms = DatagramTerms(Terms(book, Origin("data", "udp", "datagram", mode), DATAGRAM, keep=keep))
    table = messages(ours, lane.view if terms.needs_content else None, False)
    if table is None:
        pytest.skip("no recvmmsg here")
    answering = Answering(terms, ours, Later(Due(lane, time_))) if mode == "echo" else None
    reader = ManyReader(Peers(terms, now=0.0), answering, ours, lane, DropCount(ours, False), table)
    for _ in range(200):
        peer.sendto(b"x" * 100, ours.getsockname())
    reader.ready(EPOLLIN)
    assert (table.rows if one else 200) == book.counters.totals().packets


@pytest.mark.skipif(not Lane.supported(MemoryReactorClock()), reason="a lane needs epoll")
def test_while_injections_strike_a_turn_ends_by_its_time(ours: socket.socket, peer: socket.socket) -> None:
    ours.bind(("127.0.0.1", 0))
    ours.setblocking(False)
    time_ = Clock()
    lane = Lane(MemoryReactorClock(), time_.seconds)
    book = Book(version="test", now=0.0, wall=0.0)
    terms = DatagramTerms(Terms(book, Origin("data", "udp", "datagram", "echo"), DATAGRAM))
    answering = Answering(terms, ours, Later(Due(lane, time_)))
    peers, drops = Peers(terms, now=0.0), DropCount(ours, False)
    reader = StruckReader(peers, answering, ours, lane, drops, answering.most)
    for _ in range(READS_A_TURN + 10):
        peer.sendto(b"x" * 100, ours.getsockname())
    reader.ready(EPOLLIN)
    assert READS_A_TURN == book.counters.totals().packets

    def slow() -> float:
        time_.advance(STRUCK_SECONDS * 0.4)
        return time_.seconds()

    lane.clock = slow
    reader.ready(EPOLLIN)
    assert READS_A_TURN + 3 == book.counters.totals().packets
