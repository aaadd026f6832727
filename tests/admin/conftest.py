"""A real book on a clock of its own, a desk over it, and a connection that talks to a transport in memory.

``listen`` makes an admin port on real sockets instead, of ``listening.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher

from ctrlserver.admin.limits import Limits
from ctrlserver.admin.ports import AdminPorts
from ctrlserver.admin.protocol import AdminConnection, AdminPort
from ctrlserver.admin.session import Access
from ctrlserver.desk import Desk
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin, StreamCounters
from tests.admin.listening import Admin, desk_of, reactor

MARK = Limits().read_bytes

Asks = Callable[[str], list[str]]

TCP_HOST = IPv4Address("TCP", "127.0.0.1", 22223)


def refusal(lines: list[str]) -> tuple[str, str]:
    """Code and id of a reply that must be one ERR line."""
    (line,) = lines
    word, code, id, _ = line.split(" ", 3)
    assert "ERR" == word
    return code, id


class SlowTransport(StringTransport):
    """A transport whose peer reads when it is told to; pauses and resumes its producer as Twisted's own do."""

    def __init__(self, host: IAddress) -> None:
        peer = IPv4Address("TCP", "127.0.0.1", 5555)
        super().__init__(hostAddress=host, peerAddress=peer)  # type: ignore[no-untyped-call]
        self.unread = 0
        self.producer_paused = False
        self.stuck = False

    def write(self, data: bytes) -> None:
        super().write(data)  # type: ignore[no-untyped-call]
        if not self.stuck:
            return
        self.unread += len(data)
        if self.unread > MARK and self.producer is not None:
            self.producer_paused = True
            self.producer.pauseProducing()

    @property
    def is_open(self) -> bool:
        return not self.disconnecting

    @property
    def is_aborted(self) -> bool:
        return self.disconnected

    @property
    def sent(self) -> bytes:
        return bytes(self.value())  # type: ignore[no-untyped-call]

    def drain(self) -> None:
        """The peer reads all that the transport holds."""
        self.unread = 0
        paused, self.producer_paused = self.producer_paused, False
        if paused and self.producer is not None:
            self.producer.resumeProducing()


@define
class Peer:
    """One connected peer: says bytes, sees bytes."""

    connection: AdminConnection
    transport: SlowTransport

    def says(self, octets: bytes) -> bytes:
        """What is answered to these bytes at once."""
        before = len(self.transport.sent)
        self.connection.dataReceived(octets)
        return self.transport.sent[before:]

    def asks(self, line: str) -> list[str]:
        """The lines of the reply to one line."""
        return self.says(f"{line}\r\n".encode()).decode().removesuffix("\r\n").split("\r\n")

    def asks_json(self, line: str) -> Any:
        """The JSON reply to one line, which must be one line."""
        octets = self.says(f"{line} json\r\n".encode())
        assert 1 == octets.count(b"\n")
        assert octets.endswith(b"\r\n")
        return json.loads(octets)

    def ends(self) -> None:
        self.connection.readConnectionLost()


@define
class Server:
    """The parts around a connection."""

    clock: Clock = field(factory=Clock)
    kicked: list[int] = field(factory=list)
    kick_seconds: float = 0.0
    book: Book = field(init=False)
    desk: Desk = field(init=False)
    factory: AdminPorts = field(init=False)
    access: Access = field(factory=Access)
    origin: Origin = field(factory=lambda: Origin("data", "tcp", "fixed:1024", "sink", 1024))

    def __attrs_post_init__(self) -> None:
        self.book = Book(version="1.2.3", now=self.clock.seconds(), wall=1_700_000_000.0)
        self.desk = Desk(self.book, "1.2.3", self.clock.seconds, self._kick)
        self.factory = AdminPorts(self.desk, self.clock)

    def _kick(self, number: int) -> bool:
        self.clock.rightNow += self.kick_seconds  # time goes by while the reactor is busy
        stream = self.book.counters.open.get(number)
        if stream is None:
            return False
        self.kicked.append(number)
        self.book.stream_closed(stream, "kicked", 0, self.clock.seconds())
        return True

    def bounded(self, **limits: Any) -> None:
        self.factory = AdminPorts(self.desk, self.clock, limits=Limits(**limits))

    def connect(self, host: IAddress = TCP_HOST, peer: IAddress | None = None) -> Peer:
        connection = AdminPort(self.factory, self.access).buildProtocol(peer or host)
        transport = SlowTransport(host)
        connection.makeConnection(transport)  # type: ignore[no-untyped-call]
        return Peer(connection, transport)

    def stream(self, packets: int = 0, peer: str = "10.0.0.1:4000", *, open: bool = False) -> StreamCounters:
        """A stream that brought packets of 1 KiB in one second."""
        now = self.clock.seconds()
        stream = self.book.stream_opened(self.origin, peer, now)
        if packets:
            self.book.first_data(stream, now, now)
            stream.packets, stream.bytes, stream.last = packets, packets * 1024, now + 1.0
        if not open:
            self.book.stream_closed(stream, "eof", 0, now + 1.0)
        return stream


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def peer(server: Server) -> Peer:
    return server.connect()


@pytest.fixture
def asks(peer: Peer) -> Callable[[str], list[str]]:
    return peer.asks


@pytest.fixture
def logged() -> Iterator[list[LogEvent]]:
    events: list[LogEvent] = []
    observer = cast(ILogObserver, events.append)
    globalLogPublisher.addObserver(observer)
    yield events
    globalLogPublisher.removeObserver(observer)


def stuck(peer: Peer) -> Peer:
    """From now on this peer reads nothing."""
    peer.transport.stuck = True
    return peer


@pytest.fixture
def listen() -> Iterator[Callable[..., Admin]]:
    made: list[Admin] = []

    def make(
        endpoint: str = "tcp:0:interface=127.0.0.1", streams: int = 0, clock: Clock | None = None, **limits: Any
    ) -> Admin:
        factory = AdminPorts(desk_of(streams), clock or reactor, limits=Limits(**limits))
        ports: list[IListeningPort] = []
        serverFromString(reactor, endpoint).listen(AdminPort(factory, Access())).addCallback(ports.append)
        made.append(Admin(factory, ports[0]))
        return made[-1]

    yield make
    for admin in made:
        admin.factory.close()
        pytest_twisted.blockon(admin.port.stopListening())


@pytest.fixture
def complaints() -> Iterator[list[LogEvent]]:
    events: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.warn:
            events.append(event)

    observer = cast(ILogObserver, observe)
    globalLogPublisher.addObserver(observer)
    yield events
    globalLogPublisher.removeObserver(observer)
