"""The data plane on real ports, without a service around it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, capturedLogs, formatEvent, globalLogPublisher

from ctrlserver.config import ListenerConfig
from ctrlserver.net import plane as module
from ctrlserver.net.listeners import CannotBind
from ctrlserver.net.plane import LEAVING_SECONDS, SWEEP_SECONDS, DataPlane
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin
from tests.certificates import certificate
from tests.runs import reached

LOOPBACK = "tcp:0:interface=127.0.0.1"


def plane_of(*listeners: ListenerConfig) -> tuple[DataPlane, Book]:
    from twisted.internet import reactor

    book = Book(version="test", now=time.monotonic(), wall=time.time())
    return DataPlane(listeners, book, reactor, time.monotonic), book


@pytest.fixture
def served() -> Iterator[tuple[DataPlane, Book]]:
    plane, book = plane_of(ListenerConfig(name="one", endpoint=LOOPBACK), ListenerConfig(name="two", endpoint=LOOPBACK))
    plane.bind()
    yield plane, book
    pytest_twisted.blockon(plane.stop_listening())
    plane.drain()
    plane.stop()


def connected(plane: DataPlane, listener: int) -> socket.socket:
    port = plane.listeners[listener].port
    assert port is not None
    return socket.create_connection(("127.0.0.1", port.getHost().port))  # type: ignore[attr-defined]


@pytest_twisted.ensureDeferred
async def test_silent_streams_keep_a_plane_busy_only_where_twisted_serves_them(served: tuple[DataPlane, Book]) -> None:
    plane, book = served
    with connected(plane, 0) as client:
        await reached(lambda: book.counters.open)
        client.sendall(b"x" * 1024)
        await reached(lambda: book.stats(time.monotonic()).packets_total)
        on_lane = plane.listeners[0].on_lane
        await reached(lambda: plane.is_busy() != on_lane)


@pytest_twisted.ensureDeferred
async def test_a_stream_of_any_listener_is_kicked_by_its_number_and_once(
    served: tuple[DataPlane, Book],
) -> None:
    plane, book = served
    with connected(plane, 0), connected(plane, 1):
        await reached(lambda: {1, 2} == {stream.counters.stream for stream in plane.streams()})
        assert [True, False] == [plane.kick(2), plane.kick(2)]
        assert [1] == [stream.counters.stream for stream in plane.streams()]
        assert 1 == book.stats(time.monotonic()).closed_kicked_total


@pytest_twisted.ensureDeferred
async def test_a_drain_ends_the_streams_of_all_listeners(served: tuple[DataPlane, Book]) -> None:
    plane, book = served
    with connected(plane, 0), connected(plane, 1):
        await reached(lambda: len(list(plane.streams())) == 2)
        plane.drain()
        assert [] == list(plane.streams())
        assert (0, 2) == (plane.seats.taken, book.stats(time.monotonic()).closed_drain_total)


@pytest_twisted.ensureDeferred
async def test_a_plane_that_leaves_closes_its_ports_and_ends_its_silent_streams_alone() -> None:
    from twisted.internet import reactor

    ahead = 0.0
    book = Book(version="test", now=0.0, wall=0.0)
    plane = DataPlane([ListenerConfig(endpoint=LOOPBACK)], book, cast(Any, reactor), lambda: time.monotonic() + ahead)
    plane.bind()
    port = plane.listeners[0].port
    assert port is not None
    number = port.getHost().port  # type: ignore[attr-defined]
    with connected(plane, 0), connected(plane, 0) as busy:
        await reached(lambda: len(list(plane.streams())) == 2)
        ahead = LEAVING_SECONDS
        plane.sweep()  # late, as after a pause: it judges nobody
        busy.sendall(bytes(1024))
        await reached(lambda: sum(record.packets for record in book.streams()) == 1)
        ahead += SWEEP_SECONDS
        await plane.leave()
        assert [("open", 1), ("closed", 0)] == [(record.state, record.packets) for record in book.streams()]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", number))
    await plane.stop_listening()
    plane.drain()
    plane.stop()


@pytest_twisted.ensureDeferred
async def test_connections_that_wait_when_the_plane_leaves_are_streams_yet(served: tuple[DataPlane, Book]) -> None:
    plane, book = served
    waiting = [connected(plane, 0) for _ in range(20)]  # the reactor has had no turn since
    await plane.leave()
    for client in waiting:
        client.sendall(bytes(1024))
        client.close()
    await reached(lambda: not list(plane.streams()))
    stats = book.stats(time.monotonic())
    assert (20, 20, 0) == (stats.packets_total, stats.closed_eof_total, stats.rejected_total)


def test_a_port_in_use_is_named_with_the_listener_and_the_reason(served: tuple[DataPlane, Book]) -> None:
    port = served[0].listeners[0].port
    assert port is not None
    where = f"tcp:{port.getHost().port}:interface=127.0.0.1"  # type: ignore[attr-defined]
    plane, _ = plane_of(ListenerConfig(name="late", endpoint=where))
    with pytest.raises(CannotBind, match=f"^cannot listen for late on {where}: address already in use$"):
        plane.bind()
    plane.stop()


def test_that_numpy_is_missing_is_logged_once_and_only_where_something_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_numpy", lambda: False)
    with capturedLogs() as lines:
        plane_of(ListenerConfig(endpoint=LOOPBACK))
        assert () == tuple(lines)
        plane_of(*[ListenerConfig(name=name, endpoint=LOOPBACK, probe=True, udp=True) for name in ("one", "two")])
    assert [True] == ["numpy is not installed" in line["log_format"] for line in lines]


@pytest.fixture
def lines() -> Iterator[list[str]]:
    got: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_namespace"].startswith("ctrlserver"):  # not what Twisted says of ports that other tests had
            got.append(formatEvent(event))

    observer = cast(ILogObserver, observe)
    globalLogPublisher.addObserver(observer)
    yield got
    globalLogPublisher.removeObserver(observer)


@pytest_twisted.ensureDeferred
async def test_after_a_pause_of_the_process_no_stream_is_idle_before_its_socket_was_read() -> None:
    from twisted.internet import reactor

    ahead = 0.0

    def clock() -> float:
        return time.monotonic() + ahead

    book = Book(version="test", now=clock(), wall=0.0)
    listener = ListenerConfig(name="one", endpoint=LOOPBACK, idle_timeout=1000.0)
    plane = DataPlane([listener], book, reactor, clock)
    plane.bind()
    with connected(plane, 0) as client:
        await reached(lambda: len(list(plane.streams())) == 1)
        plane.sweep()
        client.sendall(bytes(1024))
        ahead = 2000.0
        plane.sweep()
        assert ["open"] == [record.state for record in book.streams()]
        await reached(lambda: book.streams()[0].packets == 1)
        ahead += SWEEP_SECONDS
        plane.sweep()
        assert ["open"] == [record.state for record in book.streams()]
        ahead += 1000.0
        plane.sweep()
        ahead += SWEEP_SECONDS
        plane.sweep()
        assert ["idle"] == [record.reason for record in book.streams()]
    await plane.stop_listening()
    plane.stop()


def test_however_many_are_turned_away_there_is_one_line_a_second_and_none_is_left_out(lines: list[str]) -> None:
    book, clock = Book(version="test", now=0.0, wall=0.0), Clock()
    plane = DataPlane([], book, clock, clock.seconds)
    book.stream_opened(Origin("data", "udp", "datagram", "sink", None), "10.0.0.9:1", 0.0)
    for tick in range(9):
        for _ in range(100):
            plane.seats.last_refused = f"10.0.0.1:{tick}"
            book.counters.rejected("max-streams")
        book.counters.rejected("not-allowed")
        plane.sweep()
        clock.advance(0.25)
    clock.advance(100.0)
    plane.sweep()
    assert [
        "peers rejected: 101 (max-streams 100, not-allowed 1), the last 10.0.0.1:0; 1 streams are open",
        "peers rejected: 404 (max-streams 400, not-allowed 4), the last 10.0.0.1:4; 1 streams are open",
        "peers rejected: 404 (max-streams 400, not-allowed 4), the last 10.0.0.1:8; 1 streams are open",
    ] == lines


def test_however_many_handshakes_fail_there_is_one_line_a_second_that_says_why(lines: list[str]) -> None:
    book, clock = Book(version="test", now=0.0, wall=0.0), Clock()
    plane = DataPlane([], book, clock, clock.seconds)
    for tick in range(9):
        stream = book.stream_opened(Origin("data", "tls", "raw", "sink", None), "10.0.0.1:1", clock.seconds())
        book.stream_closed(stream, "handshake", 0, clock.seconds())
        plane.seats.last_handshake = f"10.0.0.1:{tick}: http request"
        plane.sweep()
        clock.advance(0.25)
    assert [
        "TLS handshakes failed: 1, the last of 10.0.0.1:0: http request",
        "TLS handshakes failed: 4, the last of 10.0.0.1:4: http request",
        "TLS handshakes failed: 4, the last of 10.0.0.1:8: http request",
    ] == lines


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")  # Twisted's own call
@pytest.mark.parametrize(
    "endpoint", [LOOPBACK, f"haproxy:{LOOPBACK}", "unix:{}/x.sock", "ssl:0:interface=127.0.0.1:privateKey={}/x.pem"]
)
@pytest_twisted.ensureDeferred
async def test_while_the_server_drains_a_new_connection_is_rejected_and_counted_by_whatever_way_in(
    tmp_path: Path, endpoint: str
) -> None:
    (tmp_path / "x.pem").write_bytes(certificate())
    plane, book = plane_of(ListenerConfig(endpoint=endpoint.format(tmp_path)))
    plane.bind()
    port = plane.listeners[0].port
    assert port is not None
    at: Any = port.getHost()
    plane.seats.draining = True
    for rejected in (1, 2):
        with socket.socket(socket.AF_UNIX if endpoint.startswith("unix") else socket.AF_INET) as client:
            client.connect(at.name if endpoint.startswith("unix") else ("127.0.0.1", at.port))
            await reached(lambda: book.counters.rejected_by_reason == {"draining": rejected})  # noqa: B023
    assert 0 == book.stats(time.monotonic()).streams_total
    await plane.stop_listening()
    plane.stop()
