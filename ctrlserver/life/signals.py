"""What the daemon does at a signal. Only SIGTERM and SIGINT end it: the first drains it, the second ends it at once.

Rules:

- A signal does its work in the reactor's thread, between two turns; its own function only passes it on.
- The reactor's own functions end it at the first SIGTERM or SIGINT. They are replaced once the reactor has set them.
- SIGHUP, SIGUSR1 and SIGUSR2 would end the process by default. One that means nothing here says so in the log.

Beware: the service stops this one last, for a second SIGTERM comes while it drains.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorCore, IReactorFromThreads
from twisted.logger import Logger

ENDS = (signal.SIGINT, signal.SIGTERM)
WOULD_END = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Signals(Service):
    """``means``: what a signal does here. ``ending``: whether the end has begun; ``at_once`` hurries it."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        ending: Callable[[], bool],
        at_once: Callable[[], object],
        means: Mapping[signal.Signals, Callable[[], object]],
    ) -> None:
        self._core = IReactorCore(reactor)
        self._threads = IReactorFromThreads(reactor)
        self._ending = ending
        self._at_once = at_once
        self._means = means
        self._before: dict[int, Any] = {}
        self._told = False

    def privilegedStartService(self) -> None:
        """Take those that would end the process before a port is bound: a reload may come as soon as one is."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        self._take_those_that_would_end()

    def startService(self) -> None:
        """Take them; those that end the reactor once it runs."""
        super().startService()  # type: ignore[no-untyped-call]
        self._take_those_that_would_end()
        self._core.callWhenRunning(self._take_ends)

    def _take_those_that_would_end(self) -> None:
        for number in WOULD_END:
            means = number in self._means or signal.getsignal(number) is signal.SIG_DFL
            if means and number not in self._before:
                self._take(number, self._pass_on)

    def _take_ends(self) -> None:
        for number in ENDS:
            if callable(signal.getsignal(number)):
                self._take(number, self._end)

    def _take(self, number: int, does: Callable[[int, object], None]) -> None:
        self._before[number] = signal.signal(number, does)
        signal.siginterrupt(number, False)

    def stopService(self) -> None:
        """Ignore those that would end the process, for it still ends. Give back those that did not tell us to."""
        super().stopService()  # type: ignore[no-untyped-call]
        for late in WOULD_END:
            if self._before.pop(late, None) is not None:
                signal.signal(late, signal.SIG_IGN)
        if not self._told:
            for number, before in self._before.items():
                signal.signal(number, before)
            self._before.clear()

    def _end(self, number: int, frame: object) -> None:
        if self._told or self._ending():
            self._threads.callFromThread(self._at_once)
        else:
            self._told = True
            self._before[number](number, frame)

    def _pass_on(self, number: int, frame: object) -> None:
        known = signal.Signals(number)
        self._threads.callFromThread(self._means.get(known, partial(self._ignore, known.name)))

    def _ignore(self, name: str) -> None:
        self.log.info("{name} changes nothing; SIGTERM ends the server", event="signal", name=name)
