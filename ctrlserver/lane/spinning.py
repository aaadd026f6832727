"""A lane that spins for a moment that is near, because a sleep until then takes longer than the wait.

Model::

    Spinner.at(moment) --> SpinningLane: a poll of the sockets
                             some are ready ............ their owners are served
                             the moment has come ....... Spinner.ready is called, as for a timer that is ready
                             it is near ................ the next poll, at once
                             it is far ................. the alarm is set, and the poll sleeps
                           the end of a turn
                             it is near ................ the reactor calls for another turn at once
                             it is far ................. the alarm is set, and the reactor sleeps

To sleep costs the call that sets the alarm, its interrupt, and the ways to sleep and back: 20 to 30 us. An open loop of
20 000 requests a second would consist of such sleeps.

Rules:

- A moment is near if it is at most ``near`` nanoseconds away; if ``near`` is ``EVER``, every moment is.
- The alarm wakes, no more: nobody owns its descriptor, and it is told once (EPOLLET). It rings ``EARLY_NS`` before the
  moment, so that the way back from the sleep is over by then.
- Spinning ends with the turn, so that the reactor's timers, signals and descriptors have theirs.
- What is ready is served before the spinner, because it takes less time.
- ``spun`` is the time of polls that found nothing. The process had time to spare then, although it was on its core. A
  poll that took longer than ``BRIEF_NS`` was interrupted, and is not counted.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable

from ctrlserver.lane.costly import Owner
from ctrlserver.lane.lane import Lane
from ctrlserver.lane.ticker import NEVER, timerfd
from ctrlserver.lane.together import Event

#: Nanoseconds: to sleep for less saves hardly any processor time.
NEAR_NS = 50_000

#: As ``near``: a process that never sleeps while there is a moment to come.
EVER = NEVER // 2

#: Nanoseconds from the alarm to the moment that it is set for.
EARLY_NS = 20_000

#: Nanoseconds in which a poll is over that found nothing; it takes 1 us.
BRIEF_NS = 20_000

#: What stands for the spinner among the sockets of the lane: the number of no descriptor.
_SPINNER = -2


class SpinningLane(Lane):
    """A lane with one moment that it keeps exactly, that of its ``Spinner``. ``now`` gives monotonic nanoseconds."""

    def __init__(
        self, reactor: object, linger: float, near: int = NEAR_NS, now: Callable[[], int] = time.monotonic_ns
    ) -> None:
        super().__init__(reactor, linger=linger)
        self.spun = 0
        self._near = near
        self._now = now
        self._moment = NEVER
        self._turning = False
        self._alarm = -1
        self._set_alarm: Callable[[int], None] = lambda _: None
        self._alarm_at = NEVER
        self._sleep: Callable[[float, int], list[Event]] = lambda *_: []

    def start(self) -> None:
        """As any lane; without timers in the kernel every moment is near."""
        super().start()
        assert self._epoll is not None
        self._sleep, self._poll = self._poll, self._spin
        if alarm := timerfd():
            self._alarm, self._set_alarm = alarm
            self._epoll.register(self._alarm, select.EPOLLIN | select.EPOLLET)
        else:
            self._near = EVER

    def stop(self) -> None:
        """As any lane."""
        super().stop()
        self._moment = self._alarm_at = NEVER
        if self._alarm >= 0:
            os.close(self._alarm)
            self._alarm, self._set_alarm = -1, lambda _: None

    def keep(self, spinner: Owner) -> None:
        """Call ``spinner.ready`` at the moments given to ``at``."""
        self._owners[_SPINNER] = spinner

    def at(self, moment: int) -> None:
        """The next moment, in place of any other; ``NEVER``: none."""
        self._moment = moment
        if not self._turning:
            self._provide()

    def forget(self, fd: int) -> None:
        """Stop watching ``fd``."""
        if fd == _SPINNER:
            self._owners.pop(_SPINNER, None)
            self.at(NEVER)
        else:
            super().forget(fd)

    def doRead(self) -> None:
        """One turn."""
        self._turning = True
        try:
            super().doRead()
        finally:
            self._turning = False
            self._provide()

    def _spin(self, linger: float, most: int) -> list[Event]:
        """As ``epoll.poll``, for ``linger`` seconds, with the spinner among the events once its moment has come."""
        poll, clock = self._sleep, self._now
        now = clock()
        end = now + linger * 1e9
        while self._moment - now <= self._near:
            before = now
            events = poll(0, most)
            now = clock()
            if now >= self._moment:
                self._moment = NEVER
                events.append((_SPINNER, select.EPOLLIN))
                return events
            if events:
                return events
            if now - before < BRIEF_NS:
                self.spun += now - before
            if now >= end:
                return events
        self._provide_alarm()
        return poll(linger, most)

    def _provide(self) -> None:
        """No turn is under way: see that there is one in time."""
        if self._moment - self._now() <= self._near:
            self._ring(True)
        else:
            self._provide_alarm()

    def _provide_alarm(self) -> None:
        if self._alarm_at != self._moment:
            self._alarm_at = self._moment
            self._set_alarm(self._moment - EARLY_NS)


class Spinner:
    """Calls ``tick`` at the moments set by ``at``, as a ``Ticker`` does; calls ``broken`` if ``tick`` raises."""

    def __init__(self, lane: SpinningLane, tick: Callable[[], None], broken: Callable[[], None]) -> None:
        self._lane = lane
        self._tick = tick
        self._broken = broken
        self.at = lane.at

    @property
    def spun(self) -> int:
        """Nanoseconds that its lane has spun."""
        return self._lane.spun

    def start(self) -> None:
        """``at`` may be called from now on."""
        self._lane.keep(self)

    def rest(self) -> None:
        """Nobody is called until ``at`` is called again."""
        self.at(NEVER)

    def stop(self) -> None:
        """Nobody is called any more. May be called twice."""
        self._lane.forget(_SPINNER)

    # What the lane calls

    def ready(self, events: int) -> None:
        """The moment has come."""
        self._tick()

    def failed(self) -> None:
        """``tick`` raised, and the lane has dropped the spinner."""
        self._broken()
