"""A lane that waits in its reactor's place: data wake the process without a turn of the reactor.

Model::

    LaneReactor --doIteration(timeout)--> LeadingLane --poll(timeout)--> inner epoll <-- sockets
                                              |                               ^
                                              +-- a turn, as any lane's       +-- the reactor's own epoll
                                                   doPoll(0) --> the reactor's descriptors

A lane that is one of the reactor's descriptors costs two waits for each wake-up, and the reactor's way to a descriptor.
A worker wakes up often, for it has a part of the streams: eight streams of bulk over four workers took a fifth less
processor time so. One process has the reactor that ``twistd`` chose, and wakes up more seldom.

Rules:

- On a reactor that is no ``LaneReactor``, or that another lane leads, this is a lane as any.
- The reactor's descriptors are served in the round that finds one ready, at the head of a turn's first, and before a
  turn whose first round may have missed them: it is full, or begins with what the turn before left.
- Who has answered a question gives way at once: of eight workers that are asked together each has the processor for its
  answer before one goes on with its data. ``stats`` beside 8 senders took 0.87 times as long so.
- Once the lane has stopped, or the reactor's poll has failed, the reactor waits by itself again.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

from twisted.internet.epollreactor import EPollReactor

from ctrlserver.lane.lane import ROUND_SOCKETS, Lane

Wait = Callable[[float | None], object]
"""Waits so many seconds at most, or for ever, and serves what is ready."""


class LaneReactor(EPollReactor):
    """Twisted's epoll reactor. ``leader``: waits in its place, if there is one."""

    leader: Wait | None = None

    def doIteration(self, delay: float | None) -> None:
        """Wait ``delay`` seconds at most, or for ever, and serve what is ready."""
        (self.leader or self.doPoll)(delay)

    @property
    def descriptor(self) -> int:
        """Of its epoll: readable if it has something to serve."""
        return int(self._poller.fileno())


class LeadingLane(Lane):
    """As ``Lane``."""

    _led: Any = None
    _own = -1, 0
    _has_answered = False

    def start(self) -> None:
        """Open the inner epoll, and wait in the reactor's place if that can be."""
        super().start()
        if isinstance(self._reactor, LaneReactor) and self._reactor.leader is None:
            reactor: Any = self._reactor
            reactor.removeReader(self)
            self._own = reactor.descriptor, select.EPOLLIN
            self.watch(reactor.descriptor, _Led(self), select.EPOLLIN, patient=None)
            self._led, reactor.leader = reactor, self._wait_and_serve

    def stop(self) -> None:
        """As any lane."""
        if self._led is not None:
            self._led.leader = None
            self._led = None
        super().stop()

    def follow(self) -> None:
        """Leave the waiting to the reactor from now on."""
        reactor, self._led = self._led, None
        if reactor is not None:
            reactor.leader = None
            self.forget(reactor.descriptor)
            reactor.addReader(self)

    def serve_reactor(self) -> None:
        """Have the reactor serve its descriptors that are ready, and give way if a question was among them."""
        if self._led is not None:
            self._led.doPoll(0)
            if self._has_answered:
                self._has_answered = False
                self.give_way()

    def make_way(self) -> bool:
        """As any lane, which does so when it is asked something."""
        self._has_answered = True
        return super().make_way()

    def _wait_and_serve(self, timeout: float | None) -> None:
        if not self._ringing:
            self._left = self._poll(-1 if timeout is None else timeout, ROUND_SOCKETS)
            if self._own in self._left:
                self._left.remove(self._own)
                self._left.insert(0, self._own)
        if self._ringing or len(self._left) == ROUND_SOCKETS:
            self.serve_reactor()
        if self._ringing or self._left:
            self.doRead()


class _Led:
    """The reactor's descriptor on the lane."""

    def __init__(self, lane: LeadingLane) -> None:
        self._lane = lane

    def ready(self, events: int) -> None:
        """Something of the reactor's is ready."""
        self._lane.serve_reactor()

    def failed(self) -> None:
        """The reactor's poll raised."""
        self._lane.follow()
