"""What takes bytes from strangers, as functions of bytes: each raises if a promise is broken.

Rules: a target begins anew with each input and opens nothing. The first bytes of an input say where the network cuts
the rest. ``python -m tests.fuzz NAME`` searches for inputs that break a promise, or cost much time or memory;
``test_targets.py`` tries a few of each in every run of the suite.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from ctrlserver.admin.commands.table import COMMANDS
from ctrlserver.admin.dialogue import MAX_LINE, Answer, Dialogue, Fault, Interrupt, More, Request
from ctrlserver.admin.ports import AdminPorts
from ctrlserver.admin.protocol import AdminPort
from ctrlserver.admin.session import Access
from ctrlserver.client.admin import AdminClient
from ctrlserver.config.tree import MODES
from ctrlserver.desk import Desk
from ctrlserver.errors import LoadError
from ctrlserver.http.pages import pages
from ctrlserver.http.site import Site
from ctrlserver.inject.places import Place
from ctrlserver.load.results.stored import parsed_result
from ctrlserver.net.gate import Seats
from ctrlserver.net.injected.ordering import Ordering
from ctrlserver.net.injected.orders import record_of
from ctrlserver.net.protocol import StreamFactory
from ctrlserver.net.proxied import Door, ProxiedFactory
from ctrlserver.net.replies import CannedReply
from ctrlserver.net.stream import OpenStreams
from ctrlserver.net.terms import Terms
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin
from ctrlserver.stats.kept import KeptPackets
from ctrlserver.stats.records import InjectionRecord, ListenerRecord
from ctrlserver.wire.framing import parse_framing
from tests.certificates import certificate
from tests.wire.conformance import CASES, Case, check_bounded, check_same
from tests.wire.reference import Reference

Target = Callable[[bytes], None]

#: So many bytes of an input say where it is cut.
CUTS = 4


class TcpTransport(StringTransport):
    """What TLS asks of the transport below it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def setTcpNoDelay(self, enabled: bool) -> None: ...

    def setTcpKeepAlive(self, enabled: bool) -> None: ...


