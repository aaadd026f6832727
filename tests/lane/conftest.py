"""Lanes on a clock set by hand, with sockets on them whose owners read a byte at a time."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest
from attrs import define, field
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock

from ctrlserver.lane.lane import Lane


@define(eq=False)
class Reader:
    """Reads one byte for each ``ready``, which takes ``seconds`` of the lane's time; ``judged``: and says so."""

    end: socket.socket
    time: Clock
    seconds: float = 0.0
    read: int = 0
    judged: bool = False

    def ready(self, events: int) -> int | None:
        self.read += len(self.end.recv(1))
        self.time.advance(self.seconds)
        return 1 if self.judged else None

    def failed(self) -> None:
        raise AssertionError("no reader fails here")


@define
class Flow:
    """A lane with one socket on it, and the socket's other end."""

    lane: Lane
    reader: Reader
    far: socket.socket
    time: Clock
    rests: list[float] = field(factory=list)

    def turn(self) -> int:
        """The bytes read in one turn."""
        before = self.reader.read
        self.lane.doRead()
        return self.reader.read - before


@pytest.fixture
def time() -> Clock:
    """The lane's own."""
    if not hasattr(select, "epoll"):
        pytest.skip("a lane needs epoll")
    return Clock()


@pytest.fixture
def flow(time: Clock) -> Iterator[Flow]:
    near, far = socket.socketpair()
    near.setblocking(False)
    rests: list[float] = []

    def rest(seconds: float) -> None:
        rests.append(seconds)
        time.advance(seconds)

    lane = Lane(MemoryReactorClock(), time.seconds, rest=rest)
    lane.start()
    yield Flow(lane, Reader(near, time), far, time, rests)
    lane.stop()
    near.close()
    far.close()


@define
class Two:
    """A lane with two sockets on it, and the sockets' other ends."""

    lane: Lane
    readers: list[Reader]
    fars: list[socket.socket]

    def round(self) -> list[int]:
        """Make both sockets ready for one byte; gives what each owner has read by the end of the turn."""
        for far in self.fars:
            far.send(b"x")
        self.lane.doRead()
        return [reader.read for reader in self.readers]


@pytest.fixture
def two(time: Clock) -> Iterator[Two]:
    lane = Lane(MemoryReactorClock(), time.seconds)
    lane.start()
    pairs = [socket.socketpair() for _ in range(2)]
    readers = [Reader(near, time) for near, _ in pairs]
    for reader in readers:
        lane.watch(reader.end.fileno(), reader, select.EPOLLIN)
    yield Two(lane, readers, [far for _, far in pairs])
    lane.stop()
    for pair in pairs:
        for end in pair:
            end.close()
