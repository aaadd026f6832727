"""What the daemon tells systemd of its life, if it is a service there.

Model: ``ready()`` once all ports are bound, again after each ``reloading()``; ``stopping()`` when the end begins. From
its start to its stop, a status line at most once a second, and the watchdog's sign of life, which a call of the reactor
itself gives: a loop that hangs gives none, and systemd then starts the server anew.

Rules: a state that the socket did not take is told again a second later. The watchdog is fed while the server drains,
so this service stops last.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from ctrlserver.linux.notify import Notify, watchdog_seconds

#: Seconds between two status lines.
STATUS_SECONDS = 1.0

#: Signs of life in the time after which systemd gives up.
FEEDS = 3


class Supervision(Service):
    """``line`` gives the status in a few words, as ``systemctl status`` shows it."""

    def __init__(
        self,
        reactor: IReactorTime,
        line: Callable[[], str],
        environment: Mapping[str, str] = os.environ,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notify = Notify(environment.get("NOTIFY_SOCKET"))
        self._environment = environment
        self._monotonic = monotonic
        self._line = line
        self._told = ""
        self._owed: dict[str, object] = {}
        self._statuses, self._watchdog = LoopingCall(self._tell_status), LoopingCall(self._feed)
        self._statuses.clock = self._watchdog.clock = reactor

    def startService(self) -> None:
        """Begin to tell, if somebody listens."""
        super().startService()  # type: ignore[no-untyped-call]
        if not self._notify.is_heard:
            return
        self._statuses.start(STATUS_SECONDS, now=False)
        if seconds := watchdog_seconds(self._environment):
            self._watchdog.start(seconds / FEEDS)

    def stopService(self) -> None:
        """Tell nothing more."""
        super().stopService()  # type: ignore[no-untyped-call]
        for each in (self._statuses, self._watchdog):
            if each.running:
                each.stop()

    def close(self) -> None:
        """Give back the socket."""
        self._notify.close()

    def ready(self) -> None:
        """All ports are bound, or a reload is over."""
        self._told = self._line()
        self._state(READY=1, STATUS=self._told)

    def reloading(self) -> None:
        """The config is being read again; ``ready`` ends it, also where it was not good."""
        self._state(RELOADING=1, MONOTONIC_USEC=int(self._monotonic() * 1e6), STATUS="reading the config again")

    def stopping(self) -> None:
        """The end has begun."""
        self._state(STOPPING=1, STATUS="stopping")

    def _state(self, **values: object) -> None:
        self._owed = {} if self._notify.tell(**values) else values

    def _tell_status(self) -> None:
        if self._owed:
            self._state(**self._owed)
        elif (line := self._line()) != self._told and self._notify.tell(STATUS=line):
            self._told = line

    def _feed(self) -> None:
        self._notify.tell(WATCHDOG=1)
