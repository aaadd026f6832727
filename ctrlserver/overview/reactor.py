"""The real reactor, run until a coroutine has given its exit code.

Rules: the first SIGINT, SIGTERM or SIGHUP ends the work, which cleans up behind itself; the second leaves at once.

Beware: the reactor is imported inside the function, and runs without signal handlers of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.python.failure import Failure

from ctrlserver.console.exit_codes import EXIT_FAILED, EXIT_GOOD, EXIT_INTERRUPTED
from ctrlserver.console.interrupts import Interrupts
from ctrlserver.console.streams import print_words
from ctrlserver.errors import LoadError, UsageError


def reactor_run(work: Callable[[EPollReactor], Coroutine[Any, Any, int]], interrupts: Interrupts) -> int:
    """The exit code of ``work``; ``EXIT_INTERRUPTED`` where a signal ended it. UsageError comes through."""
    from twisted.internet import reactor as installed

    reactor = cast("EPollReactor", installed)
    outcomes: list[int | UsageError] = []
    signals = 0

    def ended(outcome: int | Failure) -> None:
        if isinstance(outcome, int):
            outcomes.append(outcome)
        elif isinstance(outcome.value, UsageError):
            outcomes.append(outcome.value)
        elif isinstance(outcome.value, CancelledError):
            outcomes.append(EXIT_INTERRUPTED)
        elif isinstance(outcome.value, BrokenPipeError):  # the reader has what it wanted
            outcomes.append(EXIT_GOOD)
        else:
            print_words(f"ctrlstat: {_said(outcome.value)}\n")
            outcomes.append(EXIT_FAILED)
        reactor.stop()

    def started() -> None:
        working = Deferred.fromCoroutine(work(reactor))

        def interrupt() -> None:
            nonlocal signals
            signals += 1
            if signals > 1:
                outcomes.append(EXIT_INTERRUPTED)
                reactor.stop()
            else:
                working.cancel()

        working.addBoth(ended)
        interrupts.attach(lambda: reactor.callFromThread(interrupt))

    def leave_threads() -> None:
        """End without the name look-ups that still run in threads: Twisted would wait for them."""
        if outcomes and isinstance(outcomes[0], int) and reactor.getThreadPool().working:
            os._exit(outcomes[0])

    reactor.callWhenRunning(started)
    reactor.addSystemEventTrigger("before", "shutdown", leave_threads)
    reactor.run(installSignalHandlers=False)
    outcome = outcomes[0] if outcomes else EXIT_INTERRUPTED
    if isinstance(outcome, UsageError):
        raise outcome
    return outcome


def _said(problem: BaseException | None) -> str:
    if isinstance(problem, OSError):
        return f"cannot write to stdout: {problem.strerror or problem}"
    return str(problem) if isinstance(problem, LoadError) else f"an error of ctrlstat's own: {problem!r}"
