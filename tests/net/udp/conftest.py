"""A real UDP port, by each way in; the sender is a socket of the test."""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import deferLater

from ctrlserver.inject.places import Place
from ctrlserver.inject.rules import Rule, Rules, Standing
from ctrlserver.lane.due import Due
from ctrlserver.lane.lane import Lane
from ctrlserver.linux.udp import SOL_UDP, UDP_SEGMENT
from ctrlserver.net.gate import Gate, Seats
from ctrlserver.net.injected.ordering import Ordering
from ctrlserver.net.injected.orders import Order
from ctrlserver.net.replies import CannedReply
from ctrlserver.net.terms import DatagramTerms, Terms
from ctrlserver.net.udp.port import DatagramPort
from ctrlserver.net.udp.reading import ManyReader, OneReader
from ctrlserver.stats.counters import Origin, Totals
from ctrlserver.stats.memory import UNLIMITED
from ctrlserver.stats.records import StreamRecord
from ctrlserver.wire.datagram import DATAGRAM
from tests.net.conftest import PATIENCE, WatchedBook

linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own batching and drops are Linux's")


READERS = {"recvmmsg": ManyReader, "recvmsg": OneReader, "twisted": type(None)}


@pytest.fixture(params=READERS)
def way(request: pytest.FixtureRequest) -> str:
    """The way in; all of them pass the same suite."""
    if request.param == "recvmmsg" and sys.platform != "linux":
        pytest.skip("recvmmsg is Linux's")
    return str(request.param)


class Time:
    """A clock: the real time plus ``ahead`` seconds."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@define
class Served:
    """A port that listens."""

    book: WatchedBook
    port: DatagramPort
    time: Time
    number: int
    gate: Gate
    ordering: Ordering
    rules: Rules
    due: Due
    clients: list[socket.socket] = field(factory=list)

    def connect(self) -> socket.socket:
        """A blocking client socket, connected to the port."""
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", self.number))
        self.clients.append(client)
        return client

    def inject(self, spec: str, **options: Any) -> Order:
        """Order an injection for the port."""
        return self.ordering.begin(self.place, spec, **options)

    @property
    def place(self) -> Place:
        """The port as injections and rules see it."""
        terms = self.port.peers.options.terms
        reply = b"" if terms.canned is None else terms.canned.reply
        return Place("data", terms.origin.mode, frozenset({"udp"}), reply=reply)

    def answer(self, *rule: Any) -> Standing:
        """Put a rule of the port in force."""
        return self.rules.add(Rule(*rule), self.place, 0)

    @property
    def socket(self) -> socket.socket:
        """The port's own."""
        assert self.port.port is not None
        return self.port.port.socket  # type: ignore[attr-defined, no-any-return]

    @property
    def counts_arrivals(self) -> bool:
        """Whether drops of batches are known in datagrams."""
        assert self.port.drops is not None
        return self.port.drops._arrivals is not None

    def records(self) -> list[StreamRecord]:
        """All streams, newest first."""
        return self.book.streams()

    async def until(self, reached: Callable[[Totals], bool]) -> Totals:
        """Let the reactor run until ``reached`` holds of the totals, and give them."""
        from twisted.internet import reactor

        end = time.monotonic() + PATIENCE
        while not reached(totals := self.book.counters.totals()):
            assert time.monotonic() < end, totals
            await deferLater(reactor, 0)
        return totals


Serve = Callable[..., Served]


@pytest.fixture
def serve(way: str) -> Iterator[Serve]:
    """``serve(mode=...)`` binds a free UDP port; the fixture closes everything at the end of the test."""
    from twisted.internet import reactor

    up: list[tuple[Served, Lane | None]] = []

    def start(
        mode: str = "sink",
        reply: bytes = b"\x06",
        keep: int = 0,
        probe: bool = False,
        gate: Gate | None = None,
        taken: socket.socket | None = None,
        memory_limit: int = UNLIMITED,
        **options: Any,
    ) -> Served:
        clock = Time()
        lane = Lane(reactor, clock) if way != "twisted" else None
        if lane is not None:
            lane.start()
        book = WatchedBook(version="test", now=clock(), wall=time.time())
        ordering, rules = Ordering(book.counters, reactor, clock), Rules()
        terms = Terms(
            book=book,
            transport="udp",
            orders=ordering.of("data"),
            answers=rules.of("data"),
            origin=Origin("data", "udp", "datagram", mode),
            spec=DATAGRAM,
            canned=CannedReply(reply) if mode == "reply" else None,
            keep=keep,
            probe=probe,
            gate=gate or Gate(Seats()),
        )
        book.memory.limit = memory_limit
        due = Due(lane, reactor)
        port = DatagramPort(DatagramTerms(terms=terms, many=way == "recvmmsg", **options), lane, reactor, clock, due)
        listening = port.adopt(taken.fileno(), taken.family) if taken is not None else port.listen(0, "127.0.0.1")
        number = listening.getHost().port  # type: ignore[attr-defined]
        assert READERS[way] is type(port.reader)
        up.append((Served(book, port, clock, number, terms.gate, ordering, rules, due), lane))
        return up[-1][0]

    yield start
    for served, lane in up:
        served.ordering.end(None)
        pytest_twisted.blockon(maybeDeferred(served.port.stop_listening))
        for client in served.clients:
            client.close()
        for stream in list(served.port.peers.by_address.values()):
            stream.abort("drain", 0.0)
        served.due.stop()
        if lane is not None:
            lane.stop()


@pytest.fixture
def ours() -> Iterator[socket.socket]:
    """A socket that answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        yield sock


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    """A blocking socket, bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        sock.bind(("127.0.0.1", 0))
        yield sock


def check(record: object, **expected: object) -> None:
    """Compare these attributes by name, so that a failure names the one that differs."""
    assert expected == {name: getattr(record, name) for name in expected}


def arrivals(client: socket.socket) -> list[bytes]:
    """What waits for a client."""
    found = []
    client.setblocking(False)
    while True:
        try:
            found.append(client.recv(65536))
        except BlockingIOError:
            return found


def check_sums(served: Served) -> None:
    """Each packet was answered, swallowed or left unanswered, and no hit is missing anywhere."""
    stats = served.book.stats(served.time())
    unanswered = sum(each.unanswered for each in [*served.book.counters.open.values(), *served.book.counters.recent])
    assert stats.packets_total == stats.replies_total + stats.swallowed_total + unanswered
    assert stats.injected_total == sum(record.injected for record in served.records())


def send_batch(client: socket.socket, packets: int, size: int) -> None:
    """Send many datagrams in one call; the kernel keeps them as one message until a reader wants them one by one."""
    client.sendmsg([b"x" * (packets * size)], [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", size))])
