"""Turns: how the connections of the admin port share the time of the reactor. No transport, no socket.

Many peers may ask at once, and one peer may send a thousand lines in one read. Meanwhile the data streams must go on,
and a peer that asks one question must not wait behind a flood. So time is dealt in turns and slices::

    reactor   |-- turn 0.5 ms --|  data streams, timers: 2 ms   |-- turn 0.5 ms --|  data streams, timers ...
               A   B   C   A   B                                  C   A   B   C
              slices of 0.1 ms, or one line where that takes longer

A connection that has received something calls ``serve``. While there is time, ``serve`` calls ``carry_on`` at once.
Otherwise the connection queues for the next turn. Calls go one way: connection -> ``serve`` -> ``carry_on``; from
within ``carry_on`` a connection only asks ``has_time``.

Time is earned and spent. While data flow (``shared``), each second earns ``Limits.share`` of a second, up to a turn; a
slice spends what it took. So one that overran leaves the data streams the more. A question that arrives may have what
is earned so far; those who wait have a turn once a whole one should be. While no data flow, all time is earned, and a
turn follows when the reactor has seen to everything else.

Two queues decide who is next:

    arrived     have had no slice since they last had nothing to do
    waiting     had a slice and have more to do: who has had the least time comes first

The slices go to the two by turns: a question waits for one slice of those that flood, and whoever waits has half of
the time, however many arrive. Of those that wait, one whose line took long waits until the others had as much; a peer
on the machine itself has as much time as all those of the network. A peer whose last input needed no answer, such as a
line without end, is not among those that arrive: else it would do so with every read. Nor is one that goes on because
its peer has read what it was owed.

Rules:

- A turn lasts ``Limits.turn_seconds`` over all connections. What runs longer is one line, or one row of a long list.
  Each turn has at least one slice, and each slice one step, so everybody gets on.
- A turn has no more slices than would fill it, however short they are, and beside data streams each spends
  ``Limits.slice_seconds`` at least: it lets a connection read again and send, which takes time that no slice counts.
- While nobody else waits, a slice lasts as long as its turn.
- What a slice overran is owed up to ``Limits.owed_seconds``: longer than that, the process was likely stopped in it.
- A connection stands in at most one queue, once. While it stands there it reads nothing, and ``serve`` leaves it there.
- A turn is scheduled exactly while somebody waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ctrlserver.admin.limits import Limits


class Served(Protocol):
    """Who has turns; while others wait, as many slices as ``weight`` of them together."""

    weight: int

    def carry_on(self) -> bool:
        """Do one step, and further ones while ``Turns.has_time``; True where more is left for another slice."""


class Turns:
    """The turns of all connections of one factory. ``shared``: whether data flow; their streams have the rest."""

    def __init__(self, reactor: IReactorTime, limits: Limits, shared: Callable[[], bool] = lambda: False) -> None:
        self._reactor = reactor
        self._turn_seconds = limits.turn_seconds
        self._slice_seconds = limits.slice_seconds
        self._slices = max(1, round(limits.turn_seconds / limits.slice_seconds))
        self._share = limits.share
        self._most_owed = limits.owed_seconds
        self._shared = shared
        self._arrived: deque[Served] = deque()
        self._waiting: dict[Served, float] = {}  # the time each has had while others waited, by its weight
        self._least = 0.0  # of those: what the one served last had had
        self._waiting_next = False  # the last slice was for one that had arrived
        self._next: IDelayedCall | None = None
        self._left = limits.turn_seconds  # to spend; below 0 where a slice overran
        self._earned_by = reactor.seconds()
        self._ends = 0.0  # of the turn
        self._slice_ends = 0.0

    def serve(self, connection: Served, *, had_a_slice: bool = False) -> bool:
        """Let ``connection`` carry on now, or in its turn; False where it stands in a queue and is to read nothing.

        ``had_a_slice``: it queues as those do that have more to do.
        """
        if connection in self._arrived or connection in self._waiting:
            return False
        self._earn(self._share if self._shared() else 1.0)
        goes_behind = had_a_slice and bool(self._arrived or self._waiting)
        if self._left > 0 and not goes_behind:
            done = self._give_slice(connection)
        else:
            done = False
            if had_a_slice:
                self._waiting[connection] = self._least + self._slice_seconds / connection.weight
            else:
                self._arrived.append(connection)
        self._schedule()
        return done

    def has_time(self) -> bool:
        """Whether the connection whose slice it is may do another step."""
        ends = min(self._slice_ends, self._ends) if self._arrived or self._waiting else self._ends
        return self._reactor.seconds() < ends

    def forget(self, connection: Served) -> None:
        """The connection is gone."""
        self._waiting.pop(connection, None)
        if connection in self._arrived:
            self._arrived.remove(connection)
        if not self._arrived and not self._waiting:
            self.stop()

    def stop(self) -> None:
        """Begin no further turn of itself."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _earn(self, share: float) -> None:
        now = self._reactor.seconds()
        self._left = min(self._turn_seconds, self._left + (now - self._earned_by) * share)
        self._earned_by = now

    def _give_slice(self, connection: Served) -> bool:
        self._least = self._waiting.pop(connection, self._least)
        alone = not self._arrived and not self._waiting
        began = self._reactor.seconds()
        self._ends, self._slice_ends = began + self._left, began + self._slice_seconds
        has_more = connection.carry_on()
        self._earned_by = self._reactor.seconds()
        took = self._earned_by - began
        took = max(took, self._slice_seconds) if self._shared() else took
        self._left = max(self._left - took, -self._most_owed)
        if has_more:
            counts = max(0.0 if alone else took, self._slice_seconds) / connection.weight
            self._waiting[connection] = self._least + counts
        return not has_more

    def _schedule(self) -> None:
        """See to it that those who wait have a turn, once a whole one is earned."""
        if self._next is None and (self._arrived or self._waiting):
            after = (self._turn_seconds - self._left) / self._share if self._shared() else 0.0
            self._next = self._reactor.callLater(max(0.0, after), self._turn)

    def _turn(self) -> None:
        self._next = None
        if self._shared():
            self._earn(self._share)
        else:
            self._left = self._turn_seconds
        for _ in range(self._slices):
            if (connection := self._next_served()) is None:
                break
            self._give_slice(connection)
            if self._left <= 0:
                break
        self._schedule()

    def _next_served(self) -> Served | None:
        """Whose turn it is; None where nobody waits."""
        self._waiting_next = not self._waiting_next and bool(self._arrived)
        if self._arrived and (self._waiting_next or not self._waiting):
            return self._arrived.popleft()
        return min(self._waiting, key=self._waiting.__getitem__, default=None)
