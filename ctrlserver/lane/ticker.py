"""A timer on the lane, exact to a microsecond: Twisted's own timers wait for whole milliseconds.

Rules:

- One time is set at a time; a new one replaces it. Times are nanoseconds of the monotonic clock.
- On Linux the timer is a timerfd, a descriptor on the lane like any socket: while the lane is busy a wake-up costs no
  turn of the reactor. Without timerfd, or without a lane, the reactor's timer is used.

Beware: ``os.timerfd_create`` is new in Python 3.13; so that all versions work alike, the C library is called. The timer
is set by how long it is to wait: libfaketime moves absolute times when it moves the wall clock, whatever the clock is.
"""

from __future__ import annotations

import ctypes
import os
import select
import sys
import time
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ctrlserver.lane.lane import Lane

_SECOND = 10**9

#: A time that never comes.
NEVER = 1 << 62
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC


class Ticker:
    """Calls ``tick`` at the times set by ``at``, from ``start`` to ``stop``; calls ``broken`` if ``tick`` raises.

    ``patient``: as of a lane's owner. ``spun``: see ``spinning.py``.
    """

    spun = 0

    def __init__(
        self,
        lane: Lane | None,
        reactor: IReactorTime,
        tick: Callable[[], None],
        broken: Callable[[], None],
        *,
        patient: bool | None = False,
    ) -> None:
        self._lane = lane
        self._reactor = reactor
        self._tick = tick
        self._broken = broken
        self._patient = patient
        self._fd = -1
        self._later: IDelayedCall | None = None
        self._set: Callable[[int], None] = self._call_later

    def start(self) -> None:
        """Open the timer; ``at`` may be called from now on."""
        lane = self._lane
        self._fd, self._set = (lane and timerfd()) or (-1, self._call_later)
        if lane is not None and self._fd >= 0:
            lane.watch(self._fd, self, select.EPOLLIN, patient=self._patient)

    def at(self, moment: int) -> None:
        """Wake at ``moment``; at once if it is past."""
        self._set(moment)

    def rest(self) -> None:
        """No wake-up until ``at`` is called again. A ``tick`` must end with ``at``, ``rest`` or ``stop``."""
        if self._fd >= 0:
            self._set(NEVER)

    def stop(self) -> None:
        """Close the timer. May be called twice."""
        if self._lane is not None and self._fd >= 0:
            self._lane.forget(self._fd)
            os.close(self._fd)
            self._fd = -1
        self._cancel()
        self._set = lambda _: None

    # What the lane calls

    def ready(self, events: int) -> None:
        """The time has come. The timer need not be read: ``at`` and ``rest`` make it unreadable."""
        self._tick()

    def failed(self) -> None:
        """``tick`` raised, and the lane has dropped the timer."""
        self._broken()

    def _call_later(self, moment: int) -> None:
        self._cancel()
        seconds = max(0.0, (moment - time.monotonic_ns()) / _SECOND)
        self._later = self._reactor.callLater(seconds, self._called)

    def _cancel(self) -> None:
        if self._later is not None and self._later.active():
            self._later.cancel()

    def _called(self) -> None:
        try:
            self._tick()
        except Exception:
            Lane.log.failure("a timer failed", event="bug")
            self._broken()


def timerfd() -> tuple[int, Callable[[int], None]] | None:
    """A timer's descriptor and the function that sets it; None if the kernel has none."""
    if sys.platform != "linux":
        return None
    try:
        library = ctypes.CDLL(None)
        create, settime = library.timerfd_create, library.timerfd_settime
    except (OSError, AttributeError):
        return None
    fd = create(time.CLOCK_MONOTONIC, _FLAGS)
    if fd < 0:
        return None
    timer = (ctypes.c_long * 4)()  # struct itimerspec: seconds and nanoseconds of the interval, and of the first time

    def set_time(moment: int) -> None:
        timer[2], timer[3] = divmod(max(1, moment - time.monotonic_ns()), _SECOND)
        settime(fd, 0, timer, None)

    return fd, set_time
