"""Carries ``ctrlload run`` out: the run, what people see of it, its outputs and the exit code.

Rules: all outputs are written before the reactor stops. A document on stdout moves the words for people to stderr.
"""

from __future__ import annotations

import platform
import sys
from functools import partial

from ctrlserver.console.interrupts import Interrupts
from ctrlserver.console.streams import columns_of
from ctrlserver.load.commands.outputs import Outputs
from ctrlserver.load.commands.reactor import carried_out, on_terminal, prepared_reactor
from ctrlserver.load.plan.modes import CONNECT, RECEIVE
from ctrlserver.load.plan.options import Options
from ctrlserver.load.results.result import Result, as_document, as_json
from ctrlserver.load.running.run import LoadRun, utc_now
from ctrlserver.load.show.events import EventStream
from ctrlserver.load.show.junit import junit_xml
from ctrlserver.load.show.live import LiveView
from ctrlserver.load.show.output import deliver
from ctrlserver.load.show.summary import Lines, error_lines, folded, summary_lines

#: What the view on a terminal says of a mode; all other modes are sending.
TITLES = {RECEIVE: "receiving", CONNECT: "connecting"}


def execute(options: Options, interrupts: Interrupts, outputs: Outputs, *, lines: bool = False) -> int:
    """Run ``options`` and give the exit code; UsageError before anything is opened.

    ``lines``: on a terminal too there is a line for each interval.
    """
    reactor = prepared_reactor(options)
    what = "connections" if options.mode == CONNECT else "packets"
    title = TITLES.get(options.mode, "sending")
    people = LiveView(sys.stderr, title, what, lines=lines) if on_terminal() else Lines(sys.stderr, what)
    events = EventStream(sys.stdout, utc_now, people) if outputs.events else None
    run = LoadRun(reactor, options, events or people)

    def ended(result: Result) -> int:
        people.close()
        return report(result, outputs, events)

    if events is not None:
        events.start(options.target.text, options.as_options(), options.labels)
    return carried_out(reactor, interrupts, run, ended)


def report(result: Result, outputs: Outputs, events: EventStream | None = None) -> int:
    """Write all outputs of ``result`` and give the exit code; the summary goes to stderr if stdout has a document."""
    errors = error_lines(result)
    summary = summary_lines(result)
    above = outputs.document or outputs.junit == "-" or events is not None
    columns = columns_of(sys.stderr if above else sys.stdout)
    words = "".join(f"{line}\n" for line in folded(summary, columns))
    document = as_json(result)
    junit = "" if outputs.junit is None else junit_xml(result, platform.node(), summary, errors)
    named = ((outputs.output, document), (outputs.junit, junit))
    files = [(path, content) for path, content in named if path is not None and path != "-"]
    if events is not None:
        ending = partial(events.end, as_document(result))
        return deliver(files, ending, words, errors, result.exit_code, document)
    if outputs.document or outputs.junit == "-":
        return deliver(files, document if outputs.document else junit, words, errors, result.exit_code)
    return deliver(files, words, "", errors, result.exit_code)
