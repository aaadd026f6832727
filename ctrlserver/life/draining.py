"""The end of a daemon: its streams have some time to end by themselves.

Model::

    made -> begin(seconds): the plane leaves -> no stream is open, or the time is over, or ``at_once`` -> fires

Rules:

- The plane closes the ports for connections and ends silent streams (``DataPlane.leave``). It has to be swept as ever.
- Where no stream is open, and nobody has to be asked for the number, all is over before ``begin`` returns.
- ``at_once`` may come before ``begin``: then that takes no time. It waits for no answer either.

Beware: whether a stream is open is looked up, not told: a close costs nothing more. Streams in other processes are
asked for first (``fresh``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ctrlserver.words import counted

#: Seconds between two looks: what an end waits in vain at most.
LOOK_SECONDS = 0.02


class Left(Protocol):
    """What is drained."""

    def leave(self) -> object:
        """Accept nothing new."""


class Draining:
    """Waits for the streams of ``plane``, of which ``streams_open`` gives the number.

    ``fresh()`` is called before each look at it: a Deferred that fires once the number is of now, or None where it
    always is.
    """

    log = Logger()

    def __init__(
        self,
        plane: Left,
        streams_open: Callable[[], int],
        reactor: IReactorTime,
        fresh: Callable[[], Deferred[None] | None] = lambda: None,
    ) -> None:
        self.begun = False
        self._plane = plane
        self._open = streams_open
        self._reactor = reactor
        self._fresh = fresh
        self._over: Deferred[None] = Deferred()
        self._ends = 0.0
        self._hurried = False
        self._untold = 0.0  # seconds that nobody was told of
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor

    def begin(self, seconds: float) -> Deferred[None]:
        """Leave. The Deferred fires once no stream is open, after ``seconds`` at the latest."""
        if not self.begun:
            self.begun = True
            self._untold = seconds
            self._ends = self._reactor.seconds() + (0 if self._hurried else seconds)
            self._plane.leave()
            self._looking.start(LOOK_SECONDS)
        return self._over

    def at_once(self) -> None:
        """Wait no longer."""
        self._hurried = True
        self._ends = self._reactor.seconds()
        self._judge()

    def _look(self) -> Deferred[None]:
        return maybeDeferred(self._fresh).addCallback(lambda _: self._judge())

    def _judge(self) -> None:
        if not self._looking.running:  # not begun, or over while somebody was asked
            return
        number = self._open()
        self._tell(number)
        if not number or self._reactor.seconds() >= self._ends:
            self._looking.stop()
            self._over.callback(None)

    def _tell(self, number: int) -> None:
        """At the first look: how many streams are waited for, and for how long."""
        seconds, self._untold = self._untold, 0.0
        if number and seconds and not self._hurried:
            self.log.info(
                "stopping: {streams} may go on for {seconds:g} s; another SIGTERM ends the server at once",
                event="stopping",
                streams=counted(number, "open stream"),
                seconds=seconds,
            )
