"""What a datagram costs the server: many a call (`recvmmsg`) beside one (`recvmsg`), in this process.

Rules: the datagrams wait in the socket before the time is taken, so nobody's sending is in it; it is this thread's
processor time, so other programs hardly are. Both sides are the daemon's own port, and count every datagram: what comes
in is checked before a speed is given.

Beware: the kernel's receive buffer is asked to be larger than may be allowed; where it drops some, the pass is taken
again with half as many.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable

from attrs import frozen

from benchmarks.pairs import CountsDifferError, Measure, Outcome, measured
from ctrlserver.lane.due import Due
from ctrlserver.lane.lane import Lane
from ctrlserver.linux.udp import SOL_UDP, UDP_SEGMENT
from ctrlserver.net.gate import Gate, Seats
from ctrlserver.net.terms import DatagramTerms, Terms
from ctrlserver.net.udp.port import DatagramPort
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin
from ctrlserver.wire.datagram import DATAGRAM

DATAGRAMS = 6400
PASSES = 3
BUFFER_BYTES = 64 << 20


@frozen
class Case:
    """One row: datagrams of 64 bytes; `batch` of them a call of the sender, which the socket keeps in one piece."""

    what: str
    senders: int = 1
    batch: int = 1
    mode: str = "sink"
    probe: bool = False


CASES = (
    Case("64 B"),
    Case("64 B, 50 senders in turn", senders=50),
    Case("64 B, batches of 64", batch=64),
    Case("64 B, probe = true", probe=True),
    Case("64 B, echo", mode="echo"),
)


class Port:
    """A bound port of the daemon's own kind, on a lane that nobody turns."""

    def __init__(self, case: Case, many: bool) -> None:
        from twisted.internet import reactor

        self.lane = Lane(reactor)
        self.lane.start()
        self.book = Book(version="benchmark", now=self.lane.clock(), wall=time.time())
        origin = Origin("data", "udp", "datagram", case.mode)
        terms = Terms(self.book, origin, DATAGRAM, probe=case.probe, gate=Gate(Seats()))
        options = DatagramTerms(terms=terms, many=many, receive_buffer=BUFFER_BYTES)
        self.port = DatagramPort(options, self.lane, reactor, self.lane.clock, Due(self.lane, reactor))
        self.number: int = self.port.listen(0, "127.0.0.1").getHost().port  # type: ignore[attr-defined]

    def close(self) -> None:
        for stream in list(self.port.peers.by_address.values()):
            stream.abort("drain", self.lane.clock())
        self.port.stop_listening()
        self.lane.stop()


def seconds_for(case: Case, many: bool, datagrams: int) -> float | None:
    """Processor time for so many datagrams; None where the kernel dropped some of them."""
    port = Port(case, many)
    clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(case.senders)]
    try:
        content = b"x" * (64 * case.batch)
        for client in clients:
            client.connect(("127.0.0.1", port.number))
            if case.batch > 1:
                client.setsockopt(SOL_UDP, UDP_SEGMENT, struct.pack("=i", 64))
        for call in range(datagrams // case.batch):
            clients[call % case.senders].send(content)
        if port.book.counters.totals().dropped:
            return None
        reader = port.port.reader
        assert reader is not None
        began, end = time.thread_time(), time.monotonic() + 10
        while port.book.counters.totals().packets < datagrams and time.monotonic() < end:
            reader.ready(0)
        took = time.thread_time() - began
        totals = port.book.counters.totals()
        if (totals.packets, totals.bytes) != (datagrams, datagrams * 64):
            raise CountsDifferError(f"reading: expected {datagrams} of 64 bytes, got {totals.packets}, {totals.bytes}")
        return took
    finally:
        for client in clients:
            client.close()
        port.close()


def speed(case: Case, many: bool) -> Measure:
    """Datagrams per second of processor time."""

    def measure() -> float:
        datagrams = DATAGRAMS
        taken: list[float] = []
        while len(taken) < PASSES:
            took = seconds_for(case, many, datagrams)
            if took is not None:
                taken.append(took)
            elif datagrams > case.batch:
                datagrams = max(case.batch, datagrams // 2 // case.batch * case.batch)
                taken.clear()
            else:
                raise CountsDifferError("reading: the kernel drops what one call brings")
        return PASSES * datagrams / sum(taken)

    return measure


def rows(repeats: int) -> list[Callable[[], Outcome]]:
    """All cases, each to be called for its pairs; they need Linux."""

    def row(case: Case) -> Callable[[], Outcome]:
        what = f"UDP, {case.what}: read by recvmmsg / by recvmsg, per second of processor time"
        return lambda: measured(what, "packets/s", None, speed(case, True), speed(case, False), repeats)

    return [row(case) for case in CASES]
