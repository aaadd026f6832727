"""Rules of the lane's links and of the Twisted protocol that no well-behaved network shows."""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from pathlib import Path
from select import EPOLLIN

import pytest
import pytest_twisted
from attrs import define, evolve
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs

from ctrlserver.errors import lacks_memory
from ctrlserver.lane.lane import Lane
from ctrlserver.net.links import ACCEPT_PAUSE_SECONDS, LaneAcceptor, LaneLink, Links
from ctrlserver.net.listeners import Listener
from ctrlserver.net.protocol import StreamFactory, StreamProtocol
from ctrlserver.net.replies import CannedReply
from ctrlserver.net.stream import OpenStreams
from ctrlserver.net.terms import Terms
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin
from ctrlserver.wire.framing import PACKETS_A_CALL, parse_framing
from tests.clients import connected
from tests.net.conftest import DENSE, Serve, in_thread, read_to_end


def terms_of(framing: str, mode: str) -> Terms:
    book = Book(version="test", now=0.0, wall=0.0)
    spec = parse_framing(framing)
    return Terms(book=book, origin=Origin("data", "tcp", spec.text, mode, spec.size), spec=spec)


def protocol_of(terms: Terms) -> StreamProtocol:
    protocol = StreamFactory(OpenStreams(terms, lambda: 1.0), MemoryReactorClock()).buildProtocol(None)
    assert isinstance(protocol, StreamProtocol)
    return protocol


@pytest.mark.skipif(not Lane.supported(MemoryReactorClock()), reason="a lane needs epoll")
@pytest.mark.parametrize("mode", ["echo", "reply"])
def test_packets_whose_answer_the_socket_refuses_are_not_counted_as_answered(mode: str) -> None:
    spec = parse_framing("fixed:10")
    terms = Terms(
        book=Book(version="test", now=0.0, wall=0.0),
        origin=Origin("data", "tcp", spec.text, mode, spec.size, by_size=True),
        spec=spec,
        canned=CannedReply(b"ok") if mode == "reply" else None,
    )
    lane = Lane(MemoryReactorClock(), lambda: 1.0)
    lane.start()
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as far:
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        near, _ = listening.accept()
        near.setblocking(False)
        counters = LaneLink(lane, near, OpenStreams(terms, lane.clock), "peer:1").stream.counters
        far.sendall(b"x" * 20)
        lane.doRead()
        assert (2, 2) == (counters.whole(), counters.replies())
        near.shutdown(socket.SHUT_WR)
        for packets in (3, 4):
            far.sendall(b"x" * 10 * packets)
            lane.doRead()
        assert (9, 2) == (counters.whole(), counters.replies())
        far.shutdown(socket.SHUT_WR)
        lane.doRead()
    lane.stop()
    assert ("reset", 2) == (counters.reason, terms.book.counters.totals().replies)


@pytest.mark.skipif(not Lane.supported(MemoryReactorClock()), reason="a lane needs epoll")
@pytest.mark.parametrize("probe", [False, True])
@pytest.mark.parametrize("keep", [0, 3])
@pytest.mark.parametrize("mode", ["sink", "echo", "reply"])
def test_a_stream_cuts_a_bounded_number_of_packets_in_a_turn_and_gives_back_the_rest(
    mode: str, keep: int, probe: bool
) -> None:
    terms = evolve(
        terms_of("netstring", mode), keep=keep, probe=probe, canned=CannedReply(b"ok") if mode == "reply" else None
    )
    lane = Lane(MemoryReactorClock(), lambda: 1.0)
    lane.start()
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        stream = LaneLink(lane, near, OpenStreams(terms, lane.clock), "peer:1").stream
        left = stream.received(memoryview(DENSE)[:65536], 1.0)
        assert 0 < left < 65536
        assert 0 < stream.counters.whole() <= 3 * PACKETS_A_CALL
        stream.abort("drain", 1.0)
    lane.stop()


class Crowded(socket.socket):
    """Has one more connection whenever it is asked."""

    def _accept(self) -> tuple[int, tuple[str, int]]:
        near, far = socket.socketpair()
        far.close()
        return near.detach(), ("127.0.0.1", 1)


@pytest.mark.skipif(not Lane.supported(MemoryReactorClock()), reason="a lane needs epoll")
def test_a_data_port_accepts_64_connections_in_one_go() -> None:
    reactor = MemoryReactorClock()
    lane = Lane(reactor, lambda: 1.0)
    lane.start()
    with Crowded() as listening:
        listening.bind(("127.0.0.1", 0))
        streams = OpenStreams(terms_of("line", "sink"), lane.clock)
        take = Links(lane, streams, listening.family).take
        acceptor = LaneAcceptor(lane, reactor, listening, "data", take)
        acceptor.ready(EPOLLIN)
        opened = list(streams.all.values())
        for stream in opened:
            stream.abort("drain", 1.0)
        acceptor.stop()
    lane.stop()
    assert 64 == len(opened)


class Endless(socket.socket):
    """Has more for whoever reads, whenever it is read."""

    reads = 0

    def recv_into(self, *_: object) -> int:
        self.reads += 1
        return 1


