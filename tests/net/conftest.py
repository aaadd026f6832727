"""A real listener on a real port, by either way in; clients are blocking sockets in a thread."""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest
import pytest_twisted
from attrs import define
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThread

from ctrlserver.lane.lane import Lane
from ctrlserver.net.listeners import Listener
from ctrlserver.net.replies import CannedReply
from ctrlserver.net.terms import Terms
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin, StreamCounters
from ctrlserver.stats.records import StreamRecord
from ctrlserver.wire.framing import parse_framing
from tests.clients import connected
from tests.net.echolab import Lab, made_lab
from tests.servers import reset_at_close

T = TypeVar("T")

#: Seconds after which a client gives up: only ever reached by a failure.
PATIENCE = 20.0

DENSE = b"0:,1:a," * 30_000
"""More packets than one turn may cut."""


class WatchedBook(Book):
    """A book that tells of each stream: await ``opened.get()``, ``closed.get()``."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.opened: DeferredQueue[int] = DeferredQueue()
        self.closed: DeferredQueue[int] = DeferredQueue()

    def stream_opened(self, origin: Origin, peer: str, now: float) -> StreamCounters:
        stream = super().stream_opened(origin, peer, now)
        self.opened.put(stream.stream)
        return stream

    def stream_closed(self, stream: StreamCounters, reason: str, incomplete_bytes: int, now: float) -> None:
        super().stream_closed(stream, reason, incomplete_bytes, now)
        self.closed.put(stream.stream)


@define
class Served:
    """A listener that listens."""

    book: WatchedBook
    listener: Listener
    lane: Lane | None
    port: int

    def connect(self, *, receive_buffer: int = 0) -> socket.socket:
        """A blocking client socket."""
        client = connected(("127.0.0.1", self.port), receive_buffer=receive_buffer)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def records(self) -> list[StreamRecord]:
        """All streams, newest first."""
        return self.book.streams()


def in_thread(script: Callable[..., T], *arguments: Any) -> Deferred[T]:
    """Run a client's blocking script beside the reactor."""
    return deferToThread(script, *arguments)


def read_to_end(client: socket.socket, close: bool = True) -> bytes:
    """All that comes until the other side closes; a reset ends it too."""
    got = bytearray()
    try:
        while more := client.recv(1 << 16):
            got += more
    except ConnectionResetError:
        pass
    if close:
        client.close()
    return bytes(got)


async def exchange(served: Served, *pieces: bytes) -> bytes:
    """A peer sends all and half-closes, and reads meanwhile to the end; what it got."""
    client = await in_thread(served.connect)

    def write() -> None:
        for piece in pieces:
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)

    writing = in_thread(write)
    got = await in_thread(read_to_end, client)
    await writing
    return got


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture(params=["lane", "twisted"])
def way(request: pytest.FixtureRequest) -> str:
    """Both ways in pass the same suite."""
    return str(request.param)


@pytest.fixture
def serve(way: str) -> Iterator[Serve]:
    """``await serve(framing=..., mode=...)`` listens on a free port; all is closed at the end of the test."""
    from twisted.internet import reactor

    up: list[Served] = []

    async def start(
        framing: str = "fixed:1024",
        mode: str = "sink",
        reply: bytes = b"\x06",
        max_packet: int = 1 << 20,
        **options: Any,
    ) -> Served:
        lane = Lane(reactor) if way == "lane" else None
        if lane is not None:
            lane.start()
        book = WatchedBook(version="test", now=time.monotonic(), wall=time.time())
        spec = parse_framing(framing, max_packet=max_packet)
        terms = Terms(
            book=book,
            origin=Origin("data", "tcp", spec.text, mode, spec.size, by_size=spec.by_length and spec.size is not None),
            spec=spec,
            **({"canned": CannedReply(reply)} if mode == "reply" else {}) | options,
        )
        listener = Listener(terms, lane, reactor, time.monotonic)
        port = await listener.listen(serverFromString(reactor, "tcp:0:interface=127.0.0.1"))
        assert listener.on_lane == (way == "lane")
        served = Served(book, listener, lane, port.getHost().port)  # type: ignore[attr-defined]
        up.append(served)
        return served

    yield start
    for served in up:
        pytest_twisted.blockon(served.listener.stop_listening())
        for stream in list(served.listener.streams()):
            stream.abort("drain", 0.0)
        if served.lane is not None:
            served.lane.stop()


def reactor_now() -> IReactorTime:
    from twisted.internet import reactor

    assert IReactorTime.providedBy(reactor)
    return reactor


def reset(client: socket.socket) -> None:
    """Close with RST."""
    reset_at_close(client)
    client.close()


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    yield from made_lab(monkeypatch)
