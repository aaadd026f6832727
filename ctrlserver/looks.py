"""Whether silence may be judged: who judges it has read first.

Model: silence is looked for every so often, by a timer. After a pause of the process (a stopped process, a suspended
machine, a clock that was set) timers fire before what waits in the sockets is read, and every peer looks silent. So a
look that comes late judges nobody, nor does one right after it: the sockets are read first. After three that judged
nobody the next one judges even if it is late too, or a busy process would never end a silent stream.

A loop that looks at all its peers asks ``Looks``. The limit of one wait is a timer of ``deadlines``, which is made of a
few looks: so a limit is a time in which the process ran, and a pause of any length adds to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from attrs import define, field, frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Seconds that a look may be late.
LATE_SECONDS = 0.1

#: Looks in a row that judge nobody: after two pauses in a row, each with a look right after it.
MOST_SKIPPED = 3

#: Looks of which a limit is made. After a pause at least one of them is left to the peer.
LOOKS = 8


@define
class Looks:
    """Looks every ``every`` seconds."""

    every: float
    _last: float | None = field(default=None, init=False)
    _again: float = field(default=0.0, init=False)
    _skipped: int = field(default=0, init=False)

    def begin(self, now: float) -> None:
        """The first look is due ``every`` seconds from ``now``: so a pause before it is noticed too."""
        self._last = now

    def may_judge(self, now: float) -> bool:
        """Whether the look at ``now`` may judge; to be asked once a look."""
        last, self._last = self._last, now
        late = last is not None and now - last > self.every + LATE_SECONDS
        if late and self._skipped < MOST_SKIPPED:
            self._again = now + self.every / 2
        self._skipped = self._skipped + 1 if now < self._again else 0
        return not self._skipped


def deadlines(reactor: IReactorTime) -> IReactorTime:
    """The clock of limits that blame a peer: for ``callLater``, ``Deferred.addTimeout`` and ``deferLater``."""
    return cast("IReactorTime", _Deadlines(reactor))


@frozen
class _Deadlines:
    _reactor: IReactorTime

    def callLater(self, seconds: float, late: Callable[..., object], *arguments: object) -> _Deadline:
        """Call ``late`` once the process has run, and read its sockets, for ``seconds``."""
        return _Deadline(self._reactor, seconds, late, arguments)


class _Deadline:
    """One limit that is under way."""

    def __init__(
        self, reactor: IReactorTime, seconds: float, late: Callable[..., object], arguments: tuple[object, ...]
    ) -> None:
        self._reactor = reactor
        self._late = late
        self._arguments = arguments
        self._left = LOOKS
        self._looks = Looks(seconds / LOOKS)
        self._looks.begin(reactor.seconds())
        self._next: IDelayedCall = reactor.callLater(self._looks.every, self._look)

    def _look(self) -> None:
        self._left -= self._looks.may_judge(self._reactor.seconds())
        if self._left:
            self._next = self._reactor.callLater(self._looks.every, self._look)
        else:  # what came just now is read before
            self._next = self._reactor.callLater(0, self._late, *self._arguments)

    def active(self) -> bool:
        """Whether ``late`` is still to be called."""
        return self._next.active()

    def cancel(self) -> None:
        """The peer was on time."""
        self._next.cancel()
