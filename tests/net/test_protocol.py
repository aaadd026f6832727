"""TLS handshakes that fail, or last too long, on real sockets; the time is the test's own."""

from __future__ import annotations

import fcntl
import socket
import ssl
import struct
import termios
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import NoReturn

import pytest
import pytest_twisted
from attrs import define
from twisted.internet.endpoints import SSL4ServerEndpoint
from twisted.internet.task import Clock, deferLater
from twisted.logger import capturedLogs

from ctrlserver.logs.lines import out_of_memory
from ctrlserver.net.gate import Seats
from ctrlserver.net.protocol import (
    HANDSHAKE_SECONDS,
    OPENSSL_BYTES,
    OPENSSL_FIRST_BYTES,
    StreamFactory,
    tls_fault,
)
from ctrlserver.net.stream import OpenStreams
from ctrlserver.net.terms import Terms
from ctrlserver.stats.counters import Origin
from ctrlserver.stats.records import StatsRecord
from ctrlserver.wire.framing import parse_framing
from tests.certificates import certificate
from tests.clients import connected
from tests.net.conftest import PATIENCE, WatchedBook, in_thread, read_to_end
from tests.servers import reset_at_close

pytest.importorskip("OpenSSL", reason="pyOpenSSL is not installed: ctrlserver[tls]")

pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")  # Twisted's own call


@define
class Served:
    """A TLS listener whose timers wait for ``clock``."""

    book: WatchedBook
    clock: Clock
    seats: Seats
    port: int

    def connect(self) -> socket.socket:
        return connected(("127.0.0.1", self.port))

    async def accepted(self) -> None:
        """A stream is open, and what opened it has returned."""
        from twisted.internet import reactor

        await self.book.opened.get()
        await deferLater(reactor, 0)

    def stats(self) -> StatsRecord:
        return self.book.stats(time.monotonic())


@pytest.fixture
def serve() -> Iterator[Callable[[], Awaitable[Served]]]:
    from twisted.internet import reactor
    from twisted.internet.ssl import PrivateCertificate

    ports = []

    async def start() -> Served:
        book = WatchedBook(version="test", now=time.monotonic(), wall=time.time())
        spec, clock = parse_framing("line"), Clock()
        terms = Terms(book=book, origin=Origin("data", "tls", spec.text, "echo", None), spec=spec)
        factory = StreamFactory(OpenStreams(terms, time.monotonic), clock)
        options = PrivateCertificate.loadPEM(certificate()).options()
        port = await SSL4ServerEndpoint(reactor, 0, options, interface="127.0.0.1").listen(factory)
        ports.append(port)
        return Served(book, clock, terms.gate.seats, port.getHost().port)

    yield start
    for port in ports:
        pytest_twisted.blockon(port.stopListening())


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01"])
@pytest_twisted.ensureDeferred
async def test_a_peer_that_never_ends_its_handshake_fails_at_the_limit(
    serve: Callable[[], Awaitable[Served]], said: bytes
) -> None:
    served = await serve()
    with served.connect() as client:
        client.sendall(said)
        await served.accepted()
        served.clock.pump([0.1] * round(HANDSHAKE_SECONDS / 0.1 - 1))
        assert (1, 0) == (served.stats().streams_open, served.stats().closed_handshake_total)
        served.clock.pump([0.1] * 10)
        await served.book.closed.get()
        assert b"" == await in_thread(read_to_end, client)
    assert (0, 1) == (served.stats().streams_open, served.stats().closed_handshake_total)
    assert [] == served.clock.getDelayedCalls()


@pytest_twisted.ensureDeferred
async def test_a_peer_that_has_ended_its_handshake_stays(serve: Callable[[], Awaitable[Served]]) -> None:
    served = await serve()

    def begin() -> ssl.SSLSocket:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = context.wrap_socket(served.connect())
        return echo(client)

    def echo(client: ssl.SSLSocket) -> ssl.SSLSocket:
        client.sendall(b"a\n")
        assert b"a\n" == client.recv(10)
        return client

    client = await in_thread(begin)
    served.clock.advance(0)  # the turn of the first data is over
    assert [] == served.clock.getDelayedCalls()
    served.clock.advance(HANDSHAKE_SECONDS * 2)
    (await in_thread(echo, client)).close()
    await served.book.closed.get()
    assert (1, 2) == (served.stats().closed_eof_total + served.stats().closed_reset_total, served.stats().packets_total)


def no_memory(_: object) -> NoReturn:
    raise MemoryError


def no_memory_in_openssl(_: object) -> NoReturn:
    from OpenSSL.SSL import Error

    raise Error([("common libcrypto routines", "", "malloc failure")])


