"""A lane driven by hand, a pair of connected sockets, and a run that keeps what it is told."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.testing import MemoryReactorClock

from ctrlserver.lane.lane import Lane
from ctrlserver.load.plan.pattern import SENDS_NOTHING, Pattern
from ctrlserver.load.streams.outgoing import Conversation, Line
from ctrlserver.load.streams.sender import WRITE_BYTES

TURNS = 5000
"""Turns of the lane after which a test has gone wrong."""


class Told:
    """The run of a stream under test."""

    def __init__(self) -> None:
        self.done: list[Conversation] = []
        self.ended: list[Conversation] = []
        self.failures: list[str] = []

    def stream_done(self, stream: Conversation) -> None:
        self.done.append(stream)

    def stream_ended(self, stream: Conversation) -> None:
        self.ended.append(stream)

    def stream_failed(self, stream: Conversation, message: str) -> None:
        self.failures.append(message)


class Bench:
    """One TCP connection over loopback: ``ours`` for the stream under test, ``theirs`` for the test to play the target.

    ``buffer`` bounds what the kernel holds, so that writes are taken in part.
    """

    def __init__(self, buffer: int = 0) -> None:
        reactor: Any = MemoryReactorClock()
        self.lane = Lane(reactor)
        self.lane.start()
        self.told = Told()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.ours = socket.socket()
            if buffer:
                self.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            self.ours.connect(listening.getsockname())
            self.theirs, _ = listening.accept()
        for sock in (self.ours, self.theirs):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.got = bytearray()

    def line(self, pattern: Pattern = SENDS_NOTHING) -> Line:
        """What a stream of ``pattern`` over the connection is made of."""
        return Line(1, self.ours, self.lane, self.told, pattern, pattern.sendable(WRITE_BYTES), "here:1", "there:2")

    def turn(self, until: Callable[[], object]) -> None:
        """Turn the lane, and play a target that reads, until something is so."""
        for _ in range(TURNS):
            self.lane.doRead()
            self.take()
            if until():
                return
        raise AssertionError("nothing came of it")

    def turn_deaf(self, turns: int = 50) -> None:
        """Turn the lane while the target reads nothing."""
        for _ in range(turns):
            self.lane.doRead()

    def answer(self, reply: bytes) -> None:
        """Have the target say something, and the lane hear it."""
        self.theirs.send(reply)
        select.select([self.lane], [], [], 5)
        self.turn_deaf(2)

    def take(self) -> None:
        """Read what has come to the target, without waiting."""
        if self.theirs.fileno() >= 0 and select.select([self.theirs], [], [], 0.001)[0]:
            try:
                self.got += self.theirs.recv(1 << 20)
            except OSError:
                return

    def close(self) -> None:
        """Everything off the lane and closed."""
        self.lane.stop()
        self.ours.close()
        self.theirs.close()
