"""What is due later: many who wait for their moments, by one timer that is exact to a microsecond.

Model::

    due.at(waiter, moment) --> heap of moments --> Ticker --> waiter.due(now), which may ask for its next moment

Rules:

- Moments are nanoseconds of the monotonic clock. Who waits has one moment: ``at`` replaces it, ``forget`` removes it.
- Nobody is called early, nor later than ``GATHER_NS`` for the sake of those who are due soon after. Of equal moments
  the one that was asked for first has its turn first.
- A turn ends after ``TURN_NS``, so that the lane's sockets have theirs; what is due then begins the next one. So a
  waiter does a bounded part of what it has to do and asks for ``now`` again.
- The timer is opened when the first moment is asked for, and keeps the lane from no rest. Without a lane it is the
  reactor's, exact to a millisecond.
- Moments that were replaced or forgotten stay in the heap; before they are more than the others, it is made anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from ctrlserver.lane.lane import Lane
from ctrlserver.lane.ticker import Ticker

#: Nanoseconds after which a turn ends, though more is due.
TURN_NS = 500_000

#: Nanoseconds from the end of a turn to the next one at least: under load one wake-up serves several who wait.
GATHER_NS = 250_000

#: Entries of the heap that nobody waits for any more, beside as many as there are who wait.
SPARE = 64


class Waiter(Protocol):
    """Somebody who waits for a moment."""

    def due(self, now: int) -> None:
        """The moment has come; it has none now."""


class Together(Protocol):
    """Does at the end of a turn what those who were called in it have put off."""

    def leave(self, now: int) -> None:
        """The turn ends."""

    def close(self) -> None:
        """Nobody is called any more."""


class Due:
    """Calls each waiter at its moment. ``together`` is None, or called at the end of each turn."""

    def __init__(self, lane: Lane | None, reactor: IReactorTime, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.clock = clock
        self.lane = lane
        self.together: Together | None = None
        self._reactor = reactor
        self._ticker: Ticker | None = None
        self._numbers = count()
        self._heap: list[tuple[int, int, Waiter]] = []
        self._entries: dict[Waiter, tuple[int, int, Waiter]] = {}
        self._ticking = False
        self._earliest = 0

    def at(self, waiter: Waiter, moment: int) -> None:
        """Call ``waiter`` at ``moment``, or as soon as can be if that is past; no longer at another moment."""
        self._entries[waiter] = entry = (moment, next(self._numbers), waiter)
        heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._entries) + SPARE:
            self._tidy()
        if self._heap[0] is entry and not self._ticking:
            self._set()

    def forget(self, waiter: Waiter) -> None:
        """Do not call ``waiter``."""
        if self._entries.pop(waiter, None) is not None and len(self._heap) > 2 * len(self._entries) + SPARE:
            self._tidy()

    def stop(self) -> None:
        """Call nobody any more, and close the timer. May be called twice."""
        self._heap.clear()
        self._entries.clear()
        together, self.together = self.together, None
        if together is not None:
            together.close()
        ticker, self._ticker = self._ticker, None
        if ticker is not None:
            ticker.stop()

    def tick(self) -> None:
        """Call those whose moment has come, for a turn."""
        heap, entries, clock = self._heap, self._entries, self.clock
        now = clock()
        end = now + TURN_NS
        self._ticking = True
        try:
            try:
                while heap and heap[0][0] <= now <= end:
                    entry = heappop(heap)
                    waiter = entry[2]
                    if entries.get(waiter) is entry:
                        del entries[waiter]
                        waiter.due(now)
                        now = clock()
            finally:
                if self.together is not None:
                    self.together.leave(now)
                    now = clock()
        finally:
            self._ticking = False
        self._earliest = now + GATHER_NS if not heap or heap[0][0] > now else 0
        self._set()

    def _set(self) -> None:
        if self._ticker is None:
            self._start()
        elif self._heap:
            self._ticker.at(max(self._heap[0][0], self._earliest))
        else:
            self._ticker.rest()

    def _start(self) -> None:
        """Open the timer; also anew, if a waiter raised and the lane has dropped it."""
        ticker, self._ticker = self._ticker, None
        if ticker is not None:
            ticker.stop()
        if self._heap:
            self._ticker = Ticker(self.lane, self._reactor, self.tick, self._start, patient=None)
            self._ticker.start()
            self._ticker.at(self._heap[0][0])

    def _tidy(self) -> None:
        self._heap[:] = self._entries.values()
        heapify(self._heap)
