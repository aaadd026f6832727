"""What a small server is to a client: one class for each character, one object for each accepted connection."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from attrs import define
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from ctrlserver.wire.framing import parse_framing

if TYPE_CHECKING:
    from tests.servers import Servers


class Peer(Protocol):
    """One accepted connection; its server keeps it for closing."""

    transport: Any
    servers: Servers

    def connectionMade(self) -> None:
        self.servers.open.add(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.servers.open.discard(self)
        if not self.servers.open and self.servers.all_gone is not None:
            self.servers.all_gone.callback(None)


class Sink(Peer):
    """Counts bytes."""

    def dataReceived(self, data: bytes) -> None:
        self.servers.bytes += len(data)


class Echo(Peer):
    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class Doubling(Peer):
    """Answers too much."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data + data)


class Acknowledging(Peer):
    """One line for each 100 bytes, and some words at the end."""

    rest = 0

    def dataReceived(self, data: bytes) -> None:
        packets, self.rest = divmod(self.rest + len(data), 100)
        self.transport.write(b"+OK\r\n" * packets)


@implementer(IHalfCloseableProtocol)
class Parting(Acknowledging):
    """Says good-bye after our half-close."""

    def readConnectionLost(self) -> None:
        self.transport.write(b"421 good-bye\r\n")
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        pass


class Silent(Peer):
    """Reads and never answers."""

    def dataReceived(self, data: bytes) -> None:
        pass


class Deaf(Peer):
    """Never reads."""

    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.stopReading()


class Parrot(Peer):
    """Says the same to anything."""

    answer = b""
    hang_up = False

    def dataReceived(self, data: bytes) -> None:
        if self.answer:
            self.transport.write(self.answer)
        if self.hang_up:
            self.transport.loseConnection()


class Resetting(Peer):
    """Resets after 100 000 bytes."""

    got = 0

    def dataReceived(self, data: bytes) -> None:
        self.got += len(data)
        if self.got >= 100_000:
            self.transport.abortConnection()


class Leaving(Peer):
    """Closes, politely, after the first bytes."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.loseConnection()


@implementer(IHalfCloseableProtocol)
class Staying(Peer):
    """Keeps its side open when ours is closed."""

    def readConnectionLost(self) -> None:
        pass

    def writeConnectionLost(self) -> None:
        pass


class Greeting(Parrot):
    """Greets, and then answers anything with a line."""

    answer = b"250 OK\r\n"
    words = b"220 ready\r\n"

    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.write(self.words)


class Source(Peer):
    """Sends as many packets of 1 KiB as its first line asks for, then closes; 100 packets a turn without a number.

    It counts them as ctrlserver does.
    """

    line = b""
    asked: int | None = None

    def connectionMade(self) -> None:
        super().connectionMade()
        peer = self.transport.getPeer()
        self.counted = Counted(len(self.servers.streams) + 1, f"{peer.host}:{peer.port}")
        self.servers.streams.append(self.counted)
        self.servers.sources[self.counted.stream] = self

    def dataReceived(self, data: bytes) -> None:
        self.line += data
        if self.asked is None and self.line.endswith(b"\n"):
            self.asked = int(self.line) if self.line.strip() else -1
            if self.asked >= 0:
                self.send(self.asked)
                self.transport.loseConnection()
            else:
                self.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        self.send(100)

    def stopProducing(self) -> None:
        pass

    def send(self, packets: int) -> None:
        self.transport.write(bytes(1024) * packets)
        self.counted.packets += packets
        self.counted.bytes += packets * 1024

    def end(self) -> None:
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.counted.state = "closed"
        super().connectionLost(reason)


@define(eq=False)
class Counted:
    """What a counting server publishes of one stream."""

    stream: int
    peer: str
    packets: int = 0
    bytes: int = 0
    state: str = "open"


class Counting(Peer):
    """Counts packets as ctrlserver does."""

    def connectionMade(self) -> None:
        super().connectionMade()
        peer = self.transport.getPeer()
        self.counted = Counted(len(self.servers.streams) + 1, f"{peer.host}:{peer.port}")
        self.servers.streams.append(self.counted)
        self.framing = parse_framing(self.servers.framing).new()

    def dataReceived(self, data: bytes) -> None:
        self.counted.packets += self.framing.count(data)
        self.counted.bytes += len(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.counted.state = "closed"
        super().connectionLost(reason)


class Admin(LineReceiver):
    """The JSON half of an admin port, with ``servers.tamper`` between the counts and the reply."""

    servers: Servers
    delimiter = b"\n"
    transport: Any

    def connectionMade(self) -> None:
        self.servers.open.add(self)

    connectionLost = Peer.connectionLost

    def lineReceived(self, line: bytes) -> None:
        command = line.decode().strip()
        self.servers.asked.append(command)
        value, total = self.servers.answer(command)
        reply: dict[str, object] = {"ok": True, "command": command.split()[0], "data": value}
        if total is not None:
            reply["total"] = total
        self.transport.write(json.dumps(reply).encode() + b"\r\n")
