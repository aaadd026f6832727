"""The one timer of an admin connection: how long its peer may take for what it is to do. No transport.

What is ``Awaited`` of a peer the connection says when the timer asks. For each there is a time, and any progress
(``advance``) begins it anew. A line begun, and a TLS handshake, have a time of their own on top.

Beware: the timer judges nobody before the sockets were read once more, for the process itself may have been paused.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ctrlserver.admin.dialogue import Dialogue
from ctrlserver.admin.limits import Limits

_EARLY: Final = 0.001
"""Seconds by which a timer may come early, through rounding."""

LOOK_SECONDS: Final = 1.0
"""Seconds between two looks at a peer of which nothing is awaited: it may have gone."""


class Awaited(IntEnum):
    """What the peer is to do next; nothing while we have something to say and it has read all."""

    LINE = 1
    READING = 2
    END = 3
    NOTHING = 4


class Patience:
    """The timer of one connection. ``awaited()`` is what its peer is to do now.

    ``expired(awaited, is_late)`` ends the connection, or where nothing is awaited looks whether it still has a peer.
    ``is_late``: a line begun has taken too long.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        limits: Limits,
        awaited: Callable[[], Awaited],
        expired: Callable[[Awaited, bool], None],
    ) -> None:
        self._reactor = reactor
        self._limits = limits
        self._awaited = awaited
        self._expired = expired
        self._seconds = {
            Awaited.LINE: limits.idle_seconds,
            Awaited.READING: limits.stall_seconds,
            Awaited.END: limits.linger_seconds,
        }
        self._lines = 0  # of the dialogue when it was looked at last
        self._due: float | None = None  # when the line begun, or the TLS handshake, is to be over
        self._progress = reactor.seconds()  # when lines were carried out last, or while output waits, when some went
        self._timer: IDelayedCall | None = None
        self.is_shaking = False  # hands, for TLS

    def watch_over(self) -> None:
        """From now on nothing is awaited, until there is progress."""
        self._look_by(self._reactor.seconds() + LOOK_SECONDS)

    def begin(self, *, shaking: bool) -> None:
        """The connection is made; ``shaking``: its TLS handshake is under way."""
        self._progress = self._reactor.seconds()
        self._timer = self._reactor.callLater(min(self._limits.stall_seconds, self._limits.idle_seconds), self._look)
        self.is_shaking = shaking
        if shaking:
            self._due = self._progress + self._limits.handshake_seconds
            self._look_by(self._due)

    def handshake_over(self) -> None:
        """TLS is ready."""
        self.is_shaking, self._due = False, None

    def advance(self) -> None:
        """There was progress: patience begins anew."""
        self._progress = self._reactor.seconds()
        ended = self._awaited() is Awaited.END
        self._look_by(self._progress + (self._limits.linger_seconds if ended else self._limits.stall_seconds))

    def time_the_line(self, dialogue: Dialogue) -> None:
        """All is parsed: a line begun has until ``_due``, from its first byte."""
        lines, self._lines = self._lines, dialogue.lines
        if self._lines != lines:
            self._due = None
            self.advance()
        if not dialogue.is_amid:
            self._due = None
        elif self._due is None:
            self._due = self._reactor.seconds() + self._limits.line_seconds
            self._look_by(self._due)

    def end(self) -> None:
        """The connection is lost."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _look_by(self, soonest: float) -> None:
        if self._timer is not None and self._timer.active() and self._timer.getTime() > soonest:
            self._timer.reset(max(0.0, soonest - self._reactor.seconds()))

    def _look(self, has_read: bool = False) -> None:
        """The timer: end the connection where there was no progress for too long, once its socket was read."""
        awaited = self._awaited()
        if awaited is Awaited.NOTHING:
            self._progress = self._reactor.seconds()
            self._timer = self._reactor.callLater(min(LOOK_SECONDS, self._limits.idle_seconds), self._look)
            self._expired(awaited, False)
            return
        due = self._due if awaited is Awaited.LINE else None
        now, ends = self._reactor.seconds(), self._progress + self._seconds[awaited]
        if due is not None:
            ends = min(ends, due)
        if ends - now > _EARLY:
            self._timer = self._reactor.callLater(ends - now, self._look)
        elif not has_read:
            self._timer = self._reactor.callLater(0, self._look, True)
        else:
            if awaited is Awaited.LINE and not self.is_shaking:
                self._timer = self._reactor.callLater(self._limits.stall_seconds, self._look)
            self._expired(awaited, due is not None and due - now <= _EARLY)
