"""Two runs are asked for, of one server or of two, and shown side by side."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

from twisted.internet.interfaces import IReactorTime

from ctrlserver.console.exit_codes import EXIT_FAILED, EXIT_GOOD
from ctrlserver.console.streams import columns_of, print_output, print_words
from ctrlserver.overview.answers import Answer, fields_of
from ctrlserver.overview.asking import Question, answers_of
from ctrlserver.overview.fitting import aligned, fitted
from ctrlserver.overview.forms import csv_lines
from ctrlserver.overview.kept.diff import side_by_side
from ctrlserver.overview.servers import Server
from ctrlserver.render.text import TableText
from ctrlserver.stats.records import Value


async def compared(
    reactor: IReactorTime, servers: Sequence[Server], runs: tuple[str, str], question: Question, form: str
) -> int:
    """The exit code; ``form`` is ``text``, ``json`` or ``csv``. Of two servers each has one of the runs."""
    one, other = servers[0], servers[-1]
    answers: list[Answer] = []
    for server, run in ((one, runs[0]), (other, runs[1])):
        line = Question(f"run {run}", question.timeout, in_json=True, sums=True, secret=question.secret)
        answers += await answers_of(reactor, [server], line)
    wrong = [f"ctrlstat: {answer.server}: {answer.wrong}\n" for answer in answers if answer.wrong]
    if wrong:
        print_words("".join(wrong))
        return EXIT_FAILED
    described = await answers_of(reactor, [one], Question("describe", question.timeout, True, secret=question.secret))
    heads = [
        f"run {run}" if one == other else f"{server.name} {run}" for server, run in zip((one, other), runs, strict=True)
    ]
    rows = side_by_side(
        (heads[0], fields_of(answers[0])), (heads[1], fields_of(answers[1])), _numbers(described[0].envelope)
    )
    print_output(_shown(rows, form))
    return EXIT_GOOD


def _numbers(described: Mapping[str, object] | None) -> frozenset[str]:
    """The fields of a run that are counts, amounts and times."""
    rows = (described or {}).get("data")
    found = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    return frozenset(
        str(row.get("name")) for row in found if row.get("record") == "run" and row.get("kind") in ("counter", "gauge")
    )


def _shown(rows: Sequence[Mapping[str, Value]], form: str) -> str:
    if form == "json":
        return json.dumps({"ok": True, "command": "diff", "data": rows}, separators=(",", ":")) + "\n"
    if form == "csv":
        return csv_lines(rows)
    text = TableText()
    for row in rows:
        text.add(row)
    lines = aligned(list(text.lines(rows)))
    width = columns_of(sys.stdout)
    if width is not None:
        lines, _ = fitted(lines, width)
    return "".join(f"{line}\n" for line in lines)