@pytest.mark.parametrize("raising", [no_memory, no_memory_in_openssl])
@pytest.mark.parametrize("where", ["bio_write", "recv", "bio_read"])
@pytest_twisted.ensureDeferred
async def test_a_stream_that_ends_because_tls_has_no_memory_ends_at_the_limit_and_has_a_line(
    serve: Callable[[], Awaitable[Served]], where: str, raising: Callable[[object], NoReturn]
) -> None:
    served = await serve()

    def begin() -> ssl.SSLSocket:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = context.wrap_socket(served.connect())
        client.sendall(b"a\n")
        assert b"a\n" == client.recv(10)
        return client

    client = await in_thread(begin)
    (stream,) = served.book.counters.open.values()
    setattr(stream.path.transport.getHandle(), where, raising)  # type: ignore[union-attr]
    with capturedLogs() as lines:
        await in_thread(client.sendall, b"b\n")
        await served.book.closed.get()
    assert b"" == await in_thread(read_to_end, client)
    assert ("limit", 2 if where == "bio_read" else 1) == (stream.reason, stream.packets)
    told = [line for line in map(out_of_memory, lines) if line is not None]
    assert f"the stream of {stream.peer} ends" in [line["what"] for line in told]
    assert 0 == served.stats().faults_total


@pytest_twisted.ensureDeferred
async def test_what_openssl_keeps_is_counted_as_long_as_the_stream_is_open(
    serve: Callable[[], Awaitable[Served]],
) -> None:
    served = await serve()

    def begin() -> ssl.SSLSocket:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(served.connect())

    def send(client: ssl.SSLSocket) -> bytes:
        client.sendall(b"a\n")
        return client.recv(10)

    client = await in_thread(begin)
    await served.accepted()
    assert OPENSSL_FIRST_BYTES == served.stats().memory_bytes
    assert b"a\n" == await in_thread(send, client)
    assert OPENSSL_BYTES == served.stats().memory_bytes
    client.close()
    await served.book.closed.get()
    assert 0 == served.stats().memory_bytes


@pytest_twisted.ensureDeferred
async def test_after_a_pause_of_the_process_a_peer_may_still_end_its_handshake(
    serve: Callable[[], Awaitable[Served]],
) -> None:
    served = await serve()
    with served.connect() as client:
        await served.accepted()
        served.clock.advance(HANDSHAKE_SECONDS * 100)
        served.clock.pump([0.1] * 10)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        (await in_thread(context.wrap_socket, client)).close()
        await served.book.closed.get()
    assert 0 == served.stats().closed_handshake_total


@pytest_twisted.ensureDeferred
async def test_records_of_the_first_turn_are_one_read_and_have_no_rate(
    serve: Callable[[], Awaitable[Served]],
) -> None:
    served = await serve()

    def echo(client: socket.socket) -> None:
        client.sendall(b"a\n")
        assert b"a\n" == client.recv(10)

    def begin() -> ssl.SSLSocket:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = context.wrap_socket(served.connect())
        echo(client)
        echo(client)
        return client

    client = await in_thread(begin)
    (record,) = served.book.streams()
    assert (2, 0.0, None, None) == (
        record.packets,
        record.seconds,
        record.packets_per_second,
        record.bits_per_second,
    )
    served.clock.advance(0)
    await in_thread(echo, client)
    client.close()
    await served.book.closed.get()
    (record,) = served.book.streams()
    assert 3 == record.packets
    assert record.packets_per_second is not None


@pytest_twisted.ensureDeferred
async def test_a_peer_that_hangs_up_in_its_handshake_leaves_no_timer(serve: Callable[[], Awaitable[Served]]) -> None:
    served = await serve()
    served.connect().close()
    await served.book.closed.get()
    assert [] == served.clock.getDelayedCalls()
    assert 1 == served.stats().closed_handshake_total


@pytest_twisted.ensureDeferred
async def test_plain_text_to_a_tls_port_is_a_failed_handshake_that_says_why(
    serve: Callable[[], Awaitable[Served]],
) -> None:
    served = await serve()
    with served.connect() as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        await served.book.closed.get()
    assert (1, 0) == (served.stats().closed_handshake_total, served.stats().closed_reset_total)
    assert served.seats.last_handshake.startswith("127.0.0.1:")
    assert served.seats.last_handshake.endswith(": http request")


def test_a_fault_of_tls_is_told_in_the_words_of_openssl_or_as_a_close() -> None:
    assert "no shared cipher" == tls_fault(Exception([("SSL routines", "", "no shared cipher")]))
    for other in (None, Exception(), Exception([]), Exception("x")):
        assert "the peer closed the connection" == tls_fault(other)


@pytest_twisted.ensureDeferred
async def test_all_that_was_acknowledged_before_a_reset_is_counted(serve: Callable[[], Awaitable[Served]]) -> None:
    from twisted.internet import reactor

    served = await serve()
    lines = b"a line of a peer that reads no echoes\n" * 5000

    def script() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(served.connect()) as client:
            client.sendall(lines[:1000])
            client.recv(1)
            client.setblocking(False)
            at, end = 1000, time.monotonic() + PATIENCE
            while at < len(lines) and time.monotonic() < end:
                with suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    at += client.send(lines[at:])
                with suppress(ssl.SSLWantReadError):
                    client.recv(65536)
            while unacknowledged(client) and time.monotonic() < end:
                time.sleep(0.001)
            reset_at_close(client)

    for _ in range(20):
        await in_thread(script)
        while served.stats().streams_open:
            served.clock.advance(0)
            await deferLater(reactor, 0)
    assert {(5000, len(lines), "reset")} == {
        (record.packets, record.bytes, record.reason) for record in served.book.streams()
    }


def unacknowledged(client: socket.socket) -> int:
    """Bytes that the other side's kernel does not have yet."""
    (left,) = struct.unpack("i", fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)))
    return int(left)
