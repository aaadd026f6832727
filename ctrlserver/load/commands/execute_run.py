"""A run under the real reactor: signals, the terminal, the outputs and the exit code.

Rules: SIGINT and SIGTERM end the sending and the report is still whole; the second one leaves at once, the documents
written all the same. The outputs are written before the reactor stops, so nothing that hangs afterwards can lose them.

Beware: the reactor is imported here, inside the function, and run without signal handlers of its own: ours are in place
before it starts.
"""

from __future__ import annotations

import gc
import os
import platform
import resource
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from attrs import frozen

from ctrlserver.errors import LoadError, UsageError
from ctrlserver.load.commands.interrupts import Interrupts
from ctrlserver.load.plan.options import CONNECT, RECEIVE, Options
from ctrlserver.load.results.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED
from ctrlserver.load.results.result import Result, as_document, as_json
from ctrlserver.load.running.run import LoadRun, utc_now
from ctrlserver.load.show.events import EventStream
from ctrlserver.load.show.junit import junit_xml
from ctrlserver.load.show.live import LiveView, drawable
from ctrlserver.load.show.output import print_output, print_words, raise_unwritten, write_output
from ctrlserver.load.show.summary import Lines, Together, error_lines, summary_lines

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.epollreactor import EPollReactor
    from twisted.python.failure import Failure

#: Open files beside the streams' own: the reactor's, the lane's, the admin connection, the standard ones.
OTHER_FILES = 64

#: What a run does, on the terminal; all others are sending.
TITLES = {RECEIVE: "receiving", CONNECT: "connecting"}


@frozen
class Outputs:
    """Where the documents go: ``document`` and ``events`` to stdout, one of them at most; the others are files."""

    document: bool = False
    events: bool = False
    output: str | None = None
    junit: str | None = None


def execute(options: Options, interrupts: Interrupts, outputs: Outputs) -> int:
    """Run ``options`` and give the exit code; UsageError before anything is opened."""
    reactor = prepared_reactor(options)
    what = "connections" if options.mode == CONNECT else "packets"
    title = TITLES.get(options.mode, "sending")
    people = LiveView(sys.stderr, title, what) if on_terminal() else Lines(sys.stderr, what)
    events = EventStream(sys.stdout, utc_now) if outputs.events else None
    run = LoadRun(reactor, options, people if events is None else Together([people, events]))

    def ended(result: Result) -> int:
        people.close()
        return report(result, outputs, events)

    def begin() -> Deferred[int]:
        if events is not None:
            events.start(options.target.text, options.as_options(), options.labels)
        return run.run().addCallback(ended)

    return carried_out(reactor, interrupts, begin, run.interrupt)


def on_terminal() -> bool:
    """Whether there is a terminal to draw on."""
    return drawable(sys.stderr, os.environ)


def prepared_reactor(options: Options) -> EPollReactor:
    """The reactor, once ``options`` are seen to be possible on it and on this system; else UsageError."""
    from twisted.internet import reactor as installed

    reactor = cast("EPollReactor", installed)
    for flag, address in (("TARGET", options.target), ("--admin", options.admin)):
        if address is not None:
            try:
                address.check(reactor, options.connect_timeout)
            except UsageError as error:
                raise UsageError(f"{flag}: {error}") from None
    _allow_files(options.streams + OTHER_FILES)
    return reactor


def carried_out(
    reactor: EPollReactor, interrupts: Interrupts, begin: Callable[[], Deferred[int]], interrupt: Callable[[], None]
) -> int:
    """Run the reactor until what ``begin`` begins has given the exit code; each signal calls ``interrupt``."""
    codes: list[int] = []

    def leave(problem: Failure | None) -> None:
        if problem is not None:  # of our own; the reactor must stop all the same
            codes[:] = [EXIT_FAILED]
            print_words(f"ctrlload: an error of ctrlload's own: {problem.value!r}\n")
        if reactor.getThreadPool().working:
            # A name look-up that nobody waits for any longer: stopping the reactor would.
            os._exit(codes[0])
        reactor.stop()

    def started() -> None:
        begin().addCallback(codes.append).addBoth(leave)
        interrupts.attach(lambda: reactor.callFromThread(interrupt))

    gc.freeze()  # a collection that walks through all modules would stop the sending for some 20 ms
    reactor.callWhenRunning(started)
    reactor.run(installSignalHandlers=False)
    return codes[0] if codes else EXIT_INTERRUPTED


def report(result: Result, outputs: Outputs, events: EventStream | None = None) -> int:
    """Write all outputs of ``result`` and give the exit code: for people where stdout is not a document's."""
    code = result.exit_code
    errors = error_lines(result)
    summary = summary_lines(result)
    files: list[tuple[str, Callable[[], str]]] = []
    if outputs.output is not None:
        files.append((outputs.output, lambda: as_json(result)))
    if outputs.junit is not None:
        files.append((outputs.junit, lambda: junit_xml(result, platform.node(), summary, error_lines(result))))
    for path, text in files:
        try:
            write_output(path, text())
        except LoadError as error:
            errors.append(str(error))
            code = code or EXIT_FAILED
    words = "".join(f"{line}\n" for line in summary)
    try:
        if events is not None:
            events.end(as_document(result), errors, code)
            raise_unwritten(events.problem)
        else:
            print_output(as_json(result) if outputs.document else words)
    except LoadError as error:
        errors.append(str(error))
        code = code or EXIT_FAILED
    if outputs.document or outputs.events:
        print_words(words)
    print_words("".join(f"ctrlload: {line}\n" for line in errors))
    return code


def _allow_files(number: int) -> None:
    """Raise the limit of open files to ``number``, or say that it cannot be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= number:
        return
    if hard != resource.RLIM_INFINITY and hard < number:
        raise UsageError(f"--streams: {number} open files are needed, the system allows {hard} (ulimit -n)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
