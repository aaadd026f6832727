"""``ctrlstat top``: all servers, their streams and runs, once a second until a key ends it.

Rules: each server has a connection of its own, made anew after a failure; a slow one is asked again when it has
answered. The terminal is given back whatever happens.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from time import localtime, strftime

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from ctrlserver.client.admin import AdminClient
from ctrlserver.console.exit_codes import EXIT_GOOD
from ctrlserver.console.interrupts import Interrupts
from ctrlserver.console.streams import drawable
from ctrlserver.errors import LoadError, UsageError
from ctrlserver.overview.asking import connected
from ctrlserver.overview.figures import Known, Wish
from ctrlserver.overview.reactor import reactor_run
from ctrlserver.overview.servers import Server
from ctrlserver.overview.terminal import Display, Keys
from ctrlserver.overview.top_view import MOST_RUNS, view

#: Seconds between two looks, and streams of one server that are looked at.
EVERY = 1.0
STREAMS = 200


def top(servers: Sequence[Server], interrupts: Interrupts, timeout: float, secret: bytes | None) -> int:
    """Show ``servers`` until a key or a signal ends it; UsageError where there is no terminal."""
    if not (drawable(sys.stdout, os.environ) and sys.stdin is not None and sys.stdin.isatty()):
        raise UsageError("top needs a terminal, for keys and for drawing; ctrlstat watch 1 gives rows anywhere")
    display = Display()
    try:
        return reactor_run(lambda reactor: _Top(reactor, servers, timeout, secret, display).run(), interrupts)
    finally:
        display.restore()


@define
class _Look:
    """One server that is looked at."""

    server: Server
    known: Known
    client: AdminClient | None = None
    busy: bool = False


@define(eq=False)
class _Top:
    _reactor: EPollReactor
    _servers: Sequence[Server]
    _timeout: float
    _secret: bytes | None
    _display: Display
    _wish: Wish = field(factory=Wish, init=False)
    _looks: list[_Look] = field(factory=list, init=False)
    _over: Deferred[int] = field(factory=Deferred, init=False)

    async def run(self) -> int:
        """Until a key ends it."""
        self._looks = [_Look(server, Known(server.name)) for server in self._servers]
        keys = Keys(self._pressed, self._leave)
        ticks = LoopingCall(self._tick)
        ticks.clock = self._reactor
        before = signal.signal(signal.SIGTSTP, lambda *_: self._reactor.callFromThread(self._stop))
        resized = signal.signal(signal.SIGWINCH, lambda *_: self._reactor.callFromThread(self._draw))
        try:
            self._display.take()
            self._reactor.addReader(keys)
            ticking = ticks.start(EVERY)
            ticking.addErrback(self._fail)
            return await self._over
        finally:
            self._reactor.removeReader(keys)
            if ticks.running:
                ticks.stop()
            self._display.restore()
            signal.signal(signal.SIGTSTP, before)
            signal.signal(signal.SIGWINCH, resized)
            for look in self._looks:
                if look.client is not None:
                    look.client.close()

    def _leave(self) -> None:
        if not self._over.called:
            self._over.callback(EXIT_GOOD)

    def _fail(self, failure: object) -> None:
        if not self._over.called:
            self._over.errback(failure)  # type: ignore[arg-type]

    def _pressed(self, key: str) -> None:
        if self._wish.key(key):
            self._leave()
        else:
            self._draw()

    def _stop(self) -> None:
        """Ctrl-Z: the shell has the terminal until it says ``fg``."""
        self._display.restore()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._display.take()
        self._draw()

    def _tick(self) -> None:
        if self._wish.paused:
            return
        for look in self._looks:
            if not look.busy:
                look.busy = True
                Deferred.fromCoroutine(self._ask(look)).addErrback(self._fail)
        self._reactor.callLater(EVERY / 4, self._draw)

    def _draw(self) -> None:
        if self._over.called:
            return
        try:
            columns, lines = self._display.size()
            known = [look.known for look in self._looks]
            clock = strftime("%H:%M:%S", localtime())
            self._display.draw(view(known, self._wish, clock, columns, lines, self._display.bars))
        except Exception:  # whatever it is, the terminal is given back, and it is told
            self._fail(Failure())

    async def _ask(self, look: _Look) -> None:
        try:
            if look.client is None:
                look.client = await connected(self._reactor, look.server, self._timeout, self._secret, renames=True)
            stats = await look.client.stats()
            streams = await look.client.fastest_streams(STREAMS)
            runs = await look.client.records(f"runs limit={MOST_RUNS}")
            look.known.learn(self._reactor.seconds(), stats, streams, runs, await look.client.not_ready())
        except LoadError as error:
            look.known.lose(str(error))
            if look.client is not None:
                look.client.close()
                look.client = None
        finally:
            look.busy = False
