"""What goes back to a peer, and how many answers the socket accepted."""

from __future__ import annotations

import socket
import time

import pytest
from twisted.internet.task import Clock

from ctrlserver.lane.due import Due
from ctrlserver.net.injected.datagrams import Later
from ctrlserver.net.replies import CannedReply
from ctrlserver.net.terms import DatagramTerms, Terms
from ctrlserver.net.udp.answering import Answering
from ctrlserver.net.udp.peers import Peers
from ctrlserver.net.udp.reading import Intake
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin
from ctrlserver.wire.datagram import DATAGRAM


def answering(sock: socket.socket, mode: str = "echo", canned: CannedReply | None = None) -> Answering:
    book = Book(version="test", now=0.0, wall=time.time())
    terms = Terms(book, Origin("data", "udp", "datagram", mode), DATAGRAM, canned=canned)
    return Answering(DatagramTerms(terms), sock, Later(Due(None, Clock())))


def intake(sock: socket.socket, max_streams: int = 10) -> Intake:
    book = Book(version="test", now=0.0, wall=time.time())
    terms = DatagramTerms(Terms(book, Origin("data", "udp", "datagram", "echo"), DATAGRAM), max_streams=max_streams)
    return Intake(Peers(terms, now=0.0), Answering(terms, sock, Later(Due(None, Clock()))))


def test_a_batch_is_echoed_as_its_datagrams_the_last_of_which_is_shorter(
    ours: socket.socket, peer: socket.socket
) -> None:
    assert 3 == answering(ours).echo(memoryview(b"aabbc"), 2, 3, peer.getsockname())
    assert [b"aa", b"bb", b"c"] == [peer.recv(100) for _ in range(3)]


def test_an_empty_datagram_is_echoed(ours: socket.socket, peer: socket.socket) -> None:
    assert 1 == answering(ours).echo(memoryview(b""), 0, 1, peer.getsockname())
    assert b"" == peer.recv(100)


def test_a_batch_gets_a_reply_for_each_datagram_also_beyond_one_call(ours: socket.socket, peer: socket.socket) -> None:
    assert 150 == answering(ours, "reply", CannedReply(b"OK")).reply(memoryview(bytes(150)), 1, 150, peer.getsockname())
    assert [b"OK"] * 150 == [peer.recv(100) for _ in range(150)]


def test_a_reply_that_no_datagram_can_hold_is_not_accepted(ours: socket.socket, peer: socket.socket) -> None:
    canned = CannedReply(bytes(65_508))
    assert 0 == answering(ours, "reply", canned).reply(memoryview(b"ab"), 1, 2, peer.getsockname())


@pytest.mark.parametrize("service", [7, 13, 17, 19, 37])
def test_a_service_that_answers_whatever_it_gets_is_not_answered(ours: socket.socket, service: int) -> None:
    reader = intake(ours)
    for port, unanswered in ((service, 2), (service + 40_000, 0)):
        address = ("127.0.0.1", port)
        reader.received(address, 4, 2, 2, memoryview(b"aabb"), 0.0, 0.0)
        assert unanswered == reader._peers.by_address[address].counters.unanswered
    assert 2 == reader._terms.book.counters.loops


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("port", "withheld"), [(32_767, 2), (32_768, 0)])
def test_a_peer_on_a_port_that_no_client_is_given_lacks_every_thousandth_answer(
    ours: socket.socket, monkeypatch: pytest.MonkeyPatch, port: int, withheld: int, shared: bool
) -> None:
    monkeypatch.setattr("ctrlserver.net.udp.answering.first_client_port", lambda: 32_768)
    reader = intake(ours, 0 if shared else 10)
    for _ in range(2_500):
        reader.received(("127.0.0.1", port), 4, 4, 1, memoryview(b"loop"), 0.0, 0.0)
    (stream,) = reader._peers.by_address.values()
    assert (2_500, withheld) == (stream.counters.packets, reader._terms.book.counters.loops)
    assert stream.counters.unanswered >= withheld
