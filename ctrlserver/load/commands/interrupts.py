"""SIGINT and SIGTERM: counted from the first moment, passed on once there is a run.

Rules: the first ends the sending, the second leaves at once with whatever the documents can say; the third ends the
process where it stands. A signal that comes while the program is still starting is not lost.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

from ctrlserver.load.results.exit_codes import EXIT_INTERRUPTED

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Counts the signals and passes each on to whoever is attached."""

    def __init__(self) -> None:
        self._count = 0
        self._tell: Callable[[], None] | None = None

    def install(self) -> None:
        """Take the signals over."""
        for number in SIGNALS:
            signal.signal(number, self.caught)

    def ignore(self) -> None:
        """All is reported: a signal that comes while the process ends must not change its exit code."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def attach(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` for each signal, those that came before at once. It is called between any two steps."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # one that came just now would be told twice
        try:
            self._tell = tell
            for _ in range(self._count):
                tell()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def caught(self, number: int, frame: FrameType | None) -> None:
        """One signal."""
        self._count += 1
        if self._count > 2:
            os._exit(EXIT_INTERRUPTED)
        if self._tell is not None:
            self._tell()
