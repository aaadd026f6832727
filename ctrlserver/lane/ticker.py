"""A timer on the lane, exact to a microsecond: Twisted's own timers wait for whole milliseconds.

Rules:

- One time is set at a time; a new one replaces it. Times are nanoseconds of the monotonic clock.
- On Linux the timer is a timerfd, a descriptor on the lane like any socket: while the lane is busy a wake-up costs no
  turn of the reactor. Without timerfd the reactor's timer is used.

Beware: ``os.timerfd_create`` is new in Python 3.13; for older ones the C library is called.
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
_ABSOLUTE = 1  # TFD_TIMER_ABSTIME
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC


class _Time(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Timer(ctypes.Structure):
    """``struct itimerspec``."""

    _fields_ = (("interval", _Time), ("value", _Time))


class Ticker:
    """Calls ``tick`` at the times set by ``at``, from ``start`` to ``stop``; calls ``broken`` if ``tick`` raises."""

    def __init__(self, lane: Lane, reactor: IReactorTime, tick: Callable[[], None], broken: Callable[[], None]) -> None:
        self._lane = lane
        self._reactor = reactor
        self._tick = tick
        self._broken = broken
        self._fd = -1
        self._later: IDelayedCall | None = None
        self._set: Callable[[int], None] = self._call_later

    def start(self) -> None:
        """Open the timer; ``at`` may be called from now on."""
        made = _timerfd()
        if made is not None:
            self._fd, self._set = made
            self._lane.watch(self._fd, self, select.EPOLLIN)

    def at(self, moment: int) -> None:
        """Wake at ``moment``; at once if it is past."""
        self._set(moment)

    def rest(self) -> None:
        """No wake-up until ``at`` is called again. A ``tick`` must end with ``at``, ``rest`` or ``stop``."""
        if self._fd >= 0:
            self._set(NEVER)

    def stop(self) -> None:
        """Close the timer. May be called twice."""
        if self._fd >= 0:
            self._lane.forget(self._fd)
            os.close(self._fd)
            self._fd = -1
        if self._later is not None and self._later.active():
            self._later.cancel()
        self._later = None
        self._set = self._nothing

    # What the lane calls

    def ready(self, events: int) -> None:
        """The time has come. The timer need not be read: ``at`` and ``rest`` make it unreadable."""
        self._tick()

    def failed(self) -> None:
        """``tick`` raised, and the lane has dropped the timer."""
        self._broken()

    def _call_later(self, moment: int) -> None:
        if self._later is not None and self._later.active():
            self._later.cancel()
        seconds = max(0.0, (moment - time.monotonic_ns()) / _SECOND)
        self._later = self._reactor.callLater(seconds, self._called)

    def _called(self) -> None:
        try:
            self._tick()
        except Exception:
            Lane.log.failure("a bug ended a timer")
            self._broken()

    def _nothing(self, moment: int) -> None:
        """Takes the place of the setter after ``stop``."""


def _timerfd() -> tuple[int, Callable[[int], None]] | None:
    """A timer's descriptor and the function that sets it; None if the kernel has none."""
    if sys.platform != "linux":
        return None
    if sys.version_info >= (3, 13):
        fd = os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)

        def set_fd(moment: int) -> None:
            os.timerfd_settime_ns(fd, flags=os.TFD_TIMER_ABSTIME, initial=max(1, moment))

        return fd, set_fd
    try:
        library = ctypes.CDLL(None, use_errno=True)
        create, settime = library.timerfd_create, library.timerfd_settime
    except (OSError, AttributeError):
        return None
    fd = create(time.CLOCK_MONOTONIC, _FLAGS)
    if fd < 0:
        return None
    timer = _Timer()
    where = ctypes.byref(timer)
    value = timer.value

    def set_by_library(moment: int) -> None:
        value.seconds, value.nanoseconds = divmod(max(1, moment), _SECOND)
        settime(fd, _ABSOLUTE, where, None)

    return fd, set_by_library
