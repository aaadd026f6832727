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
- The reactor's descriptors are served after a turn that finds one ready, or that may have missed them: its first round
  is full, or what the turn before left. So data that came before a question are counted in its answer, and read before
  a stream is kicked, unless there are more than a turn has time for; and the reactor waits for a turn at most.
- Who has answered a question gives way at once: of eight workers that are asked together each has the processor for its
  answer before one goes on with its data. ``stats`` beside 8 senders took 0.9 times as long so.
- Once the lane has stopped, or the reactor's poll has failed, the reactor waits by itself again.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

from twisted.internet.epollreactor import EPollReactor

from ctrlserver.lane.lane import ROUND_SOCKETS, Lane

#: Told once, until it is asked for anew: what the reactor has stays ready until the turn is over.
_ONCE = select.EPOLLIN | select.EPOLLONESHOT

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
    _is_due = False
    _has_answered = False

    def start(self) -> None:
        """Open the inner epoll, and wait in the reactor's place if that can be."""
        super().start()
        if isinstance(self._reactor, LaneReactor) and self._reactor.leader is None:
            reactor: Any = self._reactor
            reactor.removeReader(self)
            self.watch(reactor.descriptor, _Led(self), _ONCE, patient=None)
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
            if self._is_due:
                self._is_due = False
                self.change(self._led.descriptor, _ONCE)
            self._led.doPoll(0)
            if self._has_answered:
                self._has_answered = False
                self.give_way()

    def make_way(self) -> bool:
        """As any lane, which does so when it is asked something."""
        self._has_answered = True
        return super().make_way()

    def is_due(self) -> None:
        """The reactor has something to serve once this turn is over."""
        self._is_due = True

    def _wait_and_serve(self, timeout: float | None) -> None:
        may_miss = self._ringing
        if not may_miss:
            self._left = self._poll(-1 if timeout is None else timeout, ROUND_SOCKETS)
            may_miss = len(self._left) == ROUND_SOCKETS
        if self._ringing or self._left:
            self.doRead()
        if self._is_due or may_miss:
            try:
                self.serve_reactor()
            except Exception:
                self._tell("the reactor could not be served in a turn of the lane")
                self.follow()


class _Led:
    """The reactor's descriptor on the lane."""

    def __init__(self, lane: LeadingLane) -> None:
        self._lane = lane

    def ready(self, events: int) -> None:
        """Something of the reactor's is ready."""
        self._lane.is_due()

    def failed(self) -> None:
        """Never: ``ready`` does not raise."""
