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


class ShardProcess(Sender, ProcessProtocol):
    """The process of shard ``number``."""

    def __init__(self, number: int, owner: Owner, reactor: Any) -> None:
        super().__init__(number, owner)
        self._reactor = reactor
        self._process: Any = None
        self._lines = Lines()
        self._said = b""
        self.pid = 0

    def start(self, words: Sequence[str]) -> None:
        """Start the process with these arguments of ctrlload."""
        program = command("ctrlserver.load.fleet", words)
        try:
            with signals_held():
                self._process = self._reactor.spawnProcess(
                    self, program[0], program, environment(), childFDs={0: "w", 1: "r", 2: "r"}
                )
            self.pid = self._process.pid
        except OSError as error:
            self.over(f"could not be started: {error.strerror or error}")

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

    # What Twisted tells

    def outReceived(self, data: bytes) -> None:
        """A part of its events."""
        for line in self._lines.of(data):
            self.heard(line)

    def errReceived(self, data: bytes) -> None:
        """What is for people; its lines are in the events, too."""
        self._said = (self._said + data)[-KEPT_BYTES:]

    def childConnectionLost(self, childFD: int) -> None:  # noqa: N803
        """A pipe is closed."""
        self._reactor.callLater(REAP_SECONDS, self._reap)

    def processEnded(self, reason: Failure) -> None:
        """It is over, and all that it wrote is read."""
        value: Any = reason.value
        words = how_ended(self.pid, value.exitCode, value.signal, self._said)
        self.over(f"process {self.pid} {self._why} and was ended" if self._why else words)

    def _reap(self) -> None:
        if not self.has_ended:
            reapAllProcesses()
        if not self.has_ended:
            self._reactor.callLater(REAP_SECONDS, self._reap)
