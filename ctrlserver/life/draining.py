"""The end of a daemon: its streams have some time to end by themselves.

Model::

    made -> begin(seconds): the plane leaves -> no stream is open, or the time is over, or ``at_once`` -> fires

Rules:

- The plane closes the ports for connections and ends silent streams (``DataPlane.leave``). It has to be swept as ever.
- Where no stream is open, all is over before ``begin`` returns.
- ``at_once`` may come before ``begin``: then that takes no time.

Beware: whether a stream is open is looked up, not told: a close costs nothing more.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ctrlserver.net.plane import DataPlane
from ctrlserver.words import counted

#: Seconds between two looks: what an end waits in vain at most.
LOOK_SECONDS = 0.02


class Draining:
    """Waits for the streams of ``plane``, of which ``streams_open`` gives the number."""

    log = Logger()

    def __init__(self, plane: DataPlane, streams_open: Callable[[], int], reactor: IReactorTime) -> None:
        self.begun = False
        self._plane = plane
        self._open = streams_open
        self._reactor = reactor
        self._over: Deferred[None] = Deferred()
        self._ends = 0.0
        self._hurried = False
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor

    def begin(self, seconds: float) -> Deferred[None]:
        """Leave. The Deferred fires once no stream is open, after ``seconds`` at the latest."""
        if not self.begun:
            self.begun = True
            self._ends = self._reactor.seconds() + (0 if self._hurried else seconds)
            self._plane.leave()
            if (number := self._open()) and not self._hurried and seconds:
                self.log.info(
                    "stopping: {streams} may go on for {seconds:g} s; another SIGTERM ends the server at once",
                    event="stopping",
                    streams=counted(number, "open stream"),
                    seconds=seconds,
                )
            self._looking.start(LOOK_SECONDS)
        return self._over

    def at_once(self) -> None:
        """Wait no longer."""
        self._hurried = True
        if self._looking.running:
            self._ends = self._reactor.seconds()
            self._look()

    def _look(self) -> None:
        if not self._open() or self._reactor.seconds() >= self._ends:
            self._looking.stop()
            self._over.callback(None)
