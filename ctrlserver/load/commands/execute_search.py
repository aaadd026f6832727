"""Carries ``ctrlload search`` out: the search, what people see of it, its outputs and the exit code.

Rules: the answer goes to stdout, or with ``--json`` the document; the steps go to stderr during the search. All outputs
are written before the reactor stops.
"""

from __future__ import annotations

import sys

from ctrlserver.console.interrupts import Interrupts
from ctrlserver.console.streams import columns_of
from ctrlserver.load.commands.outputs import Outputs
from ctrlserver.load.commands.reactor import carried_out, on_terminal, prepared_reactor
from ctrlserver.load.measure.intervals import Interval
from ctrlserver.load.plan.modes import CONNECT
from ctrlserver.load.plan.options import Options
from ctrlserver.load.plan.sought import Sought
from ctrlserver.load.results.result import as_json
from ctrlserver.load.search.document import SearchResult, Step
from ctrlserver.load.search.run import SearchRun
from ctrlserver.load.search.words import answer_lines, search_error_lines, step_line
from ctrlserver.load.show.live import LiveView
from ctrlserver.load.show.output import deliver
from ctrlserver.load.show.summary import Lines, folded


class SearchLines(Lines):
    """Plain lines: one for each step, none for the intervals within it."""

    def begin(self, number: int, rate: float) -> None:
        """Nothing: ``step`` prints the line, once the figures are known."""

    def step(self, step: Step) -> None:
        """One line."""
        self.say(step_line(step))

    def interval(self, interval: Interval) -> None:
        """Nothing."""


class SearchView(LiveView):
    """The view of the current run, with the finished steps above it."""

    def begin(self, number: int, rate: float) -> None:
        """Name the step; the view shows the rate itself."""
        self.title = f"step {number}"

    def step(self, step: Step) -> None:
        """One line."""
        self.line(step_line(step))


def execute_search(options: Options, sought: Sought, interrupts: Interrupts, outputs: Outputs) -> int:
    """Search and give the exit code; UsageError before anything is opened."""
    reactor = prepared_reactor(options)
    what = "connections" if options.mode == CONNECT else "packets"
    people = SearchView(sys.stderr, "search", what) if on_terminal() else SearchLines(sys.stderr)
    search = SearchRun(reactor, options, sought, people)

    def ended(result: SearchResult) -> int:
        people.close()
        return report_search(result, outputs)

    return carried_out(reactor, interrupts, search, ended)


def report_search(result: SearchResult, outputs: Outputs) -> int:
    """Write all outputs of ``result`` and give the exit code."""
    errors = search_error_lines(result)
    columns = columns_of(sys.stderr if outputs.document else sys.stdout)
    words = "".join(f"{line}\n" for line in folded(answer_lines(result), columns))
    document = as_json(result)
    files = [] if outputs.output is None else [(outputs.output, document)]
    out, words = (document, words) if outputs.document else (words, "")
    return deliver(files, out, words, errors, result.exit_code)
