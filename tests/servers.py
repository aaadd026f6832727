"""Small real servers on loopback, each with one character; and a run against one of them.

Rules: port 0 always; everything a test opens is closed by ``Servers.close``.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from ctrlserver.client.target import Target, parse_target
from ctrlserver.load.measure.intervals import Interval, Progress
from ctrlserver.load.plan.options import Options
from ctrlserver.load.results.result import Result, as_json
from ctrlserver.load.running.run import LoadRun
from ctrlserver.wire.framing import parse_framing
from tests.load.asking import options_for
from tests.load.documents import validated
from tests.ports import free_port

reactor: Any = installed


@define
class Heard:
    """A watcher that keeps all that the run reports."""

    intervals: list[Interval] = field(factory=list)
    steps: list[Progress] = field(factory=list)
    notes: list[str] = field(factory=list)

    def interval(self, interval: Interval) -> None:
        self.intervals.append(interval)

    def progress(self, progress: Progress) -> None:
        self.steps.append(progress)

    def note(self, text: str) -> None:
        self.notes.append(text)


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


class Servers:
    """Starts servers, counts for them, closes them."""

    def __init__(self) -> None:
        self.bytes = 0
        self.framing = "fixed:1024"
        self.streams: list[Counted] = []
        self.sources: dict[int, Source] = {}
        self.asked: list[str] = []
        self.renames: dict[str, str] = {}
        self.tamper: Callable[[dict[str, object]], object] = dict
        self.closed_kept = 1000
        self.open: set[Any] = set()
        self.all_gone: Deferred[None] | None = None
        self._ports: list[Any] = []

    def listen(self, protocol: type[Protocol], interface: str = "127.0.0.1") -> Target:
        """Serve ``protocol`` on a free port."""
        kind = type(protocol.__name__, (protocol,), {"servers": self})
        port = reactor.listenTCP(0, quiet(kind), interface=interface, backlog=1024)
        self._ports.append(port)
        host = f"[{interface}]" if ":" in interface else interface
        return parse_target(f"{host}:{port.getHost().port}")

    def saying(self, answer: bytes, *, hang_up: bool = False) -> Target:
        """Serve what answers ``answer`` to anything."""

        return self.listen(type("Saying", (Parrot,), {"answer": answer, "hang_up": hang_up}))

    def answer(self, command: str) -> tuple[object, int | None]:
        """The reply of the admin port."""
        if command == "version json":
            return {"version": "9.9.9"}, None
        if command == "rename json":
            pairs = [{"old": old, "new": new} for old, new in self.renames.items()]
            return pairs, len(pairs)
        if command.startswith("kick "):
            self.sources[int(command.split()[1])].end()
            return {"kicked": 1}, None
        limit = int(command.removeprefix("streams limit=").removesuffix(" json"))
        closed = [stream for stream in self.streams if stream.state == "closed"][-self.closed_kept :]
        view = [stream for stream in self.streams if stream.state == "open" or stream in closed]
        rows = [self._published(stream) for stream in reversed(view)]
        return rows[:limit], len(rows)

    def _published(self, stream: Counted) -> dict[str, object]:
        record: dict[str, object] = {
            "stream": stream.stream,
            "peer": stream.peer,
            "framing": self.framing,
            "state": stream.state,
            "reason": "eof" if stream.state == "closed" else None,
            "packets": stream.packets,
            "bytes": stream.bytes,
            "seconds": 0.5,
        }
        self.tamper(record)
        return {self.renames.get(key, key): value for key, value in record.items()}

    async def stop_listening(self) -> None:
        """Close the ports; what is connected stays so."""
        for port in self._ports:
            await port.stopListening()
        self._ports.clear()

    async def close(self) -> None:
        """Close all ports and connections and wait until they are."""
        await self.stop_listening()
        if self.open:
            self.all_gone = Deferred()
            self.all_gone.addTimeout(5, reactor)
            for peer in list(self.open):
                peer.transport.abortConnection()
            await self.all_gone


def quiet(protocol: type[Protocol]) -> Factory[Protocol]:
    """A factory that logs nothing."""
    factory = Factory.forProtocol(protocol)
    factory.noisy = False
    return factory


def refusing() -> Target:
    """A port nobody listens on."""
    return parse_target(f"127.0.0.1:{free_port()}")


async def load(target: Target, watcher: Heard | None = None, **flags: Any) -> Result:
    """The result of a whole run."""
    return await LoadRun(reactor, options(target, **flags), watcher or Heard()).run()


def options(target: Target, **flags: Any) -> Options:
    """Options for a test: short waits, and no more."""
    return options_for(target, **{"stall_timeout": 5.0, "connect_timeout": 5.0, **flags})


def reset_at_close(sock: socket.socket) -> None:
    """Have a close of ``sock`` send a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def good(result: Result, code: int = 0) -> Result:
    """The result, once its document has been validated."""
    validated(as_json(result))
    assert code == result.exit_code, result.error or result.difference
    return result


async def reached(condition: Any) -> None:
    """Let the reactor turn until something is so; bounded."""
    for _ in range(5000):
        if condition():
            return
        await deferLater(reactor, 0.001)
    raise AssertionError("nothing came of it")


def started(servers: Servers, **flags: Any) -> tuple[LoadRun, Deferred[Result]]:
    target = servers.listen(flags.pop("protocol", Sink))
    run = LoadRun(reactor, options(target, **flags), Heard())
    return run, run.run()
