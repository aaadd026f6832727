"""One process of a fleet, as its parent sees it.

Model::

    made -> start() -> (event start) begun -> (event starting) ready -> say_start() -> (event end) its result -> ended

Rules:

- It is ``ctrlload run`` for one shard, whose events are read line by line and passed to the owner as they are.
- It is interrupted as ctrlload is, by SIGINT, but not before it has begun: until then its program does not count
  signals. What is asked of it earlier is passed on then.
- Of what it writes to stderr, the last ``KEPT_BYTES`` are kept, for the line about its death.

Beware: the reactor runs without Twisted's handler of SIGCHLD, because the signals are ours. So once the pipes of a
process are closed, it is asked again and again whether it has ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.process import reapAllProcesses
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from ctrlserver.console.interrupts import SIGNALS
from ctrlserver.load.fleet.telling import start_line

#: What a process wrote last to stderr: as much is kept.
KEPT_BYTES = 4096

#: Seconds between two questions whether a process whose pipes are closed has ended.
REAP_SECONDS = 0.02

Event = Mapping[str, Any]


class Owner(Protocol):
    """Whose process it is."""

    def heard(self, process: ShardProcess, event: Event) -> object:
        """It tells an event."""

    def ended(self, process: ShardProcess) -> object:
        """It has ended, or could not be started; ``how`` says how."""


class ShardProcess(ProcessProtocol):
    """The process of shard ``number``."""

    def __init__(self, number: int, owner: Owner, reactor: Any) -> None:
        self.number = number
        self._owner = owner
        self._reactor = reactor
        self._process: Any = None
        self._parts: list[bytes] = []
        self._said = b""
        self._interrupts = 0
        self._why = ""
        self.pid = 0
        self.has_begun = self.is_ready = self.is_sending = self.has_ended = False
        self.how = ""
        """How it ended."""
        self.silent = 0.0
        """Seconds for which it has said nothing, as far as its owner counts them."""

    def start(self, words: Sequence[str]) -> None:
        """Start the process with these arguments of ctrlload."""
        command = [sys.executable, "-P", "-m", "ctrlserver.load.fleet", str(os.getpid()), *words]
        path = os.pathsep.join(os.path.abspath(each) for each in sys.path)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # inherited: the terminal's are not for it
        try:
            self._process = self._reactor.spawnProcess(
                self, command[0], command, {**os.environ, "PYTHONPATH": path}, childFDs={0: "w", 1: "r", 2: "r"}
            )
            self.pid = self._process.pid
        except OSError as error:
            self._over(f"could not be started: {error.strerror or error}")
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def say_start(self, seconds: float) -> None:
        """Say when to begin, in ``seconds`` since 1970."""
        if not self.has_ended:
            with suppress(KeyError):  # it has closed its stdin: it ends
                self._process.writeToChild(0, start_line(seconds))

    def interrupt(self) -> None:
        """The first time, have it end its sending and report; the second time, at once."""
        self._interrupts += 1
        if self.has_begun:
            self._signal("INT")
        elif self._interrupts > 1:
            self.kill()

    def kill(self, why: str = "") -> None:
        """End it now; ``why`` is said in place of the signal."""
        self._why = self._why or why
        self._signal("KILL")

    def _signal(self, name: str) -> None:
        if self._process is not None and not self.has_ended:
            with suppress(ProcessExitedAlready):
                self._process.signalProcess(name)

    # What Twisted tells

    def outReceived(self, data: bytes) -> None:
        """A part of its events."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._heard(b"".join((*self._parts, line)))
            self._parts.clear()
        self._parts.append(rest)

    def errReceived(self, data: bytes) -> None:
        """What is for people; its lines are in the events, too."""
        self._said = (self._said + data)[-KEPT_BYTES:]

    def childConnectionLost(self, childFD: int) -> None:  # noqa: N803
        """A pipe is closed."""
        self._reactor.callLater(REAP_SECONDS, self._reap)

    def processEnded(self, reason: Failure) -> None:
        """It is over, and all that it wrote is read."""
        value: Any = reason.value
        if self._why:
            self._over(f"process {self.pid} {self._why}")
        elif value.signal is not None:
            self._over(f"process {self.pid} was ended by {signal.Signals(value.signal).name}")
        else:
            words = self._last_line() or f"it exited with code {value.exitCode}"
            self._over(f"process {self.pid} gave no result: {words}")

    def _heard(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            return
        if event["event"] == "start":
            self.has_begun = True
            for _ in range(self._interrupts):
                self._signal("INT")
        elif event["event"] == "starting":
            self.is_ready = True
        elif event["event"] == "progress":
            self.is_sending = True
        self.silent = 0.0
        self._owner.heard(self, event)

    def _reap(self) -> None:
        if not self.has_ended:
            reapAllProcesses()
        if not self.has_ended:
            self._reactor.callLater(REAP_SECONDS, self._reap)

    def _last_line(self) -> str:
        lines = self._said.decode(errors="replace").split("\n")
        return next((line.strip().removeprefix("ctrlload: ") for line in reversed(lines) if line.strip()), "")

    def _over(self, how: str) -> None:
        self.how = how
        self.has_ended = True
        self._owner.ended(self)
