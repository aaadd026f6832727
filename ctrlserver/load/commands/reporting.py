"""What a result ends with, that of a run or a merged one: the report for people, the documents, the exit code.

Rules: a document on stdout moves the words for people to stderr.
"""

from __future__ import annotations

import platform
import sys
import time
from functools import partial

from ctrlserver.console.exit_codes import EXIT_FAILED
from ctrlserver.console.streams import columns_of
from ctrlserver.errors import HistoryError
from ctrlserver.load.commands.outputs import Outputs
from ctrlserver.load.results.result import Result, as_document, as_json
from ctrlserver.load.show.events import EventStream
from ctrlserver.load.show.junit import junit_xml
from ctrlserver.load.show.output import deliver
from ctrlserver.load.show.summary import error_lines, folded, summary_lines
from ctrlserver.stats.records import timestamp


def report(result: Result, outputs: Outputs, events: EventStream | None = None) -> int:
    """Write all outputs of ``result`` and give the exit code; the summary goes to stderr if stdout has a document."""
    errors = error_lines(result)
    summary = summary_lines(result)
    above = outputs.document or outputs.junit == "-" or events is not None
    columns = columns_of(sys.stderr if above else sys.stdout)
    words = "".join(f"{line}\n" for line in folded(summary, columns))
    document, code = as_json(result), result.exit_code
    if outputs.history is not None:
        from ctrlserver.history.results import keep_result

        try:
            now, age = time.time(), outputs.history_age
            since = timestamp(now - age) if age else None
            keep_result(outputs.history, document, timestamp(now), outputs.history_runs, since)
        except HistoryError as error:
            errors.append(f"the result is not kept in a history: {error}")
            code = code or EXIT_FAILED
    junit = "" if outputs.junit is None else junit_xml(result, platform.node(), summary, errors)
    named = ((outputs.output, document), (outputs.junit, junit))
    files = [(path, content) for path, content in named if path is not None and path != "-"]
    if events is not None:
        ending = partial(events.end, as_document(result))
        return deliver(files, ending, words, errors, code, document)
    if outputs.document or outputs.junit == "-":
        return deliver(files, document if outputs.document else junit, words, errors, code)
    return deliver(files, words, "", errors, code)
