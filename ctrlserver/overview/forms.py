"""The forms in which answers go out: lines for a person, JSON, CSV. PURE.

Rules: one server's reply in text is that server's own. JSON is one document in one line. CSV has a header line, always
the same columns for one server and for many.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from ctrlserver.overview.answers import Answer, Row, is_record, rows_of, table, totals
from ctrlserver.overview.fitting import aligned, fitted
from ctrlserver.render.text import TableText


def text_of(answers: Sequence[Answer], width: int | None) -> tuple[str, list[str]]:
    """The lines, in ``width`` columns if that is given, and the names of the columns that are left out."""
    lines = answers[0].text.splitlines() if _is_plain(answers) else _lines(table(answers))
    if is_record(answers):
        lines = aligned(lines)
    left_out: list[str] = []
    if width is not None:
        status = [lines.pop()] if lines and _is_plain(answers) else []
        lines, left_out = fitted(lines, width)
        lines += status
    return "".join(f"{line}\n" for line in lines), left_out


def json_of(answers: Sequence[Answer], *, together: bool) -> str:
    """One document: of all servers, or one server's own reply."""
    envelopes = {answer.server: answer.envelope or _no_answer(answer) for answer in answers}
    if not together:
        return _document(envelopes[answers[0].server])
    command = next((envelope["command"] for envelope in envelopes.values() if "command" in envelope), None)
    document = {
        "ok": all(answer.good for answer in answers),
        "command": command,
        "servers": {server: _without_command(envelope) for server, envelope in envelopes.items()},
    }
    if is_record(answers):
        document["total"] = totals(answers)
    return _document(document)


def csv_of(answers: Sequence[Answer]) -> str:
    """A header line and a line for each row."""
    good = [answer for answer in answers if answer.good]
    if is_record(good):
        rows = table(good)
    else:
        rows = [{"server": answer.server, **row} for answer in good for row in rows_of(answer)]
    return csv_lines(rows)


def csv_lines(rows: Sequence[Row], *, header: bool = True, known: Sequence[str] = ()) -> str:
    """The rows, below the names of their columns; of no rows, those that are ``known``."""
    names = list(dict.fromkeys(name for row in rows for name in row)) or known
    out = io.StringIO()
    if names:
        writer = csv.DictWriter(out, names, lineterminator="\n", restval="")
        if header:
            writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def _is_plain(answers: Sequence[Answer]) -> bool:
    return len(answers) == 1 and answers[0].envelope is None


def _lines(rows: Sequence[Row]) -> list[str]:
    text = TableText()
    for row in rows:
        text.add(row)
    return list(text.lines(rows))


def _document(document: object) -> str:
    return json.dumps(document, separators=(",", ":")) + "\n"


def _no_answer(answer: Answer) -> dict[str, object]:
    return {"ok": False, "error": {"code": None, "id": "no-answer", "message": answer.problem}}


def _without_command(envelope: object) -> dict[str, object]:
    return {key: value for key, value in envelope.items() if key != "command"} if isinstance(envelope, dict) else {}


def _cell(value: object) -> object:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else value
