"""A start that stdin tells (``--start-at -``): one line, read once all streams are open.

So whoever starts several shards waits until the last one is ready, and then says when they begin.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from ctrlserver.errors import LoadError, UsageError
from ctrlserver.load.plan.start import StartAt, parse_start

#: More bytes than the longest time has.
_MOST_BYTES = 100


def told_start(reactor: Any, descriptor: int = 0) -> Deferred[StartAt]:
    """What the first line in ``descriptor`` says; LoadError if that is no time, or if there is none."""
    reading = _Reading(reactor, descriptor)
    reading.begin()
    return reading.told


@implementer(IReadDescriptor)
class _Reading:
    """The wait for a line."""

    def __init__(self, reactor: Any, descriptor: int) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._text = b""
        self.told: Deferred[StartAt] = Deferred(lambda _: self._stop())

    def begin(self) -> None:
        """Wait for the descriptor; what epoll does not know, such as a file, is read as it is."""
        try:
            self._reactor.addReader(self)
        except OSError:
            while not self.told.called:
                self.doRead()

    def fileno(self) -> int:
        """Where the line comes from."""
        return self._descriptor

    def logPrefix(self) -> str:
        """For Twisted's log."""
        return "start"

    def doRead(self) -> None:
        """A part of the line, or its end."""
        try:
            chunk = os.read(self._descriptor, _MOST_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._failed(f"stdin cannot be read: {error.strerror}")
            return
        self._text += chunk
        line, ended, _ = self._text.partition(b"\n")
        if ended:
            self._say(line.decode(errors="replace"))
        elif not chunk:
            self._failed("stdin ended before it said when to begin")
        elif len(self._text) > _MOST_BYTES:
            self._failed("stdin says no time, but a line that does not end")

    def connectionLost(self, reason: Failure) -> None:
        """Whoever should say it is gone; a last line may be there."""
        while not self.told.called:
            self.doRead()

    def _say(self, line: str) -> None:
        try:
            start = parse_start(line)
            if not start.is_known:
                raise UsageError('"-" is no time')
        except UsageError as error:
            self._failed(str(error))
        else:
            self._stop()
            self.told.callback(start)

    def _failed(self, words: str) -> None:
        self._stop()
        self.told.errback(LoadError(f"--start-at -: {words}"))

    def _stop(self) -> None:
        self._reactor.removeReader(self)
