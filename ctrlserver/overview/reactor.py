"""The real reactor, run until a coroutine has given its exit code.

Rules: the first SIGINT, SIGTERM or SIGHUP ends the work, which cleans up behind itself; the second leaves at once.

Beware: the reactor is imported inside the function.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.python.failure import Failure

from ctrlserver.console.exit_codes import EXIT_FAILED, EXIT_GOOD, EXIT_INTERRUPTED
from ctrlserver.console.interrupts import Interrupts
from ctrlserver.console.reactor import run_reactor
from ctrlserver.console.streams import print_words
from ctrlserver.errors import LoadError


def reactor_run(work: Callable[[EPollReactor], Coroutine[Any, Any, int]], interrupts: Interrupts) -> int:
    """The exit code of ``work``; ``EXIT_INTERRUPTED`` where a signal ended it."""
    from twisted.internet import reactor as installed

    reactor = cast("EPollReactor", installed)

    def begin(end: Callable[[int], None]) -> None:
        working = Deferred.fromCoroutine(work(reactor))
        signals = 0

        def interrupt() -> None:
            nonlocal signals
            signals += 1
            if signals > 1:
                end(EXIT_INTERRUPTED)
            else:
                working.cancel()

        working.addErrback(_code_of).addCallback(end)
        interrupts.attach(lambda: reactor.callFromThread(interrupt))

    return run_reactor(reactor, begin)


def _code_of(failure: Failure) -> int:
    """The exit code of a failure, which is told."""
    problem = failure.value
    if isinstance(problem, CancelledError):
        return EXIT_INTERRUPTED
    if isinstance(problem, BrokenPipeError):  # the reader has what it wanted
        return EXIT_GOOD
    print_words(f"ctrlstat: {_said(problem)}\n")
    return EXIT_FAILED


def _said(problem: BaseException | None) -> str:
    if isinstance(problem, OSError):
        return f"cannot write to stdout: {problem.strerror or problem}"
    return str(problem) if isinstance(problem, LoadError) else f"an error of ctrlstat's own: {problem!r}"
