"""One process of a fleet, as its parent sees it.

Rules: of what it writes to stderr, the last ``KEPT_BYTES`` are kept, for the line about its death.

Beware: the reactor runs without Twisted's handler of SIGCHLD, because the signals are ours. So once the pipes of a
process are closed, it is asked again and again whether it has ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.process import reapAllProcesses
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from ctrlserver.load.fleet.child import command, environment, signals_held
from ctrlserver.load.fleet.sender import Owner, Sender
from ctrlserver.load.fleet.telling import KEPT_BYTES, LEAD_SECONDS, Lines, how_ended, start_line

#: Seconds between two questions whether a process whose pipes are closed has ended.
REAP_SECONDS = 0.02


class Child(ProcessProtocol):
    """A process that ends with ours: it is told by its stdin, and tells by lines on its stdout."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._process: Any = None
        self._lines = Lines()
        self._said = b""
        self._is_reaped = False
        self.pid = 0

    def spawn(self, module: str, words: Sequence[str] = ()) -> str | None:
        """Have it run ``module``; why it could not be started."""
        program = command(module, words)
        try:
            with signals_held():
                self._process = self._reactor.spawnProcess(
                    self, program[0], program, environment(), childFDs={0: "w", 1: "r", 2: "r"}
                )
        except OSError as error:
            return f"could not be started: {error.strerror or error}"
        self.pid = self._process.pid
        return None

    def line_came(self, line: bytes) -> None:
        """It has said a line."""
        raise NotImplementedError

    def has_gone(self, how: str) -> None:
        """It has ended, and all that it wrote is read."""
        raise NotImplementedError

    # What Twisted tells

    def outReceived(self, data: bytes) -> None:
        """A part of what it says."""
        for line in self._lines.of(data):
            self.line_came(line)

    def errReceived(self, data: bytes) -> None:
        """What is for people."""
        self._said = (self._said + data)[-KEPT_BYTES:]

    def childConnectionLost(self, childFD: int) -> None:  # noqa: N803
        """A pipe is closed."""
        self._reactor.callLater(REAP_SECONDS, self._reap)

    def processEnded(self, reason: Failure) -> None:
        """It is over."""
        value: Any = reason.value
        self._is_reaped = True
        self.has_gone(how_ended(self.pid, value.exitCode, value.signal, self._said))

    def _reap(self) -> None:
        if not self._is_reaped:
            reapAllProcesses()
        if not self._is_reaped:
            self._reactor.callLater(REAP_SECONDS, self._reap)


class Processes:
    """As many processes of this machine."""

    lead_seconds = LEAD_SECONDS

    def __init__(self, reactor: Any, number: int) -> None:
        self._reactor = reactor
        self._number = number

    def begin(self, owner: Owner) -> Deferred[Sequence[Sender]]:
        """All of them, not started yet."""
        return succeed([ShardProcess(each, owner, self._reactor) for each in range(1, self._number + 1)])

    def end(self, *, at_once: bool) -> Deferred[None]:
        """Nothing is left once they have ended."""
        return succeed(None)


class ShardProcess(Sender, Child):
    """The process of shard ``number``."""

    def __init__(self, number: int, owner: Owner, reactor: Any) -> None:
        Sender.__init__(self, number, owner)
        Child.__init__(self, reactor)

    def start(self, words: Sequence[str]) -> None:
        """Start the process with these arguments of ctrlload."""
        failed = self.spawn("ctrlserver.load.fleet", words)
        if failed is not None:
            self.over(failed)

    def say_start(self, seconds: float) -> None:
        """Say when to begin, in ``seconds`` since 1970."""
        if not self.has_ended:
            with suppress(KeyError):  # it has closed its stdin: it ends
                self._process.writeToChild(0, start_line(seconds))

    def signal(self, name: str) -> None:
        """Pass a signal on."""
        if self._process is not None and not self.has_ended:
            with suppress(ProcessExitedAlready):
                self._process.signalProcess(name)

    def line_came(self, line: bytes) -> None:
        """One of its events."""
        self.heard(line)

    def has_gone(self, how: str) -> None:
        """It is over."""
        self.over(f"process {self.pid} {self._why} and was ended" if self._why else how)
