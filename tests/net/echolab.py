"""A lane with echo streams on real TCP sockets, whose turns are taken by hand: nothing depends on time."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator
from typing import NoReturn

import pytest
from attrs import define, field
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock

from ctrlserver.lane.lane import Lane
from ctrlserver.linux.transfers import Transfers, transfers
from ctrlserver.net.echoes import FEWEST, serve_together
from ctrlserver.net.links import LaneLink
from ctrlserver.net.modes import EchoStream
from ctrlserver.net.stream import OpenStreams
from ctrlserver.net.terms import Terms
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin, StreamCounters
from ctrlserver.wire.framing import parse_framing

#: Seconds after which a peer gives up, as in ``conftest.py``.
PATIENCE = 20.0

#: Bytes of a packet, and streams.
SIZE = 10
MANY = 3 * FEWEST


@define
class Lab:
    """A lane with echo streams on it; ``fars`` are their peers, ``nears`` and ``links`` our ends, in the same order."""

    time: Clock
    lane: Lane
    open_streams: OpenStreams
    listening: socket.socket
    fars: list[socket.socket] = field(factory=list)
    nears: list[socket.socket] = field(factory=list)
    links: list[LaneLink] = field(factory=list)
    joint: list[int] = field(factory=list)

    def connect(self, streams: int, *, sndbuf: int = 0) -> None:
        """More streams; ``sndbuf`` bounds what the kernel keeps of their echoes."""
        for _ in range(streams):
            far = socket.socket()
            if sndbuf:
                far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, sndbuf)
            far.connect(self.listening.getsockname())
            far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            far.settimeout(PATIENCE)
            near, _ = self.listening.accept()
            near.setblocking(False)
            if sndbuf:
                near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
            self.fars.append(far)
            self.nears.append(near)
            self.links.append(LaneLink(self.lane, near, self.open_streams, f"peer:{len(self.fars)}"))

    def begin(self, streams: int = MANY, **options: int) -> None:
        """More streams, each of which has sent and got back its first packet: they are plain from then on."""
        first = len(self.fars)
        self.connect(streams, **options)
        for far in self.fars[first:]:
            far.sendall(b"f" * SIZE)
        for row in range(first, len(self.fars)):
            self.arrives(row, select.POLLIN)
        self.lane.doRead()
        for far in self.fars[first:]:
            assert b"f" * SIZE == far.recv(100)

    def arrives(self, row: int, event: int) -> None:
        """Wait for what a far end sent: a busy kernel delivers it later than the send returns. A reset is event 0."""
        near = select.poll()
        near.register(self.nears[row], event)
        assert near.poll(PATIENCE * 1000)

    def counters(self, row: int) -> StreamCounters:
        """What the books say of one stream."""
        return self.links[row].stream.counters

    def stream(self, row: int) -> EchoStream:
        """One stream."""
        stream = self.links[row].stream
        assert isinstance(stream, EchoStream)
        return stream

    def take_the_rest(self, got: list[bytearray]) -> None:
        """The peers send no more: take turns until each has all its echoes, which are added to ``got``."""
        for far in self.fars:
            far.setblocking(False)
            far.shutdown(socket.SHUT_WR)
        open_rows = set(range(len(self.fars)))
        while open_rows:
            self.lane.doRead()
            for row in list(open_rows):
                with contextlib.suppress(BlockingIOError):
                    more = self.fars[row].recv(1 << 20)
                    got[row] += more
                    if not more:
                        open_rows.discard(row)


def made_lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab, closed when the generator goes on."""
    table = transfers(memoryview(bytearray(1 << 20)), 1)
    if table is None:
        pytest.skip("this system has no AIO")
    table.close()
    spec = parse_framing(f"fixed:{SIZE}")
    terms = Terms(
        book=Book(version="test", now=0.0, wall=0.0),
        origin=Origin("data", "tcp", spec.text, "echo", spec.size, by_size=True),
        spec=spec,
    )
    time = Clock()
    lane = Lane(MemoryReactorClock(), time.seconds)
    lane.start()
    serve_together(lane)
    made = Lab(time, lane, OpenStreams(terms, lane.clock), socket.create_server(("127.0.0.1", 0), backlog=256))
    read = Transfers.read

    def noted(self: Transfers, sockets: list[int]) -> list[int]:
        if len(sockets) > 1:  # a table proves itself with one
            made.joint.append(len(sockets))
        return read(self, sockets)

    monkeypatch.setattr(Transfers, "read", noted)
    yield made
    for stream in [link.stream for link in made.links]:
        stream.abort("drain", 0.0)
    lane.stop()
    for far in [*made.fars, made.listening]:
        far.close()


def exactly(sock: socket.socket, size: int) -> bytes:
    """So many bytes, or what came before the end."""
    got = b""
    while len(got) < size and (more := sock.recv(size - len(got))):
        got += more
    return got


def fails(*_: object) -> NoReturn:
    """In the place of a method that has a bug."""
    raise RuntimeError("our own fault")
