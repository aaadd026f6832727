"""The time of Twisted's timers: monotonic, as all our own clocks are.

Twisted's reactor takes the time of day. When somebody sets the machine's clock, its timers would fire too early or
not for hours.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet.base import ReactorBase


def keep_monotonic_time(reactor: object, clock: Callable[[], float] = time.monotonic) -> None:
    """Have a reactor of Twisted's own time its calls by ``clock``. Calls that wait keep their delays."""
    if isinstance(reactor, ReactorBase) and reactor.seconds is not clock:
        before = reactor.seconds()
        waiting = [(call, call.getTime() - before) for call in reactor.getDelayedCalls()]
        reactor.seconds = clock
        for call, left in waiting:
            call.seconds = clock  # type: ignore[attr-defined]
            call.reset(left)
