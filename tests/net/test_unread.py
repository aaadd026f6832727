"""What a peer sent before its connection was cut off is read before Twisted is told; with a connection made up here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from attrs import define, field
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from ctrlserver.net.unread import READ_BYTES, connection_below, read_to_the_end

CUT = Failure(ConnectionLost())


@define(slots=False)
class Peer:
    """A connection, its socket, its protocol and the reactor in one; ``unread``: what each read of the socket gives."""

    unread: list[bytes | Exception]
    wanted: Callable[[], bool | None] = lambda: True
    later: list[Callable[[], object]] = field(factory=list)
    told: list[object] = field(factory=list)
    first: list[object] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        read_to_the_end(self, lambda: self.wanted(), self.first.append, self)  # type: ignore[arg-type]

    @property
    def socket(self) -> Peer:
        return self

    @property
    def protocol(self) -> Peer:
        return self

    def callLater(self, seconds: float, call: Callable[..., object], *arguments: object) -> None:
        assert 0 == seconds
        self.later.append(partial(call, *arguments))

    def recv(self, nbytes: int) -> bytes:
        assert READ_BYTES == nbytes
        octets = self.unread.pop(0) if self.unread else b""
        if isinstance(octets, Exception):
            raise octets
        return octets

    def dataReceived(self, octets: bytes) -> None:
        self.told.append(octets)

    def stopWriting(self) -> None:
        self.told.append("writes no more")

    def connectionLost(self, reason: Failure) -> None:
        self.told.append(reason)


def turns(peer: Peer, number: int = 10) -> list[object]:
    """What the protocol was told after so many turns of the reactor."""
    for _ in range(number):
        calls, peer.later = peer.later, []
        for call in calls:
            call()
    return peer.told


def test_what_was_sent_before_a_cut_is_read_a_part_each_turn_and_then_the_loss_is_told() -> None:
    peer = Peer([b"one", b"two"])
    peer.connectionLost(CUT)
    assert ["writes no more", b"one"] == peer.told
    assert ["writes no more", b"one", b"two"] == turns(peer, 1)
    assert ["writes no more", b"one", b"two", CUT] == turns(peer)


def test_the_reset_itself_ends_the_reading() -> None:
    peer = Peer([b"one", ConnectionResetError(), b"never"])
    peer.connectionLost(CUT)
    assert ["writes no more", b"one", CUT] == turns(peer)


@pytest.mark.parametrize("nothing", [b"", BlockingIOError(), ConnectionResetError(), AttributeError("socket")])
def test_with_nothing_unread_or_no_socket_any_more_the_loss_is_told_at_once(nothing: bytes | Exception) -> None:
    peer = Peer([nothing])
    peer.connectionLost(CUT)
    assert ["writes no more", CUT] == peer.told


def test_a_connection_that_was_closed_in_order_has_nothing_unread() -> None:
    peer, done = Peer([b"never"]), Failure(ConnectionDone())
    peer.connectionLost(done)
    assert [done] == turns(peer)


def test_nobody_reads_for_a_stream_that_is_over() -> None:
    peer = Peer([b"never"], lambda: False)
    peer.connectionLost(CUT)
    assert [CUT] == peer.first
    assert [CUT] == turns(peer)


def test_a_stream_that_ends_meanwhile_ends_the_reading() -> None:
    wants = [True, True, False]
    peer = Peer([b"one", b"never"], lambda: wants.pop(0))
    peer.connectionLost(CUT)
    assert ["writes no more", b"one", CUT] == turns(peer)


def test_who_can_take_nothing_now_is_waited_for() -> None:
    wants = [None, None, None, True, True]
    peer = Peer([b"one"], lambda: wants.pop(0))
    peer.connectionLost(CUT)
    assert ["writes no more"] == turns(peer, 1)
    assert ["writes no more", b"one", CUT] == turns(peer)


def test_a_loss_told_twice_is_one() -> None:
    peer = Peer([b"one", b"two"])
    peer.connectionLost(CUT)
    peer.connectionLost(CUT)
    assert ["writes no more", b"one", b"two", CUT] == turns(peer)


@define
class Around:
    """TLS, or another wrapper."""

    transport: object


def test_the_connection_is_found_below_whatever_wraps_it() -> None:
    connection = Connection.__new__(Connection)
    assert connection is connection_below(Around(Around(connection)))
    assert connection is connection_below(connection)
    assert connection_below(Around(object())) is None