def cut(octets: bytes) -> list[bytes]:
    """An input's chunks."""
    places, stream = octets[:CUTS], octets[CUTS:]
    ends = sorted(place * (len(stream) + 1) // 256 for place in places)
    return [stream[a:b] for a, b in pairwise([0, *ends, len(stream)])]


def framing(case: Case, octets: bytes) -> None:
    """Count and feed agree with the definition, however the stream is cut, and hold one packet at most."""
    chunks = cut(octets)
    check_same(case, chunks)
    check_bounded(case, chunks)
    reference, fed = Reference(case.text, case.limit), case.spec().new()
    reference.take(b"".join(chunks))
    assert reference.packets == [packet for chunk in chunks for packet in fed.feed(chunk)]
    assert reference.fault == (fed.fault is not None)


def dialogue(octets: bytes) -> None:
    """The events depend on the bytes alone, are no more than the lines and telnet commands, and hold one line."""
    chunks = cut(octets)
    whole, parts = _events([b"".join(chunks)]), _events(chunks)
    assert whole == parts
    assert len(whole) <= len(octets) + 2


def _events(chunks: list[bytes]) -> list[object]:
    talk, events = Dialogue(), list[object]()

    def pull() -> None:
        while (event := talk.next_event()) is not None:
            assert not events or events[-1] != "closed"
            if not isinstance(event, More):
                events.append(_shown(event))
            if isinstance(event, Fault) and event.closes:
                events.append("closed")

    for chunk in chunks:
        talk.receive(chunk)
        pull()
        assert len(talk._line) <= MAX_LINE + 3
    talk.finish()
    pull()
    return events


def _shown(event: Request | Fault | Answer | Interrupt) -> object:
    """Something to compare: errors compare by identity."""
    if isinstance(event, Answer | Interrupt):
        return event
    if isinstance(event, Fault):
        assert event.error.message.isprintable()
        return event.error.code, event.error.id, event.error.message, event.json, event.closes
    words = [word.replace("\t", " ") for word in event.words]  # in quotes a tab stays
    assert all(word.isprintable() or not word.isascii() for word in words)
    return event


#: Words of the admin protocol, for lines of more sense than chance would make.
WORDS = [
    *(word for each in COMMANDS for word in each.command.split()),
    *("json", "limit=", "state=", "peer=", "sort=", "run=", "listener=", "timeout=1s", "packets_total", "run.complete"),
    *("stream.1.bytes", ">=", "!=", "on", "off", "debug", "info", "0.1", "1", "2", "a_total", "stats.", "hex", "all"),
    *(
        "inject data",
        "3*swallow->",
        "delay(exp 1ms)",
        "5%*",
        "10th*",
        "wrong('",
        "')",
        "for=1s",
        "seed=",
        "10.0.0.0/8,",
    ),
]


#: Lines of an input that ask for something: what many ask for may take its time.
LINES = 20


def commands(octets: bytes) -> None:
    """Whatever lines an admin asks for, nothing of ours fails, replies are printable lines, and no timer is left."""
    octets = octets[:CUTS] + b"\n".join(octets[CUTS:].split(b"\n", LINES)[:LINES])
    clock, transport = Clock(), StringTransport()
    ports = AdminPorts(_desk(clock), clock)
    connection = AdminPort(ports, Access(secret=b"sixteen bytes or")).buildProtocol(None)
    connection.makeConnection(transport)  # type: ignore[no-untyped-call]
    for chunk in cut(octets):
        connection.dataReceived(chunk)
        clock.advance(1)
    connection.readConnectionLost()
    clock.pump([1] * 5)
    connection.connectionLost(Failure(ConnectionDone()))
    ports.close()
    assert [] == clock.getDelayedCalls()
    said = re.sub(rb"\xff[\xfb-\xfe].", b"", transport.value(), flags=re.DOTALL).decode()  # less what telnet is told
    for line in said.split("\r\n"):
        assert line.isprintable()
        assert not line.startswith("ERR 500")
        if line.startswith('{"ok":'):
            document = json.loads(line)
            assert document["ok"] or document["error"]["code"] != 500


def site(octets: bytes) -> None:
    """By HTTP each request has one answer, however it is cut, nothing of ours fails, and no timer is left."""
    chunks = cut(octets[:CUTS] + octets[CUTS:][:3000])
    whole, parts = _visited([b"".join(chunks)]), _visited(chunks)
    assert whole == parts
    assert "500" not in whole
    assert all(code in ("200", "404") or code == whole[-1] for code in whole)


def _visited(chunks: list[bytes]) -> list[str]:
    """The codes of what is answered, in order; the connection ends with the last chunk."""
    clock = Clock()
    ports = AdminPorts(_desk(clock), clock)
    channel = Site(pages(ports), clock, ports.journal).buildProtocol(None)
    transport = StringTransport()
    channel.makeConnection(transport)  # type: ignore[no-untyped-call]
    for chunk in chunks:
        if chunk and not transport.disconnecting:
            channel.dataReceived(chunk)
        clock.pump([0.001] * 20)
    channel.readConnectionLost()
    clock.pump([0.1] * 20)
    channel.connectionLost(Failure(ConnectionDone()))
    ports.close()
    assert [] == clock.getDelayedCalls()
    said = transport.value()
    codes = re.findall(rb"HTTP/1.[01] (\d+) ", said)
    assert said.count(b"\r\nX-Content-Type-Options: nosniff\r\n") == len(codes)
    return [code.decode() for code in codes]


def _desk(clock: Clock) -> Desk:
    """A desk over a server with two streams, one of them open, that keep packets."""
    book = Book(version="fuzz", now=0.0, wall=1.0)
    for number, line in enumerate((b"hello \x1b[31m\r\n", b"\xff\x00")):
        stream = book.stream_opened(Origin("data", "tcp", "line", "sink", None), f"127.0.0.1:{number + 1}", 0.0)
        book.first_data(stream, 0.0, 0.0)
        stream.kept = KeptPackets(10, 1000)
        stream.kept.add([line] * 3)
        stream.packets, stream.bytes = 3, 30
    book.stream_closed(stream, "eof", 0, 1.0)
    ordering = Ordering(book.counters, Clock(), clock.seconds)

    def inject(listener: str, spec: str, **options: Any) -> InjectionRecord:
        return record_of(ordering.begin(Place(listener, "echo", frozenset({"tcp", "udp"})), spec, **options))

    return Desk(
        book,
        "fuzz",
        clock.seconds,
        kick=lambda number: number in book.counters.open,
        listeners=lambda *_: [ListenerRecord("data", "tcp:1", "*:1", None, "line", "sink", 1, 2, 6, 60, False)],
        drain=lambda _: None,
        log=lambda _: "info",
        reload=lambda: ["max_streams: 1 -> 2"],
        shutdown=lambda: None,
        config=lambda: {"max_streams": 1, "listener": [{"endpoint": "tcp:1"}]},
        inject=inject,
        injections=lambda over: ordering.records(over=over),
        end_injections=lambda which, *_: list(map(record_of, ordering.end(which))),
    )


def admin_client(octets: bytes) -> None:
    """Whatever an admin port says, each question gets an answer or a LoadError of one line that any terminal shows."""
    clock, transport = Clock(), StringTransport()
    client = AdminClient(clock, "there:1")
    client.makeConnection(transport)  # type: ignore[no-untyped-call]

    async def ask() -> None:
        await client.version()
        await client.streams(10)
        await client.stats()
        await client.peers()

    asked = ensureDeferred(ask())
    for chunk in cut(octets):
        client.dataReceived(chunk)
    client.connectionLost(Failure(ConnectionError()))
    clock.advance(1000)
    said = _outcome(asked)
    assert said is None or (isinstance(said, LoadError) and str(said).isprintable()), said


def _outcome(deferred: Deferred[Any]) -> BaseException | None:
    outcome: list[Any] = []
    deferred.addBoth(outcome.append)
    assert outcome, "neither an answer nor an error"
    return outcome[0].value if isinstance(outcome[0], Failure) else None


def document(octets: bytes) -> None:
    """A file is a result, or a ValueError in one line."""
    try:
        parsed_result(octets)
    except ValueError as error:
        said = str(error)
    else:
        said = ""
    assert said.isprintable()


def stream(framing: str, mode: str, octets: bytes) -> None:
    """A stream on a Twisted transport never counts more than came, and ends once, for one reason."""
    book, factory = _listening(framing, mode)
    chunks = cut(octets)
    protocol, transport = factory.buildProtocol(None), TcpTransport()
    protocol.makeConnection(transport)
    _say(protocol, transport, chunks)
    _judge(book, 1 << 40 if mode == "source" else sum(map(len, chunks)))  # a source counts what it sends


def proxied(octets: bytes) -> None:
    """A connection behind a proxy becomes a stream that counts what follows its header, or is rejected."""
    book, factory = _listening("line", "echo")
    seats, clock, transport = Seats(), Clock(), TcpTransport()
    behind = ProxiedFactory(factory, Door(seats, book.counters.rejected, clock))
    first = behind.buildProtocol(IPv4Address("TCP", "127.0.0.1", 9))
    transport.protocol = first  # type: ignore[attr-defined]
    first.makeConnection(transport)
    for chunk in filter(None, cut(octets)):
        if not transport.disconnecting:
            transport.protocol.dataReceived(chunk)  # type: ignore[attr-defined]
    transport.protocol.connectionLost(Failure(ConnectionDone()))  # type: ignore[attr-defined]
    assert (0, []) == (seats.taken, clock.getDelayedCalls())
    if not book.counters.rejected_by_reason["proxy-header"]:
        _judge(book, len(octets))
        assert book.streams()[0].peer.isprintable()


def tls_garbage(octets: bytes) -> None:
    """What is no TLS ends the stream as ``handshake``."""
    book, factory = _listening("line", "echo")
    protocol, transport = _tls_server(factory).buildProtocol(IPv4Address("TCP", "127.0.0.1", 9)), TcpTransport()
    protocol.makeConnection(transport)
    _say(protocol, transport, cut(octets))
    _judge(book, 0)
    assert 1 == book.counters.closed_by_reason["handshake"]


def tls_then_garbage(octets: bytes) -> None:
    """After a good handshake and good data, what is no TLS ends the stream; the good data is counted."""
    book, factory = _listening("line", "echo")
    server, there = _tls_server(factory).buildProtocol(IPv4Address("TCP", "127.0.0.1", 9)), TcpTransport()
    clock = Clock()
    client, here = _tls_client(clock).buildProtocol(None), TcpTransport()
    client.makeConnection(here)
    server.makeConnection(there)
    chunks = cut(octets)
    client.wrappedProtocol.transport.write(b"".join(chunks[:2]))
    for _ in range(10):
        clock.advance(1)  # Twisted gathers small writes
        _pass(here, server)
        _pass(there, client)
    _say(server, there, chunks[2:])
    _judge(book, sum(map(len, chunks)))
    (record,) = book.streams()
    assert record.bytes == sum(map(len, chunks[:2])) or "fault" == record.reason


def _pass(source: StringTransport, to: Any) -> None:
    sent = source.value()
    source.clear()
    if sent:
        to.dataReceived(sent)


def _say(protocol: Any, transport: StringTransport, chunks: list[bytes]) -> None:
    for chunk in chunks:
        if chunk and not transport.disconnecting:
            protocol.dataReceived(chunk)
    protocol.connectionLost(Failure(ConnectionDone()))


def _judge(book: Book, most: int) -> None:
    (record,) = book.streams()
    assert "closed" == record.state
    assert record.bytes <= most
    assert 1 == sum(book.counters.closed_by_reason.values())


def _listening(framing: str, mode: str) -> tuple[Book, StreamFactory]:
    book = Book(version="fuzz", now=time.monotonic(), wall=time.time())
    spec = parse_framing(framing, max_packet=300)
    terms = Terms(book, Origin("data", "tcp", spec.text, mode, None), spec, canned=CannedReply(b"ok"), keep=10)
    return book, StreamFactory(OpenStreams(terms, time.monotonic), Clock())


@cache
def _identity() -> Any:
    from twisted.internet.ssl import PrivateCertificate

    return PrivateCertificate.loadPEM(certificate())


def _tls_server(factory: StreamFactory) -> Any:
    from twisted.protocols.tls import TLSMemoryBIOFactory

    return TLSMemoryBIOFactory(_identity().options(), False, factory, Clock())


def _tls_client(clock: Clock) -> Any:
    from twisted.internet.ssl import CertificateOptions
    from twisted.protocols.tls import TLSMemoryBIOFactory

    return TLSMemoryBIOFactory(CertificateOptions(), True, Factory.forProtocol(Protocol), clock)


TARGETS: dict[str, Target] = {
    "dialogue": dialogue,
    "commands": commands,
    "admin-client": admin_client,
    "site": site,
    "proxied": proxied,
    "tls": tls_garbage,
    "tls-later": tls_then_garbage,
    "document": document,
    **{f"framing-{case.text}": partial(framing, case) for case in CASES},
    **{f"stream-{mode}-{text}": partial(stream, text, mode) for mode in MODES for text in ("line", "int16", "varint")},
}
