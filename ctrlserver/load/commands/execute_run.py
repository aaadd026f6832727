"""Carries ``ctrlload run`` out: the run, what people see of it, its outputs and the exit code.

Rules: all outputs are written before the reactor stops. A document on stdout moves the words for people to stderr.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from ctrlserver.errors import LoadError
from ctrlserver.load.commands.interrupts import Interrupts
from ctrlserver.load.commands.outputs import Outputs
from ctrlserver.load.commands.reactor import carried_out, on_terminal, prepared_reactor
from ctrlserver.load.plan.modes import CONNECT, RECEIVE
from ctrlserver.load.plan.options import Options
from ctrlserver.load.results.exit_codes import EXIT_FAILED
from ctrlserver.load.results.result import Result, as_document, as_json
from ctrlserver.load.running.run import LoadRun, utc_now
from ctrlserver.load.show.events import EventStream
from ctrlserver.load.show.junit import junit_xml
from ctrlserver.load.show.live import LiveView
from ctrlserver.load.show.output import print_output, print_words, raise_unwritten, write_output
from ctrlserver.load.show.summary import Lines, Together, error_lines, summary_lines

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

#: What a run does, on the terminal; all others are sending.
TITLES = {RECEIVE: "receiving", CONNECT: "connecting"}


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
