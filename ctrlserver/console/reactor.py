"""The real reactor, run until its work has given an exit code.

Beware: the reactor runs without signal handlers of its own: ours are installed before it starts.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from ctrlserver.console.exit_codes import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from twisted.internet.epollreactor import EPollReactor


def run_reactor(reactor: EPollReactor, begin: Callable[[Callable[[int], None]], None]) -> int:
    """The exit code: the first one that is given to the function that ``begin`` gets once the reactor runs."""
    codes: list[int] = []

    def end(code: int) -> None:
        if not codes:
            codes.append(code)
            reactor.stop()

    def leave_threads() -> None:
        """End without the name look-ups that still run in threads: Twisted would wait for them."""
        if codes and reactor.getThreadPool().working:
            os._exit(codes[0])

    reactor.callWhenRunning(begin, end)
    reactor.addSystemEventTrigger("before", "shutdown", leave_threads)
    reactor.run(installSignalHandlers=False)
    return codes[0] if codes else EXIT_INTERRUPTED
