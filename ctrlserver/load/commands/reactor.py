"""The real reactor: checked before a run or a search, run until that gives its exit code.

::

    prepared_reactor(options)  ->  carried_out(reactor, interrupts, work, ended)  ->  exit code
      endpoints, TLS, files          work.run() when the reactor runs; work.interrupt() on each signal

Rules: the first SIGINT, SIGTERM or SIGHUP ends the sending, and the report is still whole; the second one leaves at
once, and the documents are written all the same. All outputs are written before the reactor stops, so that a hanging
thread cannot lose them.

Beware: the reactor is imported inside the function.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from ctrlserver.client.connect import endpoint_of
from ctrlserver.client.target import TLS
from ctrlserver.console.exit_codes import EXIT_FAILED
from ctrlserver.console.interrupts import Interrupts
from ctrlserver.console.reactor import run_reactor
from ctrlserver.console.streams import drawable, print_words
from ctrlserver.errors import UsageError
from ctrlserver.lane.clock import keep_monotonic_time
from ctrlserver.load.opening.tls import Verification
from ctrlserver.load.plan.options import Options

if TYPE_CHECKING:
    from twisted.internet.epollreactor import EPollReactor
    from twisted.python.failure import Failure

    from ctrlserver.load.fleet.fleet import Fleet
    from ctrlserver.load.running.run import LoadRun
    from ctrlserver.load.search.run import SearchRun

#: Open files beside the streams' own and those to admin ports: the reactor's, the lane's, the standard ones.
OTHER_FILES = 64


def on_terminal() -> bool:
    """Whether there is a terminal to draw on."""
    return drawable(sys.stderr, os.environ)


def prepared_reactor(options: Options) -> EPollReactor:
    """The reactor; UsageError if an endpoint is not understood, or too few files may be open."""
    from twisted.internet import reactor as installed

    reactor = cast("EPollReactor", installed)
    keep_monotonic_time(reactor)
    for flag, address in (("TARGET", options.target), *(("--admin", each) for each in options.admin)):
        try:
            endpoint_of(address, reactor)  # for its error
        except UsageError as error:
            raise UsageError(f"{flag}: {error}") from None
    if options.target.transport == TLS:
        Verification(options.target.host, options.cafile, options.insecure)  # for its error
    streams = 0 if options.by_others else len(options.numbers)
    _allow_files(streams + len(options.admin) + OTHER_FILES)
    return reactor


def carried_out(
    reactor: EPollReactor, interrupts: Interrupts, work: LoadRun | SearchRun | Fleet, ended: Callable[[Any], int]
) -> int:
    """Run the reactor for ``work``, until ``ended`` makes the exit code of its result; each signal interrupts it."""

    def begin(end: Callable[[int], None]) -> None:
        work.run().addCallback(ended).addErrback(_told).addCallback(end)
        interrupts.attach(lambda: reactor.callFromThread(work.interrupt))

    gc.freeze()  # a collection that walks through all modules would stop the sending for about 20 ms
    return run_reactor(reactor, begin)


def _told(problem: Failure) -> int:
    """A mistake of ours; the reactor must stop all the same."""
    print_words(f"ctrlload: an error of ctrlload's own: {problem.value!r}\n")
    return EXIT_FAILED


def _allow_files(number: int) -> None:
    """Raise the limit of open files to ``number``; UsageError if the hard limit is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= number:
        return
    if hard != resource.RLIM_INFINITY and hard < number:
        raise UsageError(f"--streams: {number} open files are needed, the kernel allows {hard} (ulimit -n)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
