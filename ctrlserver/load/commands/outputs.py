"""Where a run's or a search's documents go: the flags for that, and their checks.

Rules: at most one document goes to stdout. A file that cannot be written is refused before the run, if that shows.
"""

from __future__ import annotations

import os

from attrs import evolve, frozen

from ctrlserver.errors import HistoryError, UsageError
from ctrlserver.load.plan.flag import Rule, check, flag
from ctrlserver.load.plan.rules import POSITIVE
from ctrlserver.load.show.output import check_output, is_stdout
from ctrlserver.units import parse_count, parse_duration
from ctrlserver.words import quoted

_IN_A_HISTORY = Rule(lambda outputs, _: outputs.history is not None, "needs --history")


def parse_metrics(text: str) -> str:
    """An endpoint of streams."""
    from ctrlserver.config.endpoints import check_endpoint, datagram_address

    check_endpoint(text)
    if datagram_address(text) is not None:
        raise UsageError(f"endpoint {quoted(text)}: metrics are asked for by a stream: expected tcp{text[3:]}")
    return text


def _check_history(path: str) -> None:
    from ctrlserver.history.results import check_history

    check_output(path, "--history")
    try:
        check_history(path)
    except HistoryError as error:
        raise UsageError(f"--history: {error}") from None


@frozen(kw_only=True)
class Outputs:
    """``document`` and ``events`` go to stdout, one of them at most; ``output`` and ``junit`` are files.

    A ``junit`` of ``-`` goes to stdout too. ``metrics`` is where they are scraped.
    """

    document: bool = flag("-J --json", "Print the result document on stdout, the summary on stderr.", None)
    events: bool = flag(
        "--json-stream", "Print events on stdout during the run, one JSON object a line.", None, search=None
    )
    progress: bool = flag(
        "--json-progress", "As --json-stream, and four times a second how far the run is.", None, search=None
    )
    metrics: str | None = flag(
        "--metrics ENDPOINT",
        "Show the run's figures to Prometheus while it goes on, at /metrics of tcp:9465:interface=127.0.0.1, say.",
        parse_metrics,
        search=None,
    )
    junit: str | None = flag(
        "--junit FILE", "Write the outcome as JUnit XML, for CI systems, to a file; -: to stdout.", str, search=None
    )
    output: str | None = flag("-o --output FILE", "Write the result document to a file; -: to stdout.", str)

    history: str | None = flag(
        "--history FILE",
        "Keep the result document in a history; ctrlload compare FILE:last~1 FILE:last.",
        str,
        search=None,
    )
    history_runs: int = flag(
        "--history-runs N",
        "How many results the history keeps, the newest.",
        parse_count,
        POSITIVE,
        default="100000",
        needs=_IN_A_HISTORY,
        search=None,
    )
    history_age: float = flag(
        "--history-age AGE",
        "For how long, such as 90d; 0: however old they are.",
        parse_duration,
        default="0",
        needs=_IN_A_HISTORY,
        search=None,
    )

    def checked(self) -> Outputs:
        """The same, ``--output -`` as ``--json``, ``progress`` among the ``events``.

        UsageError if two want stdout, or a file cannot be written.
        """
        if self.progress and not self.events:
            return evolve(self, events=True).checked()
        taken = "--json" if self.document else "--output -"
        document, output = (True, None) if self.output == "-" else (self.document, self.output)
        if document and self.events:
            raise UsageError(f"--json-stream: not with {taken}: the end event holds the whole document")
        if self.events:
            taken = "--json-stream"
        if self.junit == "-":
            if document or self.events:
                raise UsageError(f"--junit: - is stdout, and so is {taken}; name another file")
            taken = "--junit -"
        named = (("--output", output), ("--junit", None if self.junit == "-" else self.junit))
        files = [(name, path) for name, path in named if path is not None]
        check(self)
        if self.history is not None:
            _check_history(self.history)
        for name, path in files:
            check_output(path, name)
            if (document or self.events or self.junit == "-") and is_stdout(path):
                raise UsageError(f"{name}: {path} is stdout, and so is {taken}; name another file")
        places = {os.path.realpath(path) for _, path in files}
        if len(places) < len(files) and places != {os.devnull}:
            raise UsageError(f"--junit: {self.junit} is the file of --output too; name another file")
        return evolve(self, document=document, output=output)
