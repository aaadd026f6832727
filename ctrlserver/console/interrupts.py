"""SIGINT, SIGTERM and SIGHUP: counted from the start of the program, passed on once it has work to end.

Rules: of ctrlload the first signal ends the sending, and the second leaves at once, with documents of the counts so
far; of ctrlstat the first ends the questions. The third ends the process at once. A signal that arrives while the
program starts is passed on later. SIGHUP counts once, as a shell and the kernel both send it when a terminal goes;
under ``nohup`` it stays ignored.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

from ctrlserver.console.exit_codes import EXIT_INTERRUPTED

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Counts the signals and passes each on to the run."""

    def __init__(self) -> None:
        self._count = 0
        self._tell: Callable[[], None] | None = None

    def install(self) -> None:
        """Take the signals over."""
        for number in SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self.caught)

    def ignore(self) -> None:
        """Ignore further signals: all is reported, and the exit code must not change."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def attach(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` for each signal, at once for earlier ones. Python may call it between any two byte codes."""
        # A signal between the next two steps would be passed on twice.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self._tell = tell
            for _ in range(self._count):
                tell()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def caught(self, number: int, frame: FrameType | None) -> None:
        """Count a signal and pass it on."""
        if number == signal.SIGHUP:
            signal.signal(number, signal.SIG_IGN)
        self._count += 1
        if self._count > 2:
            os._exit(EXIT_INTERRUPTED)
        if self._tell is not None:
            self._tell()
