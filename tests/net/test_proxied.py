"""Connections that come through a proxy, on real sockets; the time is the test's own."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import ip_network
from typing import Any

import pytest
import pytest_twisted
from attrs import define
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import Clock, deferLater

from ctrlserver.lane.lane import Lane
from ctrlserver.net.gate import Gate, Seats
from ctrlserver.net.listeners import Listener
from ctrlserver.net.proxied import HEADER_SECONDS
from ctrlserver.net.terms import Terms
from ctrlserver.stats.counters import Origin
from ctrlserver.stats.records import StatsRecord
from ctrlserver.wire.framing import parse_framing
from tests.certificates import certificate
from tests.clients import connected
from tests.net.conftest import PATIENCE, WatchedBook, in_thread, read_to_end

HEADER = b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\r\n"
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"


@define
class Served:
    """A listener behind a proxy, in mode echo, whose timers wait for ``clock``."""

    book: WatchedBook
    clock: Clock
    seats: Seats
    port: int

    def connect(self, *parts: bytes) -> socket.socket:
        client = connected(("127.0.0.1", self.port))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            client.sendall(part)
        return client

    async def until(self, condition: Callable[[], bool]) -> None:
        from twisted.internet import reactor

        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end
            await deferLater(reactor, 0.001)

    def stats(self) -> StatsRecord:
        return self.book.stats(time.monotonic())


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
def serve(tmp_path: Any) -> Iterator[Serve]:
    from twisted.internet import reactor

    up: list[tuple[Listener, Lane]] = []

    async def start(endpoint: str = "tcp:0", allow: tuple[str, ...] = (), per_peer: int = 0, seats: int = 0) -> Served:
        if endpoint.startswith("ssl:"):
            (tmp_path / "tls.pem").write_bytes(certificate())
            endpoint += f":privateKey={tmp_path}/tls.pem"
        book = WatchedBook(version="test", now=time.monotonic(), wall=time.time())
        spec, clock = parse_framing("line"), Clock()
        gate = Gate(Seats(seats), per_peer, [ip_network(each) for each in allow])
        terms = Terms(book=book, origin=Origin("data", "tcp", spec.text, "echo", None), spec=spec, gate=gate)
        lane = Lane(reactor)
        lane.start()
        listener = Listener(terms, lane, clock, time.monotonic)
        port: Any = await listener.listen(serverFromString(reactor, f"{endpoint}:interface=127.0.0.1"), proxied=True)
        up.append((listener, lane))
        return Served(book, clock, gate.seats, port.getHost().port)

    yield start
    for listener, lane in up:
        pytest_twisted.blockon(listener.stop_listening())
        for stream in list(listener.streams()):
            stream.abort("drain", 0.0)
        lane.stop()


def half_close_and_read(client: socket.socket) -> bytes:
    client.shutdown(socket.SHUT_WR)
    return read_to_end(client)


@pytest.mark.parametrize(
    "parts",
    [(HEADER + b"a line\n",), (HEADER, b"a line\n"), (HEADER[:3], HEADER[3:], b"a li", b"ne\n")],
)
@pytest_twisted.ensureDeferred
async def test_the_client_is_the_peer_and_gets_its_echo_after_its_half_close(
    serve: Serve, parts: tuple[bytes, ...]
) -> None:
    served = await serve()
    assert b"a line\n" == await in_thread(half_close_and_read, served.connect(*parts))
    await served.book.closed.get()
    (stream,) = served.book.streams()
    assert ("203.0.113.7:56324", 1, 7, "eof") == (stream.peer, stream.packets, stream.bytes, stream.reason)
    assert (1, 0) == (served.stats().replies_total, served.seats.taken)
    served.clock.advance(0)  # the turn of the first data is over
    assert [] == served.clock.getDelayedCalls()


@pytest.mark.parametrize("header", [LOCAL, b"PROXY UNKNOWN\r\n"])
@pytest_twisted.ensureDeferred
async def test_a_connection_of_the_proxys_own_has_the_proxys_address(serve: Serve, header: bytes) -> None:
    served = await serve()
    client = served.connect(header)
    near = client.getsockname()
    await served.book.opened.get()
    (stream,) = served.book.streams()
    assert f"127.0.0.1:{near[1]}" == stream.peer
    client.close()


@pytest_twisted.ensureDeferred
async def test_allow_and_the_streams_of_a_peer_go_by_the_client_not_the_proxy(serve: Serve) -> None:
    served = await serve(allow=("203.0.113.0/24",), per_peer=1)
    first = served.connect(HEADER)
    await served.book.opened.get()
    assert b"" == await in_thread(read_to_end, served.connect(HEADER))
    assert b"" == await in_thread(read_to_end, served.connect(HEADER.replace(b"203.0.113.7", b"203.0.114.7")))
    assert b"" == await in_thread(read_to_end, served.connect(LOCAL))
    other = served.connect(HEADER.replace(b"203.0.113.7", b"203.0.113.8"))
    await served.book.opened.get()
    stats = served.stats()
    assert (2, 1, 2) == (
        stats.streams_total,
        stats.rejected_max_streams_per_peer_total,
        stats.rejected_not_allowed_total,
    )
    first.close()
    other.close()


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b"PROXY TCP4 nobody\r\n", b"\x16\x03\x01"])
@pytest_twisted.ensureDeferred
async def test_a_wrong_header_is_rejected_at_once(serve: Serve, said: bytes) -> None:
    served = await serve()
    assert b"" == await in_thread(read_to_end, served.connect(said))
    stats = served.stats()
    assert (0, 1, 0) == (stats.streams_total, stats.rejected_proxy_header_total, served.seats.taken)
    assert [] == served.clock.getDelayedCalls()


@pytest.mark.parametrize("said", [b"", b"PROXY TCP4 203", b"\r\n\r\n\0\r\n"])
@pytest_twisted.ensureDeferred
async def test_a_peer_that_brings_no_header_is_rejected_at_the_limit(serve: Serve, said: bytes) -> None:
    served = await serve()
    client = served.connect(said)
    await served.until(lambda: served.seats.taken == 1)
    served.clock.pump([0.1] * round(HEADER_SECONDS / 0.1 - 1))
    assert (0, 1) == (served.stats().rejected_total, served.seats.taken)
    served.clock.pump([0.1] * 10)
    assert b"" == await in_thread(read_to_end, client)
    assert (1, 0) == (served.stats().rejected_proxy_header_total, served.seats.taken)
    assert [] == served.clock.getDelayedCalls()


@pytest_twisted.ensureDeferred
async def test_a_peer_that_leaves_before_its_header_is_whole_is_rejected(serve: Serve) -> None:
    served = await serve()
    served.connect(HEADER[:20]).close()
    await served.until(lambda: served.stats().rejected_proxy_header_total == 1)
    assert (0, []) == (served.seats.taken, served.clock.getDelayedCalls())


@pytest_twisted.ensureDeferred
async def test_connections_that_wait_for_their_header_take_the_seats_of_streams(serve: Serve) -> None:
    served = await serve(seats=1)
    silent = served.connect()
    await served.until(lambda: served.seats.taken == 1)
    assert b"" == await in_thread(read_to_end, served.connect(HEADER))
    assert 1 == served.stats().rejected_max_streams_total
    silent.sendall(HEADER)
    await served.until(lambda: served.stats().streams_open == 1)
    assert 1 == served.seats.taken
    silent.close()


@pytest_twisted.ensureDeferred
async def test_while_the_server_drains_neither_a_new_connection_nor_one_that_waits_becomes_a_stream(
    serve: Serve,
) -> None:
    served = await serve()
    waiting = served.connect()
    await served.until(lambda: served.seats.taken == 1)
    served.seats.draining = True
    waiting.sendall(HEADER)
    assert b"" == await in_thread(read_to_end, waiting)
    assert b"" == await in_thread(read_to_end, served.connect(HEADER))
    assert (0, 2) == (served.stats().streams_total, served.stats().rejected_draining_total)


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")  # Twisted's own call
@pytest.mark.parametrize("header_first", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_header_comes_before_tls_or_inside_it(serve: Serve, header_first: bool) -> None:
    pytest.importorskip("OpenSSL", reason="pyOpenSSL is not installed: ctrlserver[tls]")
    served = await serve("ssl:0")

    def talk() -> tuple[ssl.SSLSocket, bytes]:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = context.wrap_socket(served.connect(*[HEADER] * header_first))
        client.sendall((b"" if header_first else HEADER) + b"a line\n")
        return client, client.recv(100)

    client, echoed = await in_thread(talk)
    assert b"a line\n" == echoed
    served.clock.pump([HEADER_SECONDS, 0, HEADER_SECONDS, 0])
    (stream,) = served.book.streams()
    assert ("203.0.113.7:56324", "open", 0) == (stream.peer, stream.state, served.stats().rejected_total)
    client.close()