@pytest.mark.skipif(not Lane.supported(MemoryReactorClock()), reason="a lane needs epoll")
def test_of_a_peer_that_goes_on_sending_a_close_reads_a_bounded_part() -> None:
    lane = Lane(MemoryReactorClock(), lambda: 1.0)
    lane.start()
    near = Endless()
    terms = terms_of("fixed:10", "sink")
    link = LaneLink(lane, near, OpenStreams(terms, lane.clock), "peer:1")
    link.stream.ended(1.0)
    lane.stop()
    assert ("eof", 16, -1) == (link.stream.counters.reason, near.reads, near.fileno())


@pytest.mark.parametrize("way", ["lane"])
@pytest.mark.parametrize(("framing", "touched"), [("line", True), ("fixed:1000", False)])
@pytest_twisted.ensureDeferred
async def test_a_read_that_copies_uses_64_kib_of_the_buffer_and_one_that_skips_none(
    serve: Serve, framing: str, touched: bool
) -> None:
    served = await serve(framing)

    def script() -> None:
        with served.connect() as client:
            client.sendall((b"x" * 999 + b"\n") * 1000)
            client.shutdown(socket.SHUT_WR)
            read_to_end(client)

    await in_thread(script)
    assert [1000] == [record.packets for record in served.records()]
    assert served.lane is not None
    used = len(served.lane.buffer.rstrip(b"\0"))
    assert touched == (0 < used <= 65536)
    assert used <= 65536


def test_what_a_transport_hands_over_although_it_was_told_to_pause_is_neither_lost_nor_mixed_up() -> None:
    """TLS gives all records of one read."""
    terms = terms_of("int8", "echo")
    protocol = protocol_of(terms)
    transport = StringTransport()
    protocol.makeConnection(transport)  # type: ignore[no-untyped-call]
    protocol.pauseProducing()
    sent = b"".join(b"\x01" + bytes([number]) for number in range(9))
    for start in range(0, len(sent), 3):
        protocol.dataReceived(sent[start : start + 3])
    assert b"" == transport.value()
    protocol.resumeProducing()
    assert sent == transport.value()
    assert 9 == protocol.stream.counters.packets


def test_what_was_held_when_the_connection_went_is_counted_and_not_as_answered() -> None:
    terms = terms_of("line", "echo")
    protocol = protocol_of(terms)
    protocol.makeConnection(StringTransport())  # type: ignore[no-untyped-call]
    protocol.pauseProducing()
    protocol.dataReceived(b"one\n")
    protocol.dataReceived(b"two\nthree\n")
    protocol.connectionLost()
    totals = terms.book.counters.totals()
    assert (3, 0) == (totals.packets, totals.streams_open)
    assert totals.replies <= 1


@pytest_twisted.ensureDeferred
async def test_a_unix_peer_that_hangs_up_while_it_is_owed_is_closed_at_once(tmp_path: Path) -> None:
    from twisted.internet import reactor

    terms = terms_of("int32", "echo")
    lane = Lane(reactor)
    lane.start()
    listener = Listener(terms, lane, reactor, time.monotonic)
    await listener.listen(serverFromString(reactor, f"unix:{tmp_path / 'x.sock'}"))
    client = connected(tmp_path / "x.sock")
    client.setblocking(False)
    frame = b"\0\0\x03\xfc" + b"x" * 1020
    while not listener.open_streams.waiting:
        with contextlib.suppress(BlockingIOError):
            client.send(frame)
        lane.doRead()
    client.shutdown(socket.SHUT_RDWR)
    lane.doRead()
    lane.doRead()
    totals = terms.book.counters.totals()
    client.close()
    await listener.stop_listening()
    lane.stop()
    assert (0, 1) == (totals.streams_open, totals.streams_total)


class NoDescriptors(socket.socket):
    """A listening socket for which there is no descriptor."""

    def _accept(self) -> tuple[int, object]:
        raise OSError(errno.EMFILE, "Too many open files")


def test_without_descriptors_a_data_port_says_so_once_a_second_with_the_number_of_pauses() -> None:
    reactor = MemoryReactorClock()
    lane = Lane(reactor, reactor.seconds)
    lane.start()
    with NoDescriptors() as listening, capturedLogs() as lines:
        listening.bind(("127.0.0.1", 0))
        acceptor = LaneAcceptor(lane, reactor, listening, "data", lambda *_: None)
        for _ in range(25):
            acceptor.ready(EPOLLIN)
            (resumes,) = reactor.getDelayedCalls()
            assert pytest.approx(0.1) == resumes.getTime() - reactor.seconds()
            reactor.advance(ACCEPT_PAUSE_SECONDS)
        acceptor.stop()
    lane.stop()
    assert 3 == len(lines)
    assert 20 <= sum(line["number"] for line in lines) <= 25
    assert {"descriptors"} == {line["lacking"] for line in lines}


@define
class Exhausted:
    """A framing for which there is no memory now."""

    fault: None = None
    pending_bytes: int = 0
    holds: bool = False

    def count(self, chunk: memoryview) -> int:
        raise MemoryError


def test_without_memory_a_stream_ends_at_the_limit_over_twisted_too_and_has_a_line() -> None:
    protocol = protocol_of(terms_of("line", "echo"))
    protocol.makeConnection(StringTransport())  # type: ignore[no-untyped-call]
    protocol.stream._framing = Exhausted()  # type: ignore[assignment]
    with capturedLogs() as lines:
        protocol.dataReceived(b"one\n")
    assert "limit" == protocol.stream.counters.reason
    assert [True] == [lacks_memory(line["log_failure"].value) for line in lines]
